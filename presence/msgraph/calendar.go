package msgraph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/internal/conf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

// CalendarConfig configures a [Calendar]. Zero values are defaults; what is negative is refused.
type CalendarConfig struct {
	// Schedules has free and busy times asked for by getSchedule, of 20 mailboxes at a time, on
	// behalf of the mailbox with this address or object ID. That needs Calendars.ReadBasic only.
	// Empty: each calendar is read itself, which shows private appointments as such and needs
	// Calendars.Read.
	Schedules string

	Interval time.Duration // between polls of a mailbox, spread by ±25 %; default 1 minute
	Timeout  time.Duration // of one poll of one mailbox; default 30 seconds
	Failures int           // failing polls in a row that are tolerated; default 3, negative: none

	// The window: appointments that have ended longer ago than Past, or begin later than Future
	// from now, are not delivered. Defaults 24 hours, 14 days; together at most 60 days.
	Past, Future time.Duration

	// Location is the zone of whole days that do not say in which they were made; default
	// [time.Local].
	Location *time.Location

	Polls        int // polls under way at once, all mailboxes together; default 16. Not with Schedules
	Rate         int // requests that begin in a second, all mailboxes together; default 50. Not with Schedules
	Pages        int // of a calendar, of 200 events each: more are [ErrLimit]; default 100
	Appointments int // delivered for a mailbox: later ones are cut; default 1000
}

// Calendar reads the calendars of mailboxes in Exchange Online. It is a [presence.CalendarMonitor],
// is safe for concurrent use, and has goroutines only while it monitors.
type Calendar struct {
	app    *App
	cfg    CalendarConfig
	poller *calendar.Poller
	pace   pace
	reader reader
	hub    *hub[[]aa.Appointment] // of schedules; nil: none
}

var _ presence.CalendarMonitor = (*Calendar)(nil)

// NewCalendar checks the configuration. It sends nothing.
func (a *App) NewCalendar(cfg CalendarConfig) (*Calendar, error) {
	check := conf.Of("msgraph: CalendarConfig")
	if cfg.Schedules != "" && !isAddress(cfg.Schedules) {
		check.Failf("Schedules", "%q: want a mail address or an object ID", cfg.Schedules)
	}
	conf.Or(&cfg.Failures, 3)
	cfg.Failures = max(0, cfg.Failures)
	conf.Default(check, "Interval", &cfg.Interval, time.Minute)
	conf.Default(check, "Timeout", &cfg.Timeout, 30*time.Second)
	conf.Default(check, "Past", &cfg.Past, 24*time.Hour)
	conf.Default(check, "Future", &cfg.Future, 14*24*time.Hour)
	if cfg.Past+cfg.Future > maxWindow {
		check.Failf("Future", "%v and Past are more than 60 days", cfg.Future)
	}
	conf.Or(&cfg.Location, time.Local)
	conf.Default(check, "Polls", &cfg.Polls, 16)
	conf.Default(check, "Rate", &cfg.Rate, 50)
	conf.Default(check, "Pages", &cfg.Pages, 100)
	conf.Default(check, "Appointments", &cfg.Appointments, 1000)
	if err := check.Err(); err != nil {
		return nil, err
	}
	c := &Calendar{app: a, cfg: cfg, pace: pace{every: perSecond(cfg.Rate)}, reader: reader{location: cfg.Location}}
	if cfg.Schedules != "" {
		cfg.Polls = scheduleWaiting
		c.hub = newHub[[]aa.Appointment](scheduleMost, scheduleCalls, cfg.Interval)
		c.hub.ask = c.schedules
		c.hub.failed = func(err error, failures int) { logFailures(a.cfg.Logger, "schedules", err, failures) }
	}
	c.poller = calendar.NewPoller(calendar.Polling{
		Interval: cfg.Interval, Timeout: cfg.Timeout, Failures: cfg.Failures, Polls: cfg.Polls, Past: cfg.Past,
		Future: cfg.Future, Appointments: cfg.Appointments, Logger: a.cfg.Logger,
	})
	return c, nil
}

// maxWindow is what getSchedule takes, less what is added for whole days.
const maxWindow = 60 * 24 * time.Hour

// MonitorCalendar watches the calendar of a mailbox until ctx ends. It calls update after each poll
// that succeeded, also where nothing has changed: that moves the window and renews the lifetime,
// which is as long as failing polls are tolerated. Where Graph says when to come back, it waits.
// The error is that of ctx, an [*Error] or another of this package, or one of the network's. That
// there is no such mailbox, or none that we may read, is remembered for a while, so that to call
// again costs no request.
func (c *Calendar) MonitorCalendar(ctx context.Context, mail string, update func(presence.CalendarState)) error {
	box := &mailbox{calendar: c, mail: mail, user: mail}
	poll := box.poll
	if c.hub != nil {
		poll = box.pollSchedule
	}
	return c.poller.Watch(ctx, mail, nil, update, func(ctx context.Context, w calendar.Window) ([]aa.Appointment, error) {
		found, err := poll(ctx, w)
		return found, c.verdict(err)
	})
}

// verdict says what follows from an error.
func (c *Calendar) verdict(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrUnauthorized):
		return calendar.Final(err, 0) // the tokens remember it
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrNoMailbox), errors.Is(err, ErrAmbiguous):
		return calendar.Final(err, notFoundFor)
	case refusal(err):
		return calendar.Final(err, c.app.cfg.RefusedPause)
	}
	return calendar.Later(err, retryAfter(err))
}

