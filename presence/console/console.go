package console

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/loopback"
	"github.com/openblustar/blustar/presence"
)

// maxRequest bounds the body of a request, in bytes.
const maxRequest = 1 << 20

// Config makes a [Console]. Server and Stream are required. Functions are called by
// several goroutines at once, for one request each.
type Config struct {
	Server *presence.Server
	Stream *Stream // that the server's hook Changed feeds
	// Users lists the users of the directory, also those whom the server does not hold.
	// nil: it cannot be listed, and the console shows those whom the server holds.
	Users func() iter.Seq[directory.Entry]
	// Token is what callers must have. nil, or an empty one: no token, and this machine
	// alone. It is asked for each request.
	Token func() auth.Secret

	// Healthy says why the process should be started again, Ready why it should not be
	// sent work now. nil: it is well.
	Healthy, Ready func(ctx context.Context) error
	// Reload reads what the host has in files again. nil: there is no /v1/reload.
	Reload func(ctx context.Context) error
	// Nodes lists the servers that serve the site together. nil: there is one, and no
	// /v1/nodes.
	Nodes func(ctx context.Context) ([]Node, error)
	// Metrics is /metrics, which needs no token unless MetricsToken is set. nil: there
	// is none.
	Metrics      http.Handler
	MetricsToken bool
	// More are resources of the host, by path: "/v1/forwardings". They need the token.
	More map[string]http.Handler

	Logger *slog.Logger // default: silent
}

// Console serves the API and the page. It is safe for concurrent use.
type Console struct {
	cfg  Config
	open *http.ServeMux // for everybody
	api  *http.ServeMux
}

// New makes a console. It starts nothing.
func New(cfg Config) (*Console, error) {
	if cfg.Server == nil || cfg.Stream == nil {
		return nil, errors.New("console: Config: Server and Stream are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Console{cfg: cfg, open: http.NewServeMux(), api: http.NewServeMux()}
	get := func(f action) methods { return methods{http.MethodGet: f} }
	c.api.Handle("/v1/lines/{dn}", methods{http.MethodPut: c.putLine, http.MethodGet: c.getLine,
		http.MethodDelete: c.deleteLine})
	c.api.Handle("/v1/calendars/{mail}", methods{http.MethodPut: c.putCalendar, http.MethodGet: c.getCalendar,
		http.MethodDelete: c.deleteCalendar})
	c.api.Handle("/v1/external/{address}", methods{http.MethodPut: c.putExternal, http.MethodGet: c.getExternal,
		http.MethodDelete: c.deleteExternal})
	c.api.Handle("/v1/presence/{address}", get(c.getPresence))
	c.api.Handle("/v1/explain/{address}", get(c.getExplain))
	c.api.Handle("/v1/users", get(c.getUsers))
	c.api.Handle("/v1/users/{address}", get(c.getUser))
	c.api.Handle("/v1/subscriptions", Page(cfg.Server.Subscriptions))
	c.api.Handle("/v1/clients", Page(cfg.Server.Clients))
	c.api.Handle("/v1/publications", Page(cfg.Server.Publications))
	c.api.Handle("/v1/summary", get(c.getSummary))
	c.api.Handle("/v1/events", get(plain(cfg.Stream)))
	if cfg.Reload != nil {
		c.api.Handle("/v1/reload", methods{http.MethodPost: c.postReload})
	}
	if cfg.Nodes != nil {
		c.api.Handle("/v1/nodes", get(c.getNodes))
	}
	for path, h := range cfg.More {
		c.api.Handle(path, h)
	}
	c.api.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "path: there is nothing here")
	})
	c.open.Handle("/healthz", get(health(cfg.Healthy, "ok")))
	c.open.Handle("/readyz", get(health(cfg.Ready, "ready")))
	if cfg.Metrics != nil {
		mux := c.open
		if cfg.MetricsToken {
			mux = c.api
		}
		mux.Handle("/metrics", get(plain(cfg.Metrics)))
	}
	guarded := c.admit(c.api)
	for path, file := range pages {
		c.open.Handle(path, c.local(get(file.serve)))
	}
	c.open.Handle("/", guarded)
	return c, nil
}

// ServeHTTP implements [http.Handler]. A handler that panics ends its request alone.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler: // on purpose: what was sent must not look whole
			panic(v)
		default:
			c.cfg.Logger.Error("console", "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
			writeError(w, http.StatusInternalServerError, "internal error")
		}
	}()
	c.open.ServeHTTP(w, r)
}

// action is what a method of a resource does. Its error is answered.
type action func(w http.ResponseWriter, r *http.Request) error

// methods is a resource.
type methods map[string]action

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

func plain(h http.Handler) action {
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}

func (c *Console) token() auth.Secret {
	if c.cfg.Token == nil {
		return auth.Secret{}
	}
	return c.cfg.Token()
}

// local refuses, where there is no token, what another machine asks for.
func (c *Console) local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := c.token(); token.Len() == 0 && !loopback.Is(r.Host) { // a name that was made to point here
			writeError(w, http.StatusForbidden, "Host: want a loopback address")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// own refuses what another site's page has a browser send, by whatever method.
func own(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		unsafe := *r
		unsafe.Method = http.MethodPost // else a GET is let in from everywhere
		if origins.Check(&unsafe) != nil {
			writeError(w, http.StatusForbidden, "Origin: want this server's own")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// admit lets in who has the token, or who is local where there is none.
func (c *Console) admit(next http.Handler) http.Handler {
	local := c.local(own(next))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := c.token()
		if token.Len() == 0 {
			local.ServeHTTP(w, r)
			return
		}
		want := sha256.Sum256(token.Reveal())
		scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(text)))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !strings.EqualFold(scheme, "Bearer") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="blustar"`)
			writeError(w, http.StatusUnauthorized, "Authorization: want the Bearer token")
			return
		}
		next.ServeHTTP(w, r)
	})
}
