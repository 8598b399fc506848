package client

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A keeper calls a function whenever it is due: the one clock of a subscription
// or of a publication. Whoever learns something sets the next time with at.
type keeper struct {
	mu      sync.Mutex
	due     time.Time
	stopped bool
	wake    chan struct{} // holds one token when due or stopped has changed
}

func newKeeper() *keeper { return &keeper{wake: make(chan struct{}, 1)} }

// at sets when the function is called next; the last call counts.
func (k *keeper) at(t time.Time) {
	k.mu.Lock()
	k.due = t
	k.mu.Unlock()
	k.signal()
}

// sooner is at where t is earlier than what was set.
func (k *keeper) sooner(t time.Time) {
	k.mu.Lock()
	if t.Before(k.due) {
		k.due = t
	}
	k.mu.Unlock()
	k.signal()
}

// stop ends run, after the call that is under way.
func (k *keeper) stop() {
	k.mu.Lock()
	k.stopped = true
	k.mu.Unlock()
	k.signal()
}

func (k *keeper) isStopped() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stopped
}

func (k *keeper) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run calls act when it is due, until stop or the end of ctx. It must set the
// next time itself: until then it is not called again.
func (k *keeper) run(ctx context.Context, act func(context.Context)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		k.mu.Lock()
		due, stopped := k.due, k.stopped
		k.mu.Unlock()
		if stopped || ctx.Err() != nil {
			return
		}
		if wait := time.Until(due); due.IsZero() || wait > 0 {
			if due.IsZero() {
				wait = time.Hour // nothing is due: at wakes us
			}
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-k.wake:
			case <-ctx.Done():
			}
			continue
		}
		k.mu.Lock()
		if k.due == due {
			k.due = time.Time{}
		}
		k.mu.Unlock()
		act(ctx)
	}
}

// Bounds of the time between attempts.
const (
	minRetry = time.Second
	maxRetry = 5 * time.Minute
)

// retryAfter is the wait after failures in a row: from one second on it doubles
// up to five minutes, a fifth of it random.
func retryAfter(failures int) time.Duration {
	d := min(minRetry<<min(failures, 20), maxRetry)
	return d*4/5 + rand.N(d/5)
}
