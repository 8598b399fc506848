package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/hostconfig"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/boltstore"
	"github.com/openblustar/blustar/presence/console"
	"github.com/openblustar/blustar/presence/promstats"
	"github.com/openblustar/blustar/sipx/stack"
)

// server is all the parts, put together.
type server struct {
	cfg       *config
	log       *slog.Logger
	backends  *backends
	stack     *stack.Stack
	sources   *hostconfig.Sources
	guard     *auth.Guard
	presence  *presence.Server
	store     *boltstore.Store // nil without one
	nodes     Nodes            // nil where this is no node
	stream    *console.Stream
	web       http.Handler // the control API
	metrics   *promstats.Collector
	forwards  *forwardings
	api       net.Listener // nil without a control API
	level     *slog.LevelVar
	reloading sync.Mutex
	restored  atomic.Pointer[presence.Server] // presence, once it is
	stopping  atomic.Bool                     // shutdown has begun
}

// newServer opens the sockets and puts the parts together. Where it fails it
// leaves nothing open. A store that several nodes share is waited for until ctx ends.
func newServer(ctx context.Context, c *config, log *slog.Logger, level *slog.LevelVar, join Join) (*server, error) {
	s := &server{cfg: c, log: log, level: level, stream: new(console.Stream), metrics: promstats.New(), forwards: newForwardings(log)}
	if err := s.open(ctx, join); err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

func (s *server) open(ctx context.Context, join Join) (err error) {
	c, log := s.cfg, s.log
	if s.backends, err = c.open(log); err != nil {
		return err
	}
	keep := func(r auth.SessionRecord) { s.presence.KeepSession(r) } // which is there before requests are
	if s.guard, err = c.newGuard(s.backends, s.metrics, keep, log); err != nil {
		return c.Bad("auth", err)
	}
	secure, err := c.TLS.Roots()
	if err != nil {
		return c.Bad("tls", err)
	}
	secure.GetCertificate = s.backends.certificate
	if s.nodes, err = s.joinNodes(ctx, join); err != nil {
		return err
	}
	sip := stack.Config{
		ReuseRequests: true, // the presence server keeps none
		Listen:        c.Listen,
		Advertise:     c.Advertise,
		TLS:           secure,
		MaxMessage:    c.MaxMessage(),
		Logger:        log,
	}
	if s.nodes != nil {
		sip.MaySend = s.nodes.Alive
	}
	if s.stack, err = stack.Listen(sip); err != nil {
		return err
	}
	var guard presence.Guard // nil lets everybody in, and costs nothing
	if c.Auth.Mode != string(auth.ModeOff) {
		guard = s.guard
	}
	if s.sources, err = c.OpenSources(s.stack, log); err != nil {
		return err
	}
	cfg := c.Presence()
	cfg.Sender, cfg.Directory, cfg.Guard, cfg.Policy = s.stack, s.backends.directory, guard, s.backends.policy
	cfg.Lines, cfg.Calendar, cfg.External = s.sources.Lines, s.sources.Calendar, s.sources.External
	cfg.Forward = s.forwards
	var hooks presence.Hooks
	if c.HTTP.Listen != "" {
		hooks.Changed = s.stream.Changed // for who looks at the console
	}
	cfg.Hooks = s.metrics.Hooks(hooks)
	cfg.Logger = log
	if s.nodes != nil {
		cfg.Store, cfg.Sender = s.nodes, s.nodes.Sender(s.stack)
	} else if s.store, err = c.Store.Open(&cfg); err != nil {
		return err
	}
	if s.presence, err = presence.New(cfg); err != nil {
		return err
	}
	if err := s.restore(); err != nil { // before the stack serves: requests wait in its sockets
		return err
	}
	s.restored.Store(s.presence)
	if cfg.Store != nil {
		s.backends.mustReach("store", s.storeReady)
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
	cfg, err := c.Guard()
	if err != nil {
		return nil, err
	}
	cfg.Verifier, cfg.OnDecision = m.Verifier(b.verifier), m.Decided
	cfg.AMCC, cfg.Digest = accounts{b}, accounts{b}
	cfg.KeepSession, cfg.Logger = keep, log
	return auth.New(cfg)
}
