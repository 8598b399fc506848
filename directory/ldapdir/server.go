package ldapdir

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/conf"
)

// Defaults of [Server].
const (
	DefaultTimeout    = 5 * time.Second
	DefaultMaxBackoff = 15 * time.Second
)

const (
	firstBackoff = 250 * time.Millisecond
	// forgiveAfter is when a server that failed counts as good again although
	// another one serves: so a preferred server gets its work back.
	forgiveAfter = 5 * time.Minute
)

// Server says how to reach a directory. The zero value lacks URLs.
type Server struct {
	// URLs are the servers to use, "ldaps://dc1.example.com" or
	// "ldap://127.0.0.1:3890", all with the same content. The first one that
	// works is used; the others are for when it does not. Required.
	URLs []string
	// StartTLS encrypts the connections to ldap URLs (RFC 4511 §4.14).
	StartTLS bool
	// TLS is the configuration for ldaps and StartTLS, copied. Nil means the
	// system's certificates, which are also verified against the host of the URL;
	// an own authority goes into RootCAs, see [LoadCA]. TLS 1.2 is the least.
	TLS *tls.Config
	// Timeout bounds each step that waits for a server: to connect, including TLS
	// and bind, and each search. Zero means DefaultTimeout, 5 s.
	Timeout time.Duration
	// MaxBackoff bounds how long a failing server is left alone before it is tried
	// again. The first pause is a quarter of a second, and each next one twice as
	// long, less a random part. Zero means DefaultMaxBackoff, 15 s.
	MaxBackoff time.Duration
	// Dial makes the network connections, "tcp" to "host:port". Nil means a
	// net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger gets a line when a server begins to fail and when it works again,
	// and one for each ambiguous address. Nil means none.
	Logger *slog.Logger
}

// LoadCA reads a file of PEM certificates for [tls.Config.RootCAs].
func LoadCA(name string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("ldapdir: CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ldapdir: CA: %s holds no PEM certificate", name)
	}
	return pool, nil
}

// A host is one server of several and remembers how it fares.
type host struct {
	url      string // for messages
	address  string // host:port
	tls      *tls.Config
	ldaps    bool
	startTLS bool

	mu       sync.Mutex
	failures backoff.Backoff
	failed   time.Time // of the last one
	retry    time.Time // not to be tried before, if there are failures
	probing  bool      // one caller is trying it, if there are failures
	err      error     // of the last one
}

// hosts is the set of servers that one Server configures. It is safe for
// concurrent use.
type hosts struct {
	all     []*host
	timeout time.Duration
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	log     *slog.Logger
}

func newHosts(check *conf.Check, cfg Server) *hosts {
	check.Require("URLs", len(cfg.URLs) > 0)
	conf.Default(check, "Timeout", &cfg.Timeout, DefaultTimeout)
	conf.Default(check, "MaxBackoff", &cfg.MaxBackoff, DefaultMaxBackoff)
	conf.Or(&cfg.Logger, slog.New(slog.DiscardHandler))
	hs := &hosts{timeout: cfg.Timeout, dial: cfg.Dial, log: cfg.Logger}
	if hs.dial == nil {
		hs.dial = new(net.Dialer).DialContext
	}
	for i, u := range cfg.URLs {
		h, err := newHost(u, cfg)
		if err != nil {
			check.Fail(fmt.Sprintf("URLs[%d]", i), err)
			continue
		}
		hs.all = append(hs.all, h)
	}
	return hs
}

func newHost(raw string, cfg Server) (*host, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("not a URL") // url's error would print a password
	}
	h := &host{url: u.Redacted(), startTLS: cfg.StartTLS, failures: backoff.Backoff{First: firstBackoff, Max: cfg.MaxBackoff}}
	port := "389"
	switch u.Scheme {
	case "ldap":
	case "ldaps":
		h.ldaps, h.startTLS, port = true, false, "636"
	default:
		return nil, fmt.Errorf("%q: neither ldap nor ldaps", u.Redacted())
	}
	if u.Hostname() == "" || u.User != nil || u.Opaque != "" || u.RawQuery != "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("%q: not of the form ldaps://host or ldaps://host:port", u.Redacted())
	}
	h.address = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
	if cfg.TLS != nil {
		h.tls = cfg.TLS.Clone()
	} else {
		h.tls = new(tls.Config)
	}
	h.tls.MinVersion = max(h.tls.MinVersion, tls.VersionTLS12)
	h.tls.ServerName = cmp.Or(h.tls.ServerName, u.Hostname())
	return h, nil
}

