package presence

import (
	"context"
	"errors"
	"time"

	"github.com/openblustar/blustar/internal/await"
	"github.com/openblustar/blustar/presence/subscription"
)

// Shutdown ends all subscriptions with a last NOTIFY (terminated, deactivated). It waits
// for their answers and for requests under way until ctx ends, and stops all monitors and
// timers. Requests that come meanwhile are answered 503.
//
// With a [Store] that works it leaves subscriptions as they are, for [Server.Restore] in
// the next process, and nobody is told anything. The store has half of the time to show
// that it works.
//
// Call it before the stack's Shutdown: the stack carries the last NOTIFYs. After it no
// goroutine of the server is left, but for those that a host holds up beyond the end of
// ctx. Later calls return at once. The error is that of ctx, where it ended the waiting.
func (s *Server) Shutdown(ctx context.Context) error {
	s.life.Lock()
	first := !s.closing
	s.closing = true
	s.life.Unlock()
	if !first {
		return nil
	}
	s.requests.close()
	goOn := s.journal != nil && s.journal.ready() && s.lastFlush(ctx) == nil
	if !goOn {
		s.registry.EndAll(subscription.ReasonDeactivated) // before anything that a host may hold up
	}
	err := s.requests.wait(ctx) // one under way may still open a dialog
	e := error(nil)
	if goOn {
		e = s.suspend(ctx)
	} else {
		e = errors.Join(s.registry.Shutdown(ctx, subscription.ReasonDeactivated), s.journal.close(ctx))
	}
	if err == nil {
		err = e
	}
	s.cancel()
	s.deadlines.Stop()
	s.publications.Shutdown()
	for _, table := range s.sources {
		if e := table.Shutdown(ctx); err == nil {
			err = e
		}
	}
	if e := await.Return(ctx, s.work.Wait); err == nil {
		err = e
	}
	return err
}

// lastFlush writes what is left to the store. Half of the time is for that: where the
// store does not take it, the rest is for the last NOTIFYs.
func (s *Server) lastFlush(ctx context.Context) error {
	ctx, cancel := half(ctx)
	defer cancel()
	return s.journal.flush(ctx)
}

// half is a context that ends when half of the time that ctx has is over.
func half(ctx context.Context) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, time.Now().Add(time.Until(end)/2))
	}
	return context.WithCancel(ctx)
}

// suspend leaves the dialogs as they are, with half of the time that there is for
// NOTIFYs under way, and the rest for the store.
func (s *Server) suspend(ctx context.Context) error {
	waiting, cancel := half(ctx)
	defer cancel()
	err := s.registry.Suspend(waiting)
	s.deadlines.Stop() // what it would still end has not ended
	s.publications.Shutdown()
	if e := s.journal.close(ctx); e != nil {
		return errors.Join(err, e)
	}
	return errors.Join(err, s.cluster.leave(ctx))
}
