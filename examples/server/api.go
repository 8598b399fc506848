package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
)

// maxRequest bounds the body of a request to the control API, in bytes.
const maxRequest = 1 << 20

// newAPI is the control API.
func (s *server) newAPI() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/v1/lines/{dn}", methods{http.MethodPut: s.putLine})
	mux.Handle("/v1/calendars/{mail}", methods{http.MethodPut: s.putCalendar})
	mux.Handle("/v1/external/{address}", methods{http.MethodPut: s.putExternal, http.MethodDelete: s.deleteExternal})
	mux.Handle("/v1/presence/{address}", methods{http.MethodGet: s.getPresence})
	mux.Handle("/v1/explain/{address}", methods{http.MethodGet: s.getExplain})
	mux.Handle("/v1/subscriptions", methods{http.MethodGet: s.getSubscriptions})
	mux.Handle("/v1/clients", methods{http.MethodGet: s.getClients})
	mux.Handle("/v1/publications", methods{http.MethodGet: s.getPublications})
	mux.Handle("/v1/forwardings", methods{http.MethodGet: s.getForwardings})
	mux.Handle("/v1/events", methods{http.MethodGet: plain(s.events)})
	mux.Handle("/healthz", methods{http.MethodGet: s.getHealth})
	mux.Handle("/readyz", methods{http.MethodGet: s.getReady})
	mux.Handle("/metrics", methods{http.MethodGet: plain(s.metrics.handler())})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "path: there is nothing here")
	})
	return &http.Server{
		Handler:           s.recovered(s.admit(mux)),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// methods is a resource: a handler for each method, whose error is answered.
type methods map[string]func(w http.ResponseWriter, r *http.Request) error

func (m methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	handle := m[method]
	if handle == nil {
		w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(m)), ", "))
		writeError(w, http.StatusMethodNotAllowed, fmt.Sprintf("method: %s is not possible here", printable(r.Method)))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if err := handle(w, r); err != nil {
		refuse(w, err)
	}
}

func plain(h http.Handler) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}

// admit lets in who has the token. Without one the API is for this machine:
// then it refuses what a web page in a browser here could send.
func (s *server) admit(next http.Handler) http.Handler {
	if s.backends.token.Len() == 0 {
		origins := http.NewCrossOriginProtection()
		origins.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			writeError(w, http.StatusForbidden, "Origin: want this server's own")
		}))
		local := origins.Handler(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !isLoopback(r.Host) { // a name that was made to point here
				writeError(w, http.StatusForbidden, "Host: want a loopback address")
				return
			}
			local.ServeHTTP(w, r)
		})
	}
	want := sha256.Sum256(s.backends.token.Reveal())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(token)))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !strings.EqualFold(scheme, "Bearer") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="blustar"`)
			writeError(w, http.StatusUnauthorized, "Authorization: want the Bearer token")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// recovered ends the request, not the server, where a handler panics.
func (s *server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("control API", "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
				writeError(w, http.StatusInternalServerError, "internal error")
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// readBody decodes the body of a request into v.
func readBody(r *http.Request, v any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if err := decodeStrict(body, v); err != nil {
		if field, ok := errors.AsType[*fieldError](err); ok && field.Field == "" {
			return &fieldError{"body", field.Reason}
		}
		return err
	}
	return nil
}

// refuse answers an error: what the caller did wrong is told, anything else is
// that the directory could not be asked.
func refuse(w http.ResponseWriter, err error) {
	var field *fieldError
	var input *presence.InputError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		writeError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("body: larger than %d bytes", large.Limit))
	case errors.As(err, &field):
		writeError(w, http.StatusBadRequest, field.Error())
	case errors.As(err, &input):
		writeError(w, http.StatusBadRequest, input.Field+": "+input.Reason)
	case errors.Is(err, directory.ErrNotFound):
		writeError(w, http.StatusNotFound, "address: the directory has no entry for it")
	case errors.Is(err, directory.ErrAmbiguous):
		writeError(w, http.StatusConflict, "address: the directory has several entries for it")
	case errors.Is(err, presence.ErrTooMany):
		w.Header().Set("Retry-After", "60")
		writeError(w, http.StatusServiceUnavailable, "the server holds as many of these as it may")
	default:
		w.Header().Set("Retry-After", "5")
		writeError(w, http.StatusServiceUnavailable, "the directory cannot be asked now")
	}
}

func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"error": text})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // the client has gone, or is told by the length
}

// stamp is a time as documents have it, UTC with seconds; null where it is zero.
type stamp time.Time

// MarshalJSON implements [json.Marshaler].
func (t stamp) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return []byte(time.Time(t).UTC().Format(`"` + time.RFC3339 + `"`)), nil
}
