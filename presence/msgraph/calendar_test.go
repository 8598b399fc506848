package msgraph_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/fakegraph"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/msgraph"
)

const tomMail = "tom.hanks@contoso.example"

// calendarOf watches the calendar of tom.
func calendarOf(t *testing.T, s *fakegraph.Server, cfg msgraph.CalendarConfig) *watch[presence.CalendarState] {
	t.Helper()
	c, err := newApp(t, config(t, s)).NewCalendar(cfg)
	require.NoError(t, err)
	return watchCalendar(t, c, tomMail)
}

// in returns an event that begins in d and takes an hour.
func in(id string, d time.Duration) fakegraph.Event {
	at := time.Now().Add(d)
	return fakegraph.NewEvent(id, "about "+id, at, at.Add(time.Hour))
}

// TestCalendarView: BSP-2.6-1, BSX-15, appointments of a mailbox in Exchange Online.
func TestCalendarView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTenant()
		s.PageSize = 2
		s.SetEvents(tom,
			in("a", time.Hour), in("over", -26*time.Hour), in("far", 15*24*time.Hour),
			in("b", 2*time.Hour).With("showAs", "OOF").With("sensitivity", "Private"),
			in("c", 3*time.Hour).With("showAs", "workingElsewhere").With("sensitivity", "personal"),
			in("canceled", 4*time.Hour).With("isCancelled", true),
			in("declined", 4*time.Hour).With("responseStatus", map[string]any{"response": "Declined"}),
			in("d", 5*time.Hour).With("showAs", "newer").With("sensitivity", "newer").With("subject", strings.Repeat("ä", 1000)),
			in("broken", 5*time.Hour).With("subject", 5),
			in("nowhere", 5*time.Hour).With("start", map[string]any{"dateTime": "2000-01-01T05:00:00", "timeZone": "Customized Time Zone"}),
			in("e", 6*time.Hour).With("location", nil).With("showAs", "tentative"),
		)
		w := calendarOf(t, s, msgraph.CalendarConfig{})
		now := time.Now()
		state := w.after(time.Second)
		require.Equal(t, []string{"a", "b", "c", "d", "e"}, ids(state.Appointments))
		require.Equal(t, aa.Appointment{
			ID: "a", State: aa.CalendarBusy, Subject: "about a", Location: "Room 1", From: now.Add(time.Hour).UTC(), End: now.Add(2 * time.Hour).UTC(),
			Timestamp: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC),
		}, state.Appointments[0])
		var told []string
		for _, a := range state.Appointments {
			told = append(told, fmt.Sprint(a.State, " ", a.Private))
		}
		require.Equal(t, []string{"busy false", "out of office true", "free false", "unknown true", "tentative false"}, told)
		require.LessOrEqual(t, len(state.Appointments[3].Subject), 256)
		require.Greater(t, state.Lifetime, time.Minute)
		require.Equal(t, 5, count(s.Requests(), askView), "pages")

		s.SetEvents(tom, in("new", time.Hour))
		require.Equal(t, []string{"new"}, ids(w.after(75*time.Second).Appointments))
		w.cancel()
	})
}

// TestWholeDays: dates, although Graph writes them as UTC; they begin at midnight where they were
// made.
func TestWholeDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTenant()
		day := func(n int) time.Time { return time.Date(2000, 1, n, 0, 0, 0, 0, time.UTC) } // synctest begins on the first
		whole := func(id, zone string) fakegraph.Event {
			return fakegraph.NewEvent(id, "", day(3), day(4)).With("isAllDay", true).With("originalStartTimeZone", zone)
		}
		s.SetEvents(tom, whole("berlin", "W. Europe Standard Time"), whole("kiritimati", "Pacific/Kiritimati"), whole("here", "tzone://Microsoft/Custom"))
		here, err := time.LoadLocation("America/New_York")
		require.NoError(t, err)
		w := calendarOf(t, s, msgraph.CalendarConfig{Location: here})
		all := w.after(0).Appointments
		require.Equal(t, []string{"kiritimati", "berlin", "here"}, ids(all))
		for i, hour := range []int{-14, -1, 5} {
			require.Equal(t, day(3).Add(time.Duration(hour)*time.Hour), all[i].From)
			require.Equal(t, 24*time.Hour, all[i].End.Sub(all[i].From))
			require.True(t, all[i].AllDay)
		}
		w.cancel()
	})
}

