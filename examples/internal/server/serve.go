package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/heap"
	"github.com/openblustar/blustar/internal/hostconfig"
)

const (
	// notifyTime bounds how long the last NOTIFYs may take, closeTime how long
	// the control API and the directory may after them. A shutdown takes both at
	// most, which is less than the 5 s that are promised.
	notifyTime = 4 * time.Second
	closeTime  = 500 * time.Millisecond
)

// serveCommand runs the server until ctx ends.
func serveCommand(ctx context.Context, args []string, e env) error {
	c, err := configured(flag.NewFlagSet("server", flag.ContinueOnError), args, e)
	if err != nil {
		return err
	}
	defer heap.Keep(uint64(c.Limits.HeapRoom) << 20)()
	return serve(ctx, c, e)
}

func serve(ctx context.Context, c *config, e env) error {
	level := new(slog.LevelVar)
	log := c.NewLogger(e.stderr, level)
	s, err := newServer(ctx, c, log, level, e.join)
	if err != nil {
		return err
	}
	for _, w := range s.backends.warnings {
		log.Warn(w)
	}
	if c.demo {
		printDemo(e.stderr)
	}
	return s.run(ctx, e)
}

// run serves until ctx ends, or a listener fails, and then shuts down in order:
// the subscriptions with their last NOTIFYs, the stack that carries those, the
// control API, the directory, the store.
func (s *server) run(ctx context.Context, e env) error {
	web, status := s.newAPI(), e.stderr
	failed := make(chan error, 2)
	s.sources.Start()
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.stack.Serve(context.Background(), s.handler()); err != nil {
			failed <- err
		}
	})
	if s.api != nil {
		running.Go(func() {
			if err := web.Serve(s.api); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	for _, f := range s.stack.Listening() {
		fmt.Fprintf(status, "listening %s %s\n", f.Transport, f.Local)
	}
	if s.api != nil {
		fmt.Fprintf(status, "listening http %s\n", s.api.Addr())
	}
	fmt.Fprintln(status, "ready")
	notifySystemd("READY=1")

	sweeping, stop := context.WithCancel(ctx)
	running.Go(func() { s.sweepSessions(sweeping) })
	err := s.wait(ctx, e.hangup, failed)
	stop()
	s.stopping.Store(true)
	notifySystemd("STOPPING=1")
	s.log.Info("shutting down")
	s.shutdown(web)
	running.Wait()
	return err
}

// wait returns when ctx ends, something has failed, or another node takes this one's place.
// Until then it reloads at each signal.
func (s *server) wait(ctx context.Context, hangup <-chan os.Signal, failed <-chan error) error {
	var lost <-chan struct{} // never, where there is one node
	if s.nodes != nil {
		lost = s.nodes.Lost()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-lost:
			return errLost
		case err := <-failed:
			return err
		case <-hangup:
			if err := s.reload(ctx); err != nil {
				s.log.Error("not reloaded, everything stays as it was", "error", hostconfig.OneLine(err.Error()))
			}
		}
	}
}

func (s *server) shutdown(web *http.Server) {
	notify, cancel := context.WithTimeout(context.Background(), notifyTime)
	defer cancel()
	if err := s.presence.Shutdown(notify); err != nil {
		s.log.Warn("not every client has answered its last NOTIFY", "error", err)
	}
	s.sources.Close(notify)
	_ = s.stack.Shutdown(notify) // waits for no more than those answers
	rest, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	s.stream.Close()
	if err := web.Shutdown(rest); err != nil {
		_ = web.Close()
	}
	s.backends.close(rest)
	s.closeStore(rest, s.log)
}

// abandon closes what a server that never ran has open.
func (s *server) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if s.presence != nil {
		_ = s.presence.Shutdown(ctx)
	}
	if s.sources != nil {
		s.sources.Close(ctx)
	}
	if s.stack != nil {
		_ = s.stack.Shutdown(ctx)
	}
	if s.backends != nil {
		s.backends.close(ctx)
	}
	s.closeStore(ctx, s.log)
}
