package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/strictjson"
	"github.com/openblustar/blustar/presence"
)

// readBody decodes the body of a request into v.
func readBody(r *http.Request, v any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	err = strictjson.Decode(body, v)
	if field, ok := errors.AsType[*strictjson.Error](err); ok && field.Field == "" {
		return wrong("body", "%s", field.Reason)
	}
	return err
}

// wrong is an error of the caller's.
func wrong(field, format string, args ...any) error {
	return &strictjson.Error{Field: field, Reason: fmt.Sprintf(format, args...)}
}

func printable(s string) string { return strictjson.Printable(s) }

// errNothing says that a resource is empty.
var errNothing = errors.New("nothing was set")

// refuse answers an error: what the caller did wrong is told, anything else is that the
// directory could not be asked.
func refuse(w http.ResponseWriter, err error) {
	var field *strictjson.Error
	var input *presence.InputError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		writeError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("body: larger than %d bytes", large.Limit))
	case errors.As(err, &field):
		writeError(w, http.StatusBadRequest, field.Error())
	case errors.As(err, &input):
		writeError(w, http.StatusBadRequest, input.Field+": "+input.Reason)
	case errors.Is(err, errNothing):
		writeError(w, http.StatusNotFound, "path: nothing was set")
	case errors.Is(err, directory.ErrNotFound):
		writeError(w, http.StatusNotFound, "address: the directory has no entry for it")
	case errors.Is(err, directory.ErrAmbiguous):
		writeError(w, http.StatusConflict, "address: the directory has several entries for it")
	case errors.Is(err, presence.ErrTooMany):
		w.Header().Set("Retry-After", "60")
		writeError(w, http.StatusServiceUnavailable, "the server holds as many of these as it may")
	case errors.Is(err, presence.ErrNotStored):
		w.Header().Set("Retry-After", "5")
		writeError(w, http.StatusServiceUnavailable, "the value is in use, but it is not in the store yet: a crash would lose it")
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

// probeTime bounds what health waits for.
const probeTime = 2 * time.Second

// health answers whether check is content.
func health(check func(context.Context) error, good string) action {
	return func(w http.ResponseWriter, r *http.Request) error {
		if check != nil {
			ctx, cancel := context.WithTimeout(r.Context(), probeTime)
			defer cancel()
			if err := check(ctx); err != nil {
				w.Header().Set("Retry-After", "5")
				writeError(w, http.StatusServiceUnavailable, oneLine(err))
				return nil
			}
		}
		writeJSON(w, http.StatusOK, map[string]string{"status": good})
		return nil
	}
}

// postReload is POST /v1/reload.
func (c *Console) postReload(w http.ResponseWriter, r *http.Request) error {
	if err := c.cfg.Reload(r.Context()); err != nil {
		writeError(w, http.StatusUnprocessableEntity, oneLine(err))
		return nil
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// oneLine keeps an error to one line, whatever it quotes.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// Lists are paged with ?limit= and ?offset=.
const (
	defaultPage = 100
	maxPage     = 1000
)

// page is a part of a list.
type page[T any] struct {
	Total  int    `json:"total"` // in the whole list
	Limit  int    `json:"limit"`
	Offset int    `json:"offset"`
	Next   string `json:"next,omitempty"` // path of the next page
	Items  []T    `json:"items"`
}

// Page is a resource that lists what a function returns, in pages: for [Config].More.
func Page[T any](list func() []T) http.Handler {
	return methods{http.MethodGet: func(w http.ResponseWriter, r *http.Request) error {
		p, err := pageOf(r, list())
		if err == nil {
			writeJSON(w, http.StatusOK, p)
		}
		return err
	}}
}

func pageOf[T any](r *http.Request, all []T) (p page[T], err error) {
	query := r.URL.Query()
	if p.Limit, err = number(query, "limit", defaultPage, 1, maxPage); err != nil {
		return p, err
	}
	if p.Offset, err = number(query, "offset", 0, 0, 1<<31-1); err != nil {
		return p, err
	}
	p.Total, p.Items = len(all), []T{}
	if p.Offset < len(all) {
		end := min(p.Offset+p.Limit, len(all))
		p.Items = all[p.Offset:end]
		if end < len(all) {
			query.Set("limit", strconv.Itoa(p.Limit))
			query.Set("offset", strconv.Itoa(end))
			p.Next = r.URL.Path + "?" + query.Encode()
		}
	}
	return p, nil
}

func number(query url.Values, key string, value, least, most int) (int, error) {
	text := query.Get(key)
	if text == "" {
		return value, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, wrong(key, "%q: want %d to %d", printable(text), least, most)
	}
	return n, nil
}

// entityOf writes an address as documents have it.
func entityOf(address string) string {
	a, err := directory.ParseAddress(address)
	if err != nil {
		return address
	}
	return a.String()
}