// TestMailboxes: who is found, and what is said of those who are not, and how often.
func TestMailboxes(t *testing.T) {
	const megMail = "meg.o'ryan@contoso.example"
	tests := []struct {
		name, mail string
		prepare    func(*fakegraph.Server)
		want       error
		requests   []string // of the first call, without the token
	}{
		{"principal name", tomMail, nil, nil, []string{askView}},
		{"mail address", megMail, nil, nil, []string{askView, askUser, askUsers, askView}},
		{"mail address, a search that may be old", megMail, func(s *fakegraph.Server) { s.Eventual = true }, nil, []string{askView, askUser, askUsers, askUsers, askView}},
		{"mail address, nobody to be looked for", megMail, func(s *fakegraph.Server) { s.NoLookup = true }, msgraph.ErrNotFound, []string{askView, askUser}},
		{"unknown", "nobody@contoso.example", nil, msgraph.ErrNotFound, []string{askView, askUser, askUsers}},
		{"no address", "..", nil, msgraph.ErrNotFound, nil},
		{"two", megMail, func(s *fakegraph.Server) {
			s.AddUser("66825e03-7ef5-42da-9069-724602c31f6b", "other@contoso.example", megMail)
		}, msgraph.ErrAmbiguous, []string{askView, askUser, askUsers}},
		{"on premises", tomMail, func(s *fakegraph.Server) { s.RemoveMailbox(tom) }, msgraph.ErrNoMailbox, []string{askView}},
		{"not ours", tomMail, func(s *fakegraph.Server) {
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, "/calendarView") && status(http.StatusForbidden)(w, r)
			})
		}, msgraph.ErrForbidden, []string{askView}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTenant()
				s.SetEvents(tom, in("a", time.Hour))
				s.SetEvents(meg, in("a", time.Hour))
				if tt.prepare != nil {
					tt.prepare(s)
				}
				app := newApp(t, config(t, s))
				if tt.requests != nil {
					require.NoError(t, app.CheckToken(t.Context()))
					s.Requests()
				}
				c, err := app.NewCalendar(msgraph.CalendarConfig{})
				require.NoError(t, err)
				w := watchCalendar(t, c, tt.mail)
				time.Sleep(time.Second)
				err, ended := w.result()
				require.Equal(t, tt.requests, s.Requests())
				if tt.want == nil {
					require.False(t, ended)
					require.Equal(t, []string{"a"}, ids(w.after(0).Appointments))
					w.after(10 * time.Minute)
					require.Zero(t, count(s.Requests(), askUsers), "it is remembered")
					w.cancel()
					return
				}
				require.ErrorIs(t, err, tt.want)
				for range 4 { // as a presence server does
					time.Sleep(time.Minute)
					require.ErrorIs(t, c.MonitorCalendar(t.Context(), tt.mail, nil), tt.want)
				}
				require.Empty(t, s.Requests())
			})
		})
	}
}

