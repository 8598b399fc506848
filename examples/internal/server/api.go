package server

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence/console"
)

// newConsole is the control API and the page: all that is to be said about this server.
func (s *server) newConsole() (http.Handler, error) {
	cfg := console.Config{
		Server:  s.presence,
		Stream:  s.stream,
		Token:   func() auth.Secret { return s.backends.files.Load().token },
		Healthy: s.healthy, Ready: s.ready,
		Reload:  s.reload,
		Metrics: newMetrics(s.metrics), MetricsToken: s.cfg.HTTP.MetricsToken,
		More:   map[string]http.Handler{"/v1/forwardings": console.Page(s.forwards.list), "/v1/backup": http.HandlerFunc(s.getBackup)}, // what the controller recorded
		Logger: s.log,
	}
	if s.nodes != nil {
		cfg.Nodes = s.nodes.List
	}
	if s.backends.files.Load().users != nil {
		cfg.Users = func() iter.Seq[directory.Entry] { return s.backends.files.Load().users.All() }
	}
	return console.New(cfg)
}

// newAPI is the HTTP server of the console.
func (s *server) newAPI() *http.Server {
	return &http.Server{
		Handler:           s.web,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// ready says why the server should not be sent work: a directory cannot be asked. It
// goes on with what it knows meanwhile.
func (s *server) ready(ctx context.Context) error {
	if s.stopping.Load() {
		return errors.New("server: shutting down")
	}
	for _, p := range s.backends.probes {
		if _, err := p.Ask(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}
