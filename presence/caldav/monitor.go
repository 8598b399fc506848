package caldav

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

// Monitor watches mailboxes. It is safe for concurrent use, has no goroutine of
// its own, and keeps nothing between calls but what was refused and time zones.
type Monitor struct {
	cfg     Config
	poller  *calendar.Poller
	refused *calendar.Refusals
	zones   *calendar.Zones
}

var _ presence.CalendarMonitor = (*Monitor)(nil)

// New checks the configuration. It sends nothing.
func New(cfg Config) (*Monitor, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Monitor{
		cfg: cfg,
		poller: calendar.NewPoller(calendar.Polling{
			Interval: cfg.Interval, Timeout: cfg.Timeout, Failures: cfg.Failures, Polls: cfg.Limits.Polls,
			Past: cfg.Past, Future: cfg.Future, Appointments: cfg.Limits.Appointments, Logger: cfg.Logger,
		}),
		refused: calendar.NewRefusals(cfg.RefusedPause),
		zones:   new(calendar.Zones),
	}, nil
}

// MonitorCalendar watches the calendars of a mailbox until ctx ends. It calls
// update after each poll that succeeded, also where nothing has changed: that
// moves the window and renews the lifetime, which is as long as failing polls
// are tolerated. For a server that says when to come back it waits, up to an
// hour at a time, whether or not a value is known or lasts that long. The
// error is that of ctx, a [*StatusError], [ErrUnauthorized],
// [ErrNoCalendar], [ErrLimit], [ErrInsecure], or one of the network's.
func (m *Monitor) MonitorCalendar(ctx context.Context, mail string, update func(presence.CalendarState)) error {
	box := &mailbox{cfg: &m.cfg, mail: mail, log: m.cfg.Logger.With("mailbox", mail), refused: m.refused, zones: m.zones}
	return m.poller.Watch(ctx, mail, nil, update, func(ctx context.Context, w calendar.Window) ([]aa.Appointment, error) {
		found, err := box.poll(ctx, w)
		return found, m.judge(err)
	})
}

// judge says what follows from the error of a poll.
func (m *Monitor) judge(err error) error {
	switch {
	case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrInsecure):
		return calendar.Final(err, 0) // the credentials may be others next time
	case refusal(err):
		return calendar.Final(err, m.cfg.RefusedPause)
	}
	return calendar.Later(err, retryAfter(err))
}

// retryAfter is how long the server asked to wait; 0 where it did not.
func retryAfter(err error) time.Duration {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.RetryAfter
	}
	return 0
}

// normalAddress folds a mail address, with or without "mailto:", for comparison.
func normalAddress(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	return strings.TrimPrefix(s, "mailto:")
}
