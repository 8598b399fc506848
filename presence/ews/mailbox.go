package ews

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/pidf/aa"
)

// mailbox is the watching of one mailbox. It is used by one goroutine.
type mailbox struct {
	monitor *Monitor
	mail    string
	log     *slog.Logger

	server   *server // nil: not found yet
	grouping string
	member   *member // nil: in no group
	wake     chan struct{}

	calendar appointments // as last read
	due      time.Time    // when it is read again although the stream tells of no change

	away    outOfOffice
	awayDue time.Time
}

// outOfOffice is what the owner of a mailbox says.
type outOfOffice struct {
	out   bool
	span  calendar.Window // zero: no bounds
	since time.Time       // when we saw it first
	read  time.Time
}

// poll returns what is in the calendar. The server is asked only where the stream
// does not tell that nothing has changed.
func (b *mailbox) poll(ctx context.Context, w calendar.Window) (appointments, error) {
	all, err := b.read(ctx, w)
	switch meaningOf(err) {
	case moving, wrongServer:
		b.move()
	case noMailbox, noAccess, notImpersonated, ourFault:
		return nil, calendar.Final(err, b.monitor.cfg.UnknownPause)
	case accountRefused:
		return nil, calendar.Final(err, 0) // the account remembers that itself
	}
	switch {
	case err == nil:
		return all, nil
	case errors.Is(err, ErrNoMailbox): // as autodiscover says
		return nil, calendar.Final(err, b.monitor.cfg.UnknownPause)
	case errors.Is(err, ErrScheme), errors.Is(err, ErrInsecure) && !errors.Is(err, ErrNotFound):
		return nil, calendar.Final(err, b.monitor.cfg.RefusedPause)
	default:
		return nil, calendar.Later(err, retryAfter(err))
	}
}

func (b *mailbox) read(ctx context.Context, w calendar.Window) (appointments, error) {
	if b.server == nil {
		var err error
		if b.server, b.grouping, err = b.monitor.locate(ctx, b.mail); err != nil {
			return nil, err
		}
	}
	if !b.upToDate() {
		if err := b.ask(ctx, w); err != nil {
			return nil, err
		}
		if b.member == nil && b.streams() {
			b.member = b.monitor.hub.join(b.server, b.grouping, b.mail, b.wake)
		}
	}
	if b.monitor.cfg.OutOfOffice != nil && !time.Now().Before(b.awayDue) {
		if err := b.askAway(ctx); err != nil {
			return nil, err
		}
	}
	all := slices.Clone(b.calendar)
	if a, ok := b.showAway(w); ok {
		all = append(all, a)
	}
	return all, nil
}

func (b *mailbox) streams() bool {
	cfg := &b.monitor.cfg
	return cfg.Access == Impersonation && !cfg.Polling
}

// upToDate reports whether the stream would have told of a change.
func (b *mailbox) upToDate() bool {
	return b.member != nil && b.member.unchanged() && time.Now().Before(b.due)
}

// ask reads the calendar.
func (b *mailbox) ask(ctx context.Context, w calendar.Window) error {
	cfg := &b.monitor.cfg
	if b.member != nil {
		b.member.asking()
	}
	var all appointments
	var err error
	if cfg.Access == Availability {
		all, err = b.server.availability.ask(ctx, b.mail, w)
	} else {
		if b.streams() { // what comes into the window until it is read again
			w.To = w.To.Add(cfg.Resync*5/4 + cfg.Interval*5/4)
		}
		all, err = b.findAll(ctx, w)
	}
	if err != nil {
		if b.member != nil {
			b.member.failed()
		}
		return err
	}
	b.calendar, b.due = all, time.Now().Add(backoff.Spread(cfg.Resync))
	return nil
}

// findAll reads a window. One with more appointments than the server returns at
// once is asked for in halves, the one nearer to now first, until there are as many
// as are delivered.
func (b *mailbox) findAll(ctx context.Context, w calendar.Window) (appointments, error) {
	cfg := &b.monitor.cfg
	var all appointments
	todo, now := []calendar.Window{w}, time.Now()
	for n := 0; len(todo) > 0 && len(all) <= cfg.Limits.Appointments && n < cfg.Limits.Questions; n++ {
		w := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		answer, err := b.server.call(ctx, findItem(b.mail, cfg.Access == Impersonation, w.From, w.To))
		if err != nil {
			return nil, err
		}
		if len(answer.Several.Messages) != 1 || answer.Several.Messages[0].Folder == nil {
			return nil, fmt.Errorf("%w: FindItem for %s: no folder", ErrAnswer, b.mail)
		}
		folder := answer.Several.Messages[0].Folder
		half := (w.To.Sub(w.From) / 2).Truncate(time.Second)
		if folder.HasAll == "false" && half >= time.Minute && n+1 < cfg.Limits.Questions {
			first, second := calendar.Window{From: w.From, To: w.From.Add(half)},
				calendar.Window{From: w.From.Add(half), To: w.To}
			if now.Before(second.From) {
				first, second = second, first
			}
			todo = append(todo, first, second) // the last is next
			continue
		}
		for i := range folder.Items {
			a, counts, err := b.monitor.style.appointment(&folder.Items[i])
			if err != nil {
				b.log.Warn("an appointment is left out", "error", err)
			} else if counts {
				all = append(all, a)
			}
		}
	}
	return all, nil
}

// askAway asks what the owner says of being out of office. Where that fails, what
// was said before stays for a while: the calendar itself is not affected.
func (b *mailbox) askAway(ctx context.Context) error {
	o := b.monitor.cfg.OutOfOffice
	now := time.Now()
	b.awayDue = now.Add(backoff.Spread(o.Interval))
	answer, err := b.server.call(ctx, getUserOofSettings(b.mail))
	if err == nil && answer.Oof == nil {
		err = fmt.Errorf("%w: GetUserOofSettings for %s: no settings", ErrAnswer, b.mail)
	}
	var away outOfOffice
	if err == nil {
		away.span, away.out, err = answer.Oof.when()
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.log.Warn("not known whether out of office", "error", err)
		if now.Sub(b.away.read) > 4*o.Interval {
			b.away = outOfOffice{}
		}
		return nil
	}
	away.read, away.since = now, now.Truncate(time.Minute)
	if b.away.out && away.out {
		away.since = b.away.since
	}
	b.away = away
	return nil
}

// awayID is the ID of the appointment that shows what the owner says.
const awayID = "out-of-office"

// showAway returns the appointment that shows what the owner says, if there is one.
func (b *mailbox) showAway(w calendar.Window) (aa.Appointment, bool) {
	if !b.away.out {
		return aa.Appointment{}, false
	}
	a := aa.Appointment{
		ID: awayID, State: aa.CalendarOutOfOffice, Subject: b.monitor.cfg.OutOfOffice.Subject,
		From: b.away.since.UTC(), End: w.To.UTC().Truncate(24 * time.Hour), // not another one with each poll
	}
	if !b.away.span.To.IsZero() {
		a.From, a.End = b.away.span.From, b.away.span.To
	}
	return a, true
}

// move has the server looked for anew.
func (b *mailbox) move() {
	b.leave()
	b.server = nil
	b.monitor.forget(b.mail)
}

func (b *mailbox) leave() {
	if b.member != nil {
		b.member.leave()
		b.member = nil
	}
}
