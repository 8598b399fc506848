package presence

import (
	"context"
	"time"
)

// Shutdown ends all subscriptions with a last NOTIFY (terminated, deactivated),
// waits for their answers until ctx ends, and stops all monitors and timers.
// Requests that come meanwhile are answered 503. Call it before the stack's
// Shutdown, which carries those NOTIFYs. After it no goroutine of the server is
// left; later calls return at once. The error is ctx's where it cut the waiting
// short.
func (s *Server) Shutdown(ctx context.Context) error {
	s.life.Lock()
	first := !s.closing
	s.closing = true
	s.life.Unlock()
	if !first {
		return nil
	}
	err := s.awaitRequests(ctx) // one under way may still open a dialog
	for _, d := range s.dialogs.all() {
		s.endDialog(d, reasonDeactivated)
	}
	for s.outstanding.Load() > 0 && err == nil {
		select {
		case <-s.idle:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	s.cancel()
	s.stopTimers()
	s.work.Wait()
	return err
}

// awaitRequests waits for the requests that entered before the server closed.
func (s *Server) awaitRequests(ctx context.Context) error {
	done := make(chan struct{})
	s.work.Go(func() {
		s.requests.Wait()
		close(done)
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stopTimers stops what would otherwise fire into nothing later.
func (s *Server) stopTimers() {
	s.expiries.stop()
	for _, p := range s.presentities.all() {
		p.mu.Lock()
		stopTimer(&p.change)
		stopTimer(&p.retry)
		stopTimer(&p.winfo.timer)
		for _, pub := range p.pubs {
			stopTimer(&pub.expiry)
		}
		if p.forward != nil {
			stopTimer(&p.forward.expiry)
		}
		p.mu.Unlock()
	}
	s.clients.mu.Lock()
	for _, c := range s.clients.m {
		stopTimer(&c.expiry)
	}
	s.clients.mu.Unlock()
	s.lines.stopTimers()
	s.calendars.stopTimers()
	s.externals.stopTimers()
}

// enter notes work that Shutdown waits for, and reports whether it may start.
func (s *Server) enter() bool {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closing {
		return false
	}
	s.work.Add(1)
	return true
}

// enterRequest notes a request, which Shutdown waits for first.
func (s *Server) enterRequest() bool {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closing {
		return false
	}
	s.work.Add(1)
	s.requests.Add(1)
	return true
}

// after runs f once after d, unless the server shuts down before.
func (s *Server) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		if s.enter() {
			defer s.work.Done()
			f()
		}
	})
}

// start runs f in a goroutine that Shutdown waits for; f ends with s.ctx.
func (s *Server) start(f func()) bool {
	if !s.enter() {
		return false
	}
	go func() {
		defer s.work.Done()
		f()
	}()
	return true
}

// sendDone notes the outcome of a NOTIFY.
func (s *Server) sendDone() {
	if s.outstanding.Add(-1) == 0 {
		select {
		case s.idle <- struct{}{}:
		default:
		}
	}
}
