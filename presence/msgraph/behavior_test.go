package msgraph_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/calendar/calendartest"
	"github.com/openblustar/blustar/internal/fakegraph"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/msgraph"
)

// TestBehavior: BSX-2, BSX-15, what every calendar monitor shows, for calendars and for schedules.
func TestBehavior(t *testing.T) {
	for name, schedules := range map[string]string{"calendars": "", "schedules": calendartest.Mail} {
		t.Run(name, func(t *testing.T) {
			calendartest.Run(t, func(t *testing.T) calendartest.Rig { return rig(t, schedules) })
		})
	}
}

func rig(t *testing.T, schedules string) calendartest.Rig {
	s := fakegraph.New()
	s.Secret, s.PrivateTexts = calendartest.Canary, true
	s.AddUser(tom, calendartest.Mail, calendartest.Mail)
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	return calendartest.Rig{
		Server: calendartest.Transport(s),
		Monitor: func(t *testing.T, rt http.RoundTripper, log *slog.Logger) presence.CalendarMonitor {
			cfg := config(t, s)
			cfg.HTTPClient, cfg.Logger = &http.Client{Transport: rt}, log
			cfg.MaxResponse = 1 << 21 // it is read to its end again and again
			c, err := newApp(t, cfg).NewCalendar(msgraph.CalendarConfig{Schedules: schedules, Location: berlin})
			require.NoError(t, err)
			return c
		},
		Set: func(events ...calendartest.Event) {
			var all []fakegraph.Event
			for _, e := range events {
				all = append(all, graphEvents(e, schedules != "")...)
			}
			s.SetEvents(tom, all...)
		},
		Shows: 80 * time.Second,
		// For some minutes, Exchange Online cannot say where a mailbox is that moves; then all is
		// as before.
		Move: func() {
			back := time.Now().Add(3 * time.Minute)
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				return time.Now().Before(back) && strings.HasPrefix(r.URL.Path, "/v1.0/users/") && status(http.StatusServiceUnavailable)(w, r)
			})
		},
		Throttle: func(w http.ResponseWriter, r *http.Request, wait time.Duration) {
			status(http.StatusTooManyRequests, "Retry-After", backoff.FormatRetryAfter(wait))(w, r)
		},
		Refuse: func(w http.ResponseWriter, r *http.Request) { status(http.StatusUnauthorized)(w, r) },
	}
}

// graphEvents writes an event as Graph does: each occurrence of a series by itself, whole days as
// midnight in UTC. In schedules, these have the zone that was asked for as everything does.
func graphEvents(e calendartest.Event, schedule bool) (all []fakegraph.Event) {
	states := map[aa.CalendarState]string{
		aa.CalendarFree: "free", aa.CalendarTentative: "tentative", aa.CalendarBusy: "busy", aa.CalendarOutOfOffice: "oof",
	}
	for _, o := range e.Occurrences() {
		begin, end := o.Begin, o.End
		if e.AllDay && !schedule {
			date := func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC) }
			begin, end = date(begin), date(end)
		}
		v := fakegraph.NewEvent(fmt.Sprintf("%s/%d", e.ID, o.Index), e.Subject, begin, end)
		v.With("location", map[string]any{"displayName": e.Location}).With("showAs", states[e.State]).With("isAllDay", e.AllDay)
		v.With("originalStartTimeZone", "W. Europe Standard Time")
		if e.Private {
			v.With("sensitivity", "private")
		}
		if e.Days > 0 {
			v.With("type", "occurrence").With("seriesMasterId", e.ID)
		}
		all = append(all, v)
	}
	return all
}
