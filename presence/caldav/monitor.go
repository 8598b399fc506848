package caldav

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/openblustar/blustar/presence"
)

// Monitor watches mailboxes. It is safe for concurrent use, has no goroutine of
// its own, and keeps nothing between calls but which credentials were refused.
type Monitor struct {
	cfg     Config
	polls   chan struct{} // one element for each poll under way
	refused *refusals
}

var _ presence.CalendarMonitor = (*Monitor)(nil)

// New checks the configuration. It sends nothing.
func New(cfg Config) (*Monitor, error) {
	if err := cfg.normalize(); err != nil {
		return nil, err
	}
	return &Monitor{cfg: cfg, polls: make(chan struct{}, cfg.Limits.Polls), refused: newRefusals(cfg.RefusedPause)}, nil
}

// MonitorCalendar watches the calendars of a mailbox until ctx ends. It calls
// update after each poll that succeeded, also where nothing has changed: that
// moves the window and renews the lifetime, which is as long as failing polls
// are tolerated. For a server that says when to come back it waits, up to ten
// intervals at a time, whether or not a value is known or lasts that long. The
// error is that of ctx, a [*StatusError], [ErrUnauthorized],
// [ErrNoCalendar], [ErrLimit], [ErrInsecure], or one of the network's.
func (m *Monitor) MonitorCalendar(ctx context.Context, mail string, update func(presence.CalendarState)) error {
	box := &mailbox{cfg: &m.cfg, mail: mail, log: m.cfg.Logger.With("mailbox", mail), refused: m.refused}
	failures := 0
	for known := false; ; {
		appointments, err := m.poll(ctx, box)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			known, failures = true, 0
			update(presence.CalendarState{Appointments: appointments, Lifetime: m.lifetime()})
		case refusal(err), retryAfter(err) == 0 && (!known || failures >= m.cfg.Failures):
			return err
		default:
			failures++
			box.log.Warn("calendar poll failed", "error", err, "failures", failures)
		}
		if !sleep(ctx, m.pause(err)) {
			return ctx.Err()
		}
	}
}

// lifetime is how long a value lasts without a further poll that succeeds.
func (m *Monitor) lifetime() time.Duration {
	return time.Duration(m.cfg.Failures+1) * (m.cfg.Interval*5/4 + m.cfg.Timeout)
}

// pause is the time until the next poll: the interval, and longer where the
// server asked for it.
func (m *Monitor) pause(err error) time.Duration {
	pause := m.cfg.Interval*3/4 + rand.N(m.cfg.Interval/2+1)
	return max(pause, min(retryAfter(err), 10*m.cfg.Interval))
}

// retryAfter is how long the server asked to wait; 0 where it did not. It is
// waited for here: who calls again after an error does not know of it.
func retryAfter(err error) time.Duration {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.RetryAfter
	}
	return 0
}

// poll polls a mailbox once there is room for one more. The deadline starts
// only then.
func (m *Monitor) poll(ctx context.Context, box *mailbox) (as appointments, err error) {
	select {
	case m.polls <- struct{}{}:
		defer func() { <-m.polls }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	return box.poll(ctx)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// normalAddress folds a mail address, with or without "mailto:", for comparison.
func normalAddress(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	return strings.TrimPrefix(s, "mailto:")
}