// TestNoCalendar: an answer that is none is never an empty calendar.
func TestNoCalendar(t *testing.T) {
	html := "<html>Service unavailable</html>"
	for name, answer := range map[string]func(http.ResponseWriter){
		"HTML in a 200": func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/html"); _, _ = w.Write([]byte(html)) },
		"nothing":       func(http.ResponseWriter) {},
		"no list":       func(w http.ResponseWriter) { _, _ = w.Write([]byte("{}")) },
		"null":          func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"value":null}`)) },
		"half":          func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"value":[{"id":"a"}`)) },
		"redirected": func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://evil.example/")
			w.WriteHeader(http.StatusFound)
		},
		"another host": func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"value":[],"@odata.nextLink":"https://evil.example/v1.0/x"}`))
		},
		"not encrypted": func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"value":[],"@odata.nextLink":"http://graph.microsoft.com/v1.0/x"}`))
		},
		"pages without end": func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"value":[],"@odata.nextLink":"https://graph.microsoft.com/v1.0/x"}`))
		},
		"more than it may": func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"value":[` + strings.Repeat(" ", 17<<20) + `]}`)) },
		"500 with HTML": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(html))
		},
		"deep":               func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"value":` + strings.Repeat("[", 100_000))) },
		"a link of no shape": func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"value":[],"@odata.nextLink":"://"}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTenant()
				s.SetEvents(tom, in("a", time.Hour))
				s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
					calendar := !strings.HasSuffix(r.URL.Path, "/token")
					if calendar {
						require.Equal(t, "graph.microsoft.com", r.Host)
						answer(w)
					}
					return calendar
				})
				w := calendarOf(t, s, msgraph.CalendarConfig{})
				time.Sleep(10 * time.Second)
				err, ended := w.result()
				require.True(t, ended)
				require.Error(t, err)
				require.Zero(t, w.count())
				require.NotContains(t, err.Error(), "unavailable")
			})
		})
	}
}

// TestCalendarFailures: BSX-2, BSX-15. A few failures are tolerated; who is told to wait waits.
func TestCalendarFailures(t *testing.T) {
	t.Run("dead", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			w := calendarOf(t, s, msgraph.CalendarConfig{})
			lifetime := w.after(0).Lifetime
			began := time.Now()
			s.Intercept(status(http.StatusBadGateway))
			for {
				time.Sleep(time.Second)
				if err, ended := w.result(); ended {
					var failed *msgraph.Error
					require.ErrorAs(t, err, &failed)
					require.Equal(t, http.StatusBadGateway, failed.Status)
					break
				}
			}
			require.Greater(t, time.Since(began), 2*time.Minute)
			require.Less(t, time.Since(began), lifetime)
		})
	})
	t.Run("slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			s.Intercept(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
			w := calendarOf(t, s, msgraph.CalendarConfig{Timeout: 10 * time.Second})
			time.Sleep(11 * time.Second)
			_, ended := w.result()
			require.True(t, ended)
		})
	})
	t.Run("throttled, alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTenant()
			app := newApp(t, config(t, s))
			c, err := app.NewCalendar(msgraph.CalendarConfig{})
			require.NoError(t, err)
			throttled := watchCalendar(t, c, tomMail)
			other := watchCalendar(t, c, "meg@contoso.onmicrosoft.example")
			throttled.after(time.Second)
			s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				return strings.Contains(r.URL.Path, tomMail) && status(http.StatusTooManyRequests, "Retry-After", "600")(w, r)
			})
			time.Sleep(2 * time.Minute)
			n, m := throttled.count(), other.count()
			s.Intercept(nil)
			other.after(7 * time.Minute)
			require.Equal(t, n, throttled.count())
			require.Greater(t, other.count(), m+4)
			throttled.after(5 * time.Minute)
			require.Greater(t, throttled.count(), n)
			throttled.cancel()
			other.cancel()
		})
	})
}

// TestManyAppointments: what is held and shown of a mailbox is bounded.
func TestManyAppointments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTenant()
		events := make([]fakegraph.Event, 10_000)
		for i := range events {
			events[i] = in(fmt.Sprint(i), time.Duration(10_000-i)*time.Minute)
		}
		s.SetEvents(tom, events...)
		w := calendarOf(t, s, msgraph.CalendarConfig{})
		all := w.after(time.Second).Appointments
		require.Len(t, all, 1000)
		require.Equal(t, "9999", all[0].ID)
		w.cancel()
	})
}
