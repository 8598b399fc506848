package caldav_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/calendar/calendartest"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/caldav"
)

// TestBehavior: what every calendar monitor does (BSX-2, BSX-4).
func TestBehavior(t *testing.T) {
	calendartest.Run(t, func(*testing.T) calendartest.Rig {
		d := newDAV()
		d.user, d.password = calendartest.Mail, calendartest.Canary
		d.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if user, _, _ := r.BasicAuth(); user != calendartest.Unknown {
				return false
			}
			multistatus(w, found("/", "<current-user-principal><unauthenticated/></current-user-principal>"))
			return true
		})
		return calendartest.Rig{
			Server: calendartest.Transport(d),
			Monitor: func(t *testing.T, rt http.RoundTripper, log *slog.Logger) presence.CalendarMonitor {
				berlin, err := time.LoadLocation("Europe/Berlin")
				require.NoError(t, err)
				m, err := caldav.New(caldav.Config{
					URL: "https://dav.example.com/", HTTPClient: &http.Client{Transport: rt}, Location: berlin, Logger: log,
					Limits: caldav.Limits{ResponseBytes: 3 << 20}, // it is read to its end again and again
					Credentials: func(_ context.Context, mail string) (caldav.Credentials, error) {
						return caldav.Credentials{User: mail, Password: auth.NewSecret([]byte(calendartest.Canary))}, nil
					},
				})
				require.NoError(t, err)
				return m
			},
			Set:   d.set,
			Shows: poll,
			Move: func() {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.place = "/tom/moved/"
			},
			Throttle: func(w http.ResponseWriter, _ *http.Request, wait time.Duration) {
				w.Header().Set("Retry-After", backoff.FormatRetryAfter(wait))
				w.WriteHeader(http.StatusServiceUnavailable)
			},
			Refuse: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		}
	})
}

// set makes events all that there is.
func (d *dav) set(events ...calendartest.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.objects {
		delete(d.objects, name)
		d.changes = append(d.changes, name)
	}
	for _, e := range events {
		name := e.ID + ".ics"
		d.objects[name] = ics(e)
		d.versions[name]++
		d.changes = append(d.changes, name)
	}
}

// ics writes an event as an iCalendar object (RFC 5545).
func ics(e calendartest.Event) string {
	var b strings.Builder
	stamp := func(name string, t time.Time) {
		if e.AllDay {
			fmt.Fprintf(&b, "%s;VALUE=DATE:%s\r\n", name, t.Format("20060102"))
			return
		}
		fmt.Fprintf(&b, "%s;TZID=%s:%s\r\n", name, t.Location(), t.Format("20060102T150405"))
	}
	begin := func() {
		fmt.Fprintf(&b, "BEGIN:VEVENT\r\nUID:%s\r\nSUMMARY:%s\r\nLOCATION:%s\r\n", e.ID, escape(e.Subject), escape(e.Location))
		fmt.Fprintf(&b, "X-MICROSOFT-CDO-BUSYSTATUS:%s\r\n", map[aa.CalendarState]string{
			aa.CalendarFree: "FREE", aa.CalendarTentative: "TENTATIVE", aa.CalendarBusy: "BUSY", aa.CalendarOutOfOffice: "OOF",
		}[e.State])
		if e.Private {
			b.WriteString("CLASS:PRIVATE\r\n")
		}
	}
	whole := e
	whole.Without, whole.Later = nil, nil
	planned := whole.Occurrences()
	begin()
	stamp("DTSTART", planned[0].Begin)
	stamp("DTEND", planned[0].End)
	if e.Days > 1 {
		fmt.Fprintf(&b, "RRULE:FREQ=DAILY;COUNT=%d\r\n", e.Days)
	}
	for _, i := range e.Without {
		stamp("EXDATE", planned[i].Begin)
	}
	b.WriteString("END:VEVENT\r\n")
	for _, o := range e.Occurrences() {
		if e.Later[o.Index] == 0 {
			continue
		}
		begin()
		stamp("RECURRENCE-ID", o.Planned)
		stamp("DTSTART", o.Begin)
		stamp("DTEND", o.End)
		b.WriteString("END:VEVENT\r\n")
	}
	return string(calendar(strings.TrimSuffix(b.String(), "\r\n")))
}

func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, ",", `\,`, ";", `\;`, "\n", `\n`).Replace(s)
}
