package msgraph

import (
	"net/http"

	"github.com/openblustar/blustar/internal/backoff"
)

// App is an application that is registered in a tenant. It holds its access token, and remembers
// who the users are. Its monitors share both. It is safe for concurrent use and has no goroutine of
// its own.
type App struct {
	cfg    Config
	http   *http.Client
	tokens tokens
	users  users
}

// New checks the configuration. It reads no file and sends nothing.
func New(cfg Config) (*App, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	h := http.Client{Transport: newTransport()}
	if cfg.HTTPClient != nil {
		h = *cfg.HTTPClient
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	a := &App{cfg: cfg, http: &h}
	a.tokens = tokens{app: a, turn: make(chan struct{}, 1), pause: backoff.Backoff{}}
	a.users = users{
		app: a, known: make(map[string]known), pace: pace{every: perSecond(cfg.Lookups)},
		slots: make(chan struct{}, maxLookups),
	}
	return a, nil
}

// newTransport returns the default transport with as many connections as there are requests under
// way, for where a proxy has no HTTP/2, which needs one.
func newTransport() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t = t.Clone()
	t.MaxIdleConnsPerHost, t.MaxConnsPerHost = 32, 64
	return t
}
