package caldav_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/caldav"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watch is a monitor at work for one mailbox.
type watch struct {
	t      *testing.T
	cancel context.CancelFunc

	mu     sync.Mutex
	states []presence.CalendarState
	err    error
	ended  bool
}

func start(t *testing.T, cfg caldav.Config) *watch {
	m, err := caldav.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	w := &watch{t: t, cancel: cancel}
	go func() {
		err := m.MonitorCalendar(ctx, "tom.hanks@example.com", func(s presence.CalendarState) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.states = append(w.states, s)
		})
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err, w.ended = err, true
	}()
	synctest.Wait()
	return w
}

// next lets time pass, and returns the last value.
func (w *watch) next(d time.Duration) presence.CalendarState {
	w.t.Helper()
	w.mu.Lock()
	before := len(w.states)
	w.mu.Unlock()
	time.Sleep(d) // on the clock of synctest
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.NoError(w.t, w.err)
	require.Greater(w.t, len(w.states), before, "no poll")
	return w.states[len(w.states)-1]
}

func (w *watch) last() presence.CalendarState {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.NotEmpty(w.t, w.states)
	return w.states[len(w.states)-1]
}

func (w *watch) result() (error, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err, w.ended
}

func ids(s presence.CalendarState) []string {
	out := []string{}
	for _, a := range s.Appointments {
		out = append(out, a.ID)
	}
	return out
}

// at writes an event that begins so long from now.
func at(uid string, d time.Duration, lines ...string) []byte {
	begin := time.Now().Add(d).UTC().Format("20060102T150405Z")
	return calendar("BEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTART:" + begin + "\r\nDURATION:PT1H\r\n" + strings.Join(append(lines, "END:VEVENT"), "\r\n"))
}

const poll = 80 * time.Second // after which another poll has been, whatever the jitter

func config(d *dav) caldav.Config {
	return caldav.Config{URL: "https://dav.example.com/", HTTPClient: &http.Client{Transport: d}, Location: time.UTC}
}

// TestPolling: BSP-2.6-1, and each way to poll asks for no more than it must.
func TestPolling(t *testing.T) {
	tests := []struct {
		name           string
		noSync, noCTag bool
		noETag         bool
		idle, changed  []string
	}{
		{"sync-token", false, false, false, []string{"sync-collection"}, []string{"sync-collection", "calendar-multiget"}},
		{"ctag", true, false, false, []string{"propfind /tom/work/"}, []string{"propfind /tom/work/", "calendar-query", "calendar-multiget"}},
		{"entity tags", true, true, false, []string{"calendar-query"}, []string{"calendar-query", "calendar-multiget"}},
		{"nothing", true, true, true, []string{"calendar-query", "calendar-multiget"}, []string{"calendar-query", "calendar-multiget"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDAV()
				d.noSync, d.noCTag, d.noETag = tt.noSync, tt.noCTag, tt.noETag
				d.put("a", at("a", time.Hour))
				d.put("far", at("far", 100*24*time.Hour))
				w := start(t, config(d))
				require.Equal(t, []string{"a"}, ids(w.last()))
				require.Positive(t, w.last().Lifetime) // BSX-2
				require.Equal(t, []string{
					"propfind /", "propfind /tom/", "propfind /tom/",
					"propfind /tom/work/", "calendar-query", "calendar-multiget",
				}, d.asked())

				require.Equal(t, []string{"a"}, ids(w.next(poll)))
				require.Subset(t, tt.idle, d.asked())
				time.Sleep(poll)
				d.asked()

				d.put("b", at("b", 0))
				require.Equal(t, []string{"b", "a"}, ids(w.next(poll)))
				require.Subset(t, tt.changed, d.asked())

				d.put("a", at("a", 3*time.Hour, "SUMMARY:new"))
				require.Equal(t, "new", w.next(poll).Appointments[1].Subject)

				d.remove("b")
				require.Equal(t, []string{"a"}, ids(w.next(poll)))
				d.remove("a")
				require.Empty(t, w.next(poll).Appointments)
				w.cancel()
				synctest.Wait()
				err, ended := w.result()
				require.True(t, ended)
				require.ErrorIs(t, err, context.Canceled)
			})
		})
	}
}

// TestWindowMoves: nothing changes at the server, and still what is delivered
// does, every day.
func TestWindowMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDAV()
		d.put("a", at("a", time.Hour, "RRULE:FREQ=DAILY"))
		d.put("b", at("b", 20*24*time.Hour+12*time.Hour)) // in view after six and a half days
		w := start(t, config(d))
		first := time.Now().Add(time.Hour)
		for day := range 10 {
			all := w.last().Appointments
			all = slices.DeleteFunc(slices.Clone(all), func(a aa.Appointment) bool { return a.ID == "b" })
			require.Contains(t, []int{14, 15}, len(all), "day %d", day)
			require.Equal(t, first.AddDate(0, 0, max(0, day-1)).UTC(), all[0].From, "day %d", day)
			require.Equal(t, day > 6, len(all) < len(w.last().Appointments), "day %d", day)
			w.next(24*time.Hour + poll/8)
		}
		w.cancel()
	})
}

func TestSyncTokenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDAV()
		d.put("a", at("a", time.Hour))
		w := start(t, config(d))
		d.forget()
		d.put("b", at("b", 2*time.Hour))
		d.asked()
		require.Equal(t, []string{"a", "b"}, ids(w.next(poll)))
		require.Subset(t, d.asked(), []string{"sync-collection", "propfind /tom/work/", "calendar-query", "calendar-multiget"})
		d.put("c", at("c", 3*time.Hour))
		d.asked()
		require.Equal(t, []string{"a", "b", "c"}, ids(w.next(poll)))
		require.NotContains(t, d.asked(), "calendar-query", "the new token is used")

		// The server can't any more.
		d.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "REPORT" && r.Header.Get("Depth") == "0" {
				w.WriteHeader(http.StatusNotImplemented)
				return true
			}
			return false
		})
		w.next(5 * poll)
		d.asked()
		d.put("d", at("d", 4*time.Hour))
		require.Equal(t, []string{"a", "b", "c", "d"}, ids(w.next(poll)))
		require.NotContains(t, d.asked(), "sync-collection", "what never works is not tried for ever")
		w.cancel()
	})
}

// TestCalendarProperties: the calendar's own zone, and that it is transparent.
func TestCalendarProperties(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDAV()
		d.properties = `<C:schedule-calendar-transp><C:transparent/></C:schedule-calendar-transp><C:calendar-timezone>` +
			strings.ReplaceAll(string(calendar("BEGIN:VTIMEZONE\r\nTZID:Asia/Tokyo\r\nBEGIN:STANDARD\r\nDTSTART:20000101T000000\r\nTZOFFSETFROM:+0900\r\nTZOFFSETTO:+0900\r\nEND:STANDARD\r\nEND:VTIMEZONE")), "\r\n", "&#13;\n") +
			`</C:calendar-timezone>`
		d.put("a", vevent("DTSTART;VALUE=DATE:"+time.Now().UTC().AddDate(0, 0, 2).Format("20060102")))
		w := start(t, config(d))
		require.Len(t, w.last().Appointments, 1)
		require.Equal(t, 15, w.last().Appointments[0].From.Hour())
		require.Equal(t, aa.CalendarFree, w.last().Appointments[0].State)
		w.cancel()
	})
}

func TestOwnAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDAV()
		for _, who := range []string{"tom.hanks@example.com", "alias@example.com", "configured@example.com", "meg.ryan@example.com"} {
			d.put(who, at(who, time.Hour, "ATTENDEE;PARTSTAT=DECLINED:mailto:"+who))
		}
		cfg := config(d)
		cfg.Addresses = func(string) []string { return []string{"Configured@example.com"} }
		w := start(t, cfg)
		require.Equal(t, []string{"meg.ryan@example.com"}, ids(w.last()))
		w.cancel()
	})
}

func TestWhichCalendars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDAV()
		d.put("a", at("a", time.Hour))
		cfg := config(d)
		cfg.URL = ""
		cfg.Calendars = func(context.Context, string) ([]string, error) {
			return []string{"https://dav.example.com/tom/work", "https://dav.example.com/tom/work/"}, nil
		}
		d.intercept(redirect("/tom/work", "/tom/work/"))
		w := start(t, cfg)
		require.Equal(t, []string{"a"}, ids(w.last()), "in both, delivered once")
		w.cancel()

		cfg.Calendars = func(context.Context, string) ([]string, error) { return nil, nil }
		err, _ := start(t, cfg).result()
		require.ErrorIs(t, err, caldav.ErrNoCalendar)

		cfg.Calendars = func(context.Context, string) ([]string, error) { return make([]string, 33), nil }
		err, _ = start(t, cfg).result()
		require.Error(t, err)
	})
	t.Run("template", func(t *testing.T) {
		for mail, want := range map[string]string{
			"tom@example.com": "/example.com/tom/tom@example.com/", "../../x?y#z@e/v": "/e%2Fv/..%2F..%2Fx%3Fy%23z/..%2F..%2Fx%3Fy%23z@e%2Fv/",
		} {
			d := newDAV()
			var asked string
			d.intercept(func(_ http.ResponseWriter, r *http.Request) bool { asked = r.URL.EscapedPath(); return false })
			cfg := config(d)
			cfg.URL = "https://dav.example.com/{domain}/{user}/{mail}/"
			m, err := caldav.New(cfg)
			require.NoError(t, err)
			require.Error(t, m.MonitorCalendar(t.Context(), mail, func(presence.CalendarState) {}))
			require.Equal(t, want, asked)
		}
	})
}

func TestConfig(t *testing.T) {
	calendars := func(context.Context, string) ([]string, error) { return nil, nil }
	for name, cfg := range map[string]caldav.Config{
		"empty":         {},
		"both":          {URL: "https://x/", Calendars: calendars},
		"no scheme":     {URL: "dav.example.com"},
		"other scheme":  {URL: "ftp://dav.example.com/"},
		"user":          {URL: "https://tom:SECRET@dav.example.com/"},
		"malformed":     {URL: "https://tom:SECRET@dav.example.com:port/"},
		"negative time": {URL: "https://x/", Interval: -1},
		"negative size": {URL: "https://x/", Limits: caldav.Limits{ObjectBytes: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := caldav.New(cfg)
			require.ErrorContains(t, err, "caldav: ")
			require.NotContains(t, err.Error(), "SECRET")
		})
	}
}
