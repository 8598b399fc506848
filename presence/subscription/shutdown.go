package subscription

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/internal/await"
)

// EndAll ends all dialogs with a last NOTIFY (RFC 6665 §4.4.1), the oldest first. It does
// not wait for answers, nor for a host that holds up a dialog.
func (r *Registry) EndAll(why Reason) { r.each(func(d *Dialog) { d.End(why) }) }

// Shutdown refuses new dialogs, and does what EndAll does. It waits for the answers to all
// NOTIFYs until ctx ends. Its error is that of ctx where it cut the waiting short. After
// it no goroutine of the registry is left, but for those that a host holds up.
func (r *Registry) Shutdown(ctx context.Context, why Reason) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.EndAll(why)
	return r.wind(ctx)
}

// Suspend refuses new dialogs and leaves those that there are as they are, for
// [Registry.Restore] in a process to come: nothing is sent and nothing ends any more.
// It waits for NOTIFYs under way until ctx ends, the error of which it returns then.
func (r *Registry) Suspend(ctx context.Context) error {
	r.mu.Lock()
	r.closed, r.paused = true, true
	r.mu.Unlock()
	r.each(func(d *Dialog) {
		d.mu.Lock()
		d.held = true
		d.mu.Unlock()
	})
	return r.wind(ctx)
}

// stall is how long each waits for a dialog before others take the next ones.
const stall = 10 * time.Millisecond

// each calls f with all dialogs, the oldest first. A dialog whose document a host holds up
// keeps its goroutine. Then more of them take the other dialogs: each returns, and leaves
// those goroutines to wind.
func (r *Registry) each(f func(*Dialog)) {
	dialogs := r.All()
	var next, done atomic.Int64
	all := make(chan struct{})
	work := func() {
		for i := next.Add(1); i <= int64(len(dialogs)); i = next.Add(1) {
			f(dialogs[i-1])
			if done.Add(1) == int64(len(dialogs)) {
				close(all)
			}
		}
	}
	tick := time.NewTicker(stall)
	defer tick.Stop()
	for workers := 1; next.Load() < int64(len(dialogs)); workers *= 2 {
		for range workers {
			r.work.Go(work)
		}
		for before := int64(-1); done.Load() != before; {
			before = done.Load()
			select {
			case <-all:
				return
			case <-tick.C:
			}
		}
	}
}

// wind waits for NOTIFYs under way, and stops what goes on by itself.
func (r *Registry) wind(ctx context.Context) error {
	err := await.Return(ctx, r.work.Wait)
	for r.outstanding.Load() > 0 && err == nil {
		select {
		case <-r.idle:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	_ = await.Return(ctx, r.deadlines.Stop)
	_ = await.Return(ctx, r.ends.wait)
	return err
}
