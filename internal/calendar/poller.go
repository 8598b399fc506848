package calendar

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

// MaxWait is the longest that a server can make a watch wait with [Later].
const MaxWait = time.Hour

// maxEnded bounds the mailboxes that are remembered as not to be asked.
const maxEnded = 10_000

// Polling says how mailboxes are polled. All fields but Retry, Failures and Logger
// must be above zero.
type Polling struct {
	Interval time.Duration // between polls that succeed, spread by ±25 %
	Retry    time.Duration // after one that failed, spread likewise; 0: Interval
	Timeout  time.Duration // of one poll, once there is room for it
	Failures int           // failing polls in a row that are tolerated once a value is known
	Polls    int           // polls under way at once, all mailboxes together

	Past, Future time.Duration // the window, from now
	Appointments int           // most that are shown of a mailbox

	Logger *slog.Logger // nil: silent
}

// A Poller polls mailboxes. It is safe for concurrent use and has no goroutine of
// its own.
type Poller struct {
	Polling
	slots chan struct{} // one element for each poll under way

	mu    sync.Mutex
	ended map[string]ending // by mailbox
}

// ending is a final error that is still true.
type ending struct {
	err   error
	until time.Time
}

// NewPoller returns a Poller.
func NewPoller(p Polling) *Poller {
	p.Retry = cmp.Or(p.Retry, p.Interval)
	if p.Logger == nil {
		p.Logger = slog.New(slog.DiscardHandler)
	}
	return &Poller{Polling: p, slots: make(chan struct{}, p.Polls), ended: make(map[string]ending)}
}

// Lifetime is how long a value lasts that no further poll renews: as long as failing
// polls are tolerated.
func (p *Poller) Lifetime() time.Duration {
	return p.Interval*5/4 + p.Timeout + time.Duration(p.Failures)*(p.Retry*5/4+p.Timeout)
}

// Watch polls a mailbox until ctx ends, and calls update after each poll that
// succeeded, also where nothing has changed: that moves the window and renews the
// lifetime. The poll may return more than lies in the window, in any order. Watch
// takes the slice over.
//
// A value from wake, which may be nil, has it poll at once. The error is that of ctx
// or of a poll.
func (p *Poller) Watch(ctx context.Context, mail string, wake <-chan struct{}, update func(presence.CalendarState),
	poll func(context.Context, Window) ([]aa.Appointment, error)) error {
	if err := p.hasEnded(mail); err != nil {
		return err
	}
	log := p.Logger.With("mailbox", mail)
	failures, tooMany := 0, false
	for known := false; ; {
		found, err := p.poll(ctx, poll)
		v := judge(err)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			known, failures = true, 0
			now := time.Now()
			kept, cut := p.window(now).Select(found, p.Appointments, now)
			if cut > 0 && !tooMany {
				log.Warn("too many appointments, some are left out", "shown", len(kept), "left out", cut)
			}
			tooMany = cut > 0
			update(presence.CalendarState{Appointments: kept, Lifetime: p.Lifetime()})
		case v.final:
			p.end(mail, err, v.pause)
			return err
		case v.pause == 0 && (!known || failures >= p.Failures):
			return err
		default:
			failures++
			log.Warn("calendar poll failed", "error", err, "failures", failures)
		}
		if err := p.pause(ctx, v, wake); err != nil {
			return err
		}
	}
}

// pause waits for the next poll.
func (p *Poller) pause(ctx context.Context, v *verdict, wake <-chan struct{}) error {
	d := p.Interval
	if v.error != nil {
		d = p.Retry
	}
	d = backoff.Spread(d)
	if v.pause > 0 {
		return backoff.Sleep(ctx, max(d, backoff.Beyond(min(v.pause, MaxWait))))
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// poll polls a mailbox once there is room for one more. The deadline starts only
// then.
func (p *Poller) poll(ctx context.Context, poll func(context.Context, Window) ([]aa.Appointment, error)) ([]aa.Appointment, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	return poll(ctx, p.window(time.Now()))
}

func (p *Poller) window(now time.Time) Window { return Window{now.Add(-p.Past), now.Add(p.Future)} }

// end remembers that a mailbox is not to be asked for a while.
func (p *Poller) end(mail string, err error, pause time.Duration) {
	if pause <= 0 {
		return
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ended) >= maxEnded {
		for k, e := range p.ended {
			if !now.Before(e.until) {
				delete(p.ended, k)
			}
		}
	}
	if len(p.ended) < maxEnded {
		p.ended[mail] = ending{err, now.Add(backoff.Beyond(pause))}
	}
}

func (p *Poller) hasEnded(mail string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.ended[mail]
	if ok && !time.Now().Before(e.until) {
		delete(p.ended, mail)
		return nil
	}
	return e.err
}