// mailbox is one mailbox that is monitored. It is used by one goroutine.
type mailbox struct {
	calendar *Calendar
	mail     string
	user     string // the same, or the object ID
	warned   bool   // that an event cannot be read
}

const (
	pageSize = 200
	// wholeDays is how far the dates of a day are from UTC, at most: the window is asked for with
	// it on both sides.
	wholeDays = 14 * time.Hour
)

// prefer stands in each request: Graph does not remember it, also not for the further pages of an
// answer.
func prefer() http.Header {
	return http.Header{"Prefer": {`outlook.timezone="UTC"`, `IdType="ImmutableId"`}}
}

// poll reads the calendar. A mail address that is no principal name is looked up.
func (b *mailbox) poll(ctx context.Context, w calendar.Window) ([]aa.Appointment, error) {
	found, err := b.view(ctx, w)
	if !errors.Is(err, ErrNotFound) || b.user != b.mail {
		return found, err
	}
	id, lookup := b.calendar.app.users.id(ctx, b.mail)
	switch {
	case lookup == nil:
		b.user = id
		return b.view(ctx, w)
	case errors.Is(lookup, ErrForbidden): // to look for users may not be granted
		return nil, err
	}
	return nil, lookup
}

// view reads the calendar view, page by page.
func (b *mailbox) view(ctx context.Context, w calendar.Window) (found []aa.Appointment, err error) {
	c := b.calendar
	if !isAddress(b.user) {
		return nil, fmt.Errorf("%w: malformed address", ErrNotFound)
	}
	next := "/v1.0/users/" + url.PathEscape(b.user) + "/calendarView?" + query(
		"startDateTime", w.From.Add(-wholeDays).UTC().Format(time.RFC3339),
		"endDateTime", w.To.Add(wholeDays).UTC().Format(time.RFC3339),
		"$top", strconv.Itoa(pageSize), "$select", eventFields)
	for range c.cfg.Pages {
		if err := c.pace.wait(ctx); err != nil {
			return nil, err
		}
		var page collection
		if err := c.app.do(ctx, call{method: http.MethodGet, url: next, header: prefer()}, &page); err != nil {
			return nil, err
		}
		list, err := page.list()
		if err != nil {
			return nil, err
		}
		more, broken := c.reader.events(list)
		if broken != nil && !b.warned {
			b.warned = true
			c.app.cfg.Logger.Warn("an event cannot be read", "mailbox", b.mail, "error", broken)
		}
		if found = append(found, more...); len(found) > 2*c.cfg.Appointments {
			found, _ = w.Select(found, c.cfg.Appointments, time.Now()) // what is held is bounded
		}
		if page.Next == "" {
			return found, nil
		}
		if next, err = c.app.link(page.Next); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: more than %d pages of events", ErrLimit, c.cfg.Pages)
}

const (
	scheduleMost  = 20 // mailboxes that one request may name
	scheduleCalls = 3  // requests under way at once: Graph serves 4 of an application for a mailbox
	// scheduleWaiting is how many mailboxes wait for an answer at once.
	scheduleWaiting = 10 * scheduleMost
)

// pollSchedule has the schedule of the mailbox asked for with that of others.
func (b *mailbox) pollSchedule(ctx context.Context, _ calendar.Window) ([]aa.Appointment, error) {
	h := b.calendar.hub
	if d := h.queue.held(); d > spacing {
		return nil, calendar.Later(errors.New("msgraph: getSchedule waits for Graph"), d)
	}
	m := h.join(b.mail)
	defer h.leave(m)
	return m.next(ctx)
}

// schedules asks for the schedules of some mailboxes.
func (c *Calendar) schedules(ctx context.Context, mails []string) (map[string]result[[]aa.Appointment], error) {
	now := time.Now()
	at := func(t time.Time) zonedTime { return zonedTime{t.UTC().Format("2006-01-02T15:04:05"), "UTC"} }
	var answer collection
	err := c.app.do(ctx, call{
		method: http.MethodPost, url: "/v1.0/users/" + url.PathEscape(c.cfg.Schedules) + "/calendar/getSchedule",
		header: prefer(),
		body: struct {
			Schedules []string  `json:"schedules"`
			Start     zonedTime `json:"startTime"`
			End       zonedTime `json:"endTime"`
			Interval  int       `json:"availabilityViewInterval"`
		}{mails, at(now.Add(-c.cfg.Past)), at(now.Add(c.cfg.Future)), 1440},
	}, &answer)
	if err != nil {
		return nil, err
	}
	list, err := answer.list()
	if err != nil {
		return nil, err
	}
	results := make(map[string]result[[]aa.Appointment], len(mails))
	for _, mail := range mails {
		results[mail] = result[[]aa.Appointment]{err: errors.New("msgraph: getSchedule: the answer does not have the mailbox")}
	}
	for _, data := range list {
		var s schedule
		if json.Unmarshal(data, &s) != nil {
			continue // of somebody for whom the answer has nothing
		}
		mail := strings.ToLower(s.ID)
		if _, asked := results[mail]; !asked {
			continue
		}
		found, broken, err := c.reader.items(&s)
		if broken != nil {
			c.app.cfg.Logger.Debug("an item of a schedule cannot be read", "mailbox", mail, "error", broken)
		}
		results[mail] = result[[]aa.Appointment]{found, err}
	}
	return results, nil
}