// encrypted reports whether what is sent to each server is.
func (hs *hosts) encrypted() bool {
	for _, h := range hs.all {
		if !h.ldaps && !h.startTLS {
			return false
		}
	}
	return true
}

// connect returns a connection to the first server that works, made ready by
// setup (nil for nothing). Servers that failed lately are not tried, so that with
// all of them down it returns at once. A refusal by setup is final. The caller must
// report to the host what came of the connection, by succeed, fail or impatient:
// servers are known that accept connections and then hang.
func (hs *hosts) connect(ctx context.Context, setup func(context.Context, *conn) error) (*conn, error) {
	var last error
	for _, h := range hs.order(time.Now()) {
		if !h.admit(time.Now()) {
			if last == nil {
				last = h.lastError()
			}
			continue
		}
		c, err := hs.open(ctx, h, setup)
		if err == nil {
			return c, nil
		}
		var refused *refusedError
		switch {
		case errors.As(err, &refused):
			h.withdraw()
			return nil, err
		case ctx.Err() != nil:
			hs.impatient(ctx, h, err)
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
		}
		hs.fail(h, err)
		last = err
	}
	return nil, last
}

// order returns the servers as they are to be tried: those that work in the order
// of the configuration, then the others.
func (hs *hosts) order(now time.Time) []*host {
	var good, bad []*host
	for _, h := range hs.all {
		if h.good(now) {
			good = append(good, h)
		} else {
			bad = append(bad, h)
		}
	}
	return append(good, bad...)
}

// alternative reports whether another server than h is worth trying now.
func (hs *hosts) alternative(h *host) bool {
	now := time.Now()
	for _, other := range hs.all {
		if other != h && other.good(now) {
			return true
		}
	}
	return false
}

// fail notes that h failed, and leaves it alone for a while.
func (hs *hosts) fail(h *host, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.probing = false
	if h.failures.Failures() > 0 && now.Before(h.retry) {
		return // one outage seen by several
	}
	h.failed, h.retry, h.err = now, now.Add(h.failures.Next()), err
	if h.failures.Failures() == 1 {
		hs.log.Warn("directory server fails", "server", h.url, "error", err)
	} else {
		hs.log.Debug("directory server still fails", "server", h.url, "error", err, "failures", h.failures.Failures())
	}
}

// impatient notes that a caller gave up on h. That is held against h only if the
// caller's patience was a fair one, otherwise a few callers in a hurry would take a
// good server away from everybody.
func (hs *hosts) impatient(ctx context.Context, h *host, err error) {
	if c, ok := errors.AsType[*timeoutError](err); ok && errors.Is(ctx.Err(), context.DeadlineExceeded) && c.after >= min(hs.timeout, time.Second) {
		hs.fail(h, err)
		return
	}
	h.withdraw()
}

// good reports whether h is worth trying before servers that failed.
func (h *host) good(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failures.Failures() == 0 || now.Sub(h.failed) > forgiveAfter
}

// admit reports whether the caller may try h now. Of those who ask while h is
// failing, one at a time is let through. It must then report what came of it.
func (h *host) admit(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures.Failures() == 0 {
		return true
	}
	if h.probing || now.Before(h.retry) {
		return false
	}
	h.probing = true
	return true
}

// withdraw ends an attempt that says nothing about h.
func (h *host) withdraw() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
}

// succeed notes that h gave an answer.
func (hs *hosts) succeed(h *host) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probing = false
	if h.failures.Failures() > 0 {
		hs.log.Info("directory server works again", "server", h.url, "failures", h.failures.Failures())
	}
	h.failures.Reset()
	h.err = nil
}

func (h *host) lastError() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		// Another caller's attempt is under way or was just withdrawn.
		return &Error{Op: "connect", Server: h.url, Err: errors.New("being tried")}
	}
	return h.err
}

// up reports whether any server works, as far as is known.
func (hs *hosts) up() bool {
	for _, h := range hs.all {
		h.mu.Lock()
		ok := h.failures.Failures() == 0
		h.mu.Unlock()
		if ok {
			return true
		}
	}
	return false
}
