package main

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/boltstore"
	"github.com/openblustar/blustar/presence/console"
	"github.com/openblustar/blustar/presence/promstats"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx/stack"
)

const (
	// maxMessage bounds a SIP message, in bytes; headerRoom is what its header
	// may have of that beside the largest body.
	maxMessage = 1 << 20
	headerRoom = 64 << 10
)

// server is all the parts, put together.
type server struct {
	cfg       *config
	log       *slog.Logger
	backends  *backends
	stack     *stack.Stack
	guard     *auth.Guard
	presence  *presence.Server
	store     *boltstore.Store // nil without one
	stream    *console.Stream
	web       http.Handler // the control API
	metrics   *promstats.Collector
	forwards  *forwardings
	api       net.Listener // nil without a control API
	level     *slog.LevelVar
	reloading sync.Mutex
	stopping  atomic.Bool // shutdown has begun
}

// newServer opens the sockets and puts the parts together. Where it fails it
// leaves nothing open.
func newServer(c *config, log *slog.Logger, level *slog.LevelVar) (*server, error) {
	s := &server{cfg: c, log: log, level: level, stream: new(console.Stream), metrics: promstats.New(), forwards: newForwardings(log)}
	if err := s.open(); err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

func (s *server) open() (err error) {
	c, log := s.cfg, s.log
	if s.backends, err = c.open(log); err != nil {
		return err
	}
	keep := func(r auth.SessionRecord) { s.presence.KeepSession(r) } // which is there before requests are
	if s.guard, err = c.newGuard(s.backends, s.metrics, keep, log); err != nil {
		return c.bad("auth", err)
	}
	if s.stack, err = stack.Listen(stack.Config{
		Listen:     c.Listen,
		Advertise:  c.Advertise,
		TLS:        &tls.Config{GetCertificate: s.backends.certificate, MinVersion: tls.VersionTLS12},
		MaxMessage: max(256<<10, c.Limits.MaxBody+headerRoom),
		Logger:     log,
	}); err != nil {
		return err
	}
	var guard presence.Guard // nil lets everybody in, and costs nothing
	if c.Auth.Mode != string(auth.ModeOff) {
		guard = s.guard
	}
	cfg := presence.Config{
		Sender:              s.stack,
		Directory:           s.backends.directory,
		Guard:               guard,
		Policy:              s.backends.policy,
		Domains:             c.Domains,
		Dialect:             presence.DialectMode(without(c.Dialect, "auto")),
		UserAgents:          c.Auth.UserAgents,
		NAT:                 subscription.NATMode(without(c.NAT, "auto")),
		AllStatuses:         c.AllStatuses,
		NextAppointment:     c.NextAppointment,
		Forward:             s.forwards,
		Hooks:               s.metrics.Hooks(presence.Hooks{Changed: s.stream.Changed}),
		Logger:              log,
		MaxSubscribeExpires: seconds(c.Limits.MaxSubscribeExpires),
		MaxPublishExpires:   seconds(c.Limits.MaxPublishExpires),
		MinExpires:          seconds(max(1, c.Limits.MinExpires)), // 1 s is none: expiries are whole seconds
		MaxNote:             c.Limits.MaxNote,
		MaxBody:             c.Limits.MaxBody,
		MaxList:             c.Limits.MaxList,
		MaxSubscriptions:    c.Limits.MaxSubscriptions,
	}
	if s.store, err = c.Store.open(&cfg); err != nil {
		return err
	}
	if s.presence, err = presence.New(cfg); err != nil {
		return err
	}
	if err := s.restore(); err != nil { // before the stack serves: requests wait in its sockets
		return err
	}
	if s.store != nil {
		s.backends.probes = append(s.backends.probes, probe{"store", s.storeReady})
	}
	s.measure()
	if s.web, err = s.newConsole(); err != nil {
		return err
	}
	if c.HTTP.Listen != "" {
		s.api, err = net.Listen("tcp", c.HTTP.Listen)
	}
	return err
}

func (c *config) newGuard(b *backends, m *promstats.Collector, keep func(auth.SessionRecord), log *slog.Logger) (*auth.Guard, error) {
	cipher, err := auth.StandardCiphers().Lookup(c.Auth.Cipher)
	if err != nil {
		return nil, err
	}
	failures := c.Auth.MaxFailures
	if failures == 0 {
		failures = -1 // what package auth calls no throttling
	}
	shared := make([]netip.Prefix, len(c.Auth.SharedSources))
	for i, n := range c.Auth.SharedSources {
		shared[i] = netip.Prefix(n)
	}
	algorithms := make([]auth.Algorithm, len(c.Auth.DigestAlgorithms))
	for i, a := range c.Auth.DigestAlgorithms {
		algorithms[i] = auth.Algorithm(a)
	}
	return auth.New(auth.Config{
		Mode:              auth.Mode(c.Auth.Mode),
		Verifier:          m.Verifier(b.verifier),
		OnDecision:        m.Decided,
		AMCC:              accounts{b},
		Digest:            accounts{b},
		Algorithms:        algorithms,
		OldDigest:         auth.OldDigest(c.Auth.AllowOldDigest),
		Cipher:            cipher,
		RequireTLS:        c.Auth.RequireTLS,
		AnySource:         c.Auth.AnySource,
		Basic:             auth.Basic(c.Auth.AllowBasic),
		ChallengeLifetime: time.Duration(c.Auth.ChallengeLifetime),
		SessionLifetime:   time.Duration(c.Auth.Session),
		MaxFailures:       failures,
		FailureWindow:     time.Duration(c.Auth.FailureWindow),
		SharedSources:     shared,
		KeepSession:       keep,
		Logger:            log,
	})
}

func without(value, zero string) string {
	if value == zero {
		return ""
	}
	return value
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
