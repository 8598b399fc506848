package caldav_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/pidf"
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
					"propfind /", "propfind /tom/", "propfind /tom/", "propfind /tom/",
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
			all = slices.DeleteFunc(slices.Clone(all), func(a pidf.Appointment) bool { return a.ID == "b" })
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

// TestFailures: BSX-2, a few failing polls are tolerated, and then no more.
func TestFailures(t *testing.T) {
	fail := func(status int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true }
	}
	t.Run("transient", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			d.put("a", at("a", time.Hour))
			w := start(t, config(d))
			lifetime, began := w.last().Lifetime, time.Now()
			d.intercept(fail(http.StatusBadGateway))
			time.Sleep(2 * poll) // two polls, or three
			synctest.Wait()
			_, ended := w.result()
			require.False(t, ended)
			d.intercept(nil)
			require.Equal(t, []string{"a"}, ids(w.next(poll)))

			began = time.Now()
			d.intercept(fail(http.StatusBadGateway))
			for {
				time.Sleep(time.Second)
				synctest.Wait()
				if err, ended := w.result(); ended {
					status, ok := errors.AsType[*caldav.StatusError](err)
					require.True(t, ok)
					require.Equal(t, http.StatusBadGateway, status.Code)
					break
				}
			}
			require.Greater(t, time.Since(began), 2*time.Minute)
			require.Less(t, time.Since(began), lifetime, "the value outlives what is tolerated")
		})
	})
	t.Run("first poll", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			d.intercept(fail(http.StatusServiceUnavailable))
			err, ended := start(t, config(d)).result()
			require.True(t, ended)
			require.Error(t, err)
		})
	})
	t.Run("refused later", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			w := start(t, config(d))
			d.intercept(fail(http.StatusUnauthorized))
			time.Sleep(poll)
			synctest.Wait()
			err, ended := w.result()
			require.True(t, ended)
			require.ErrorIs(t, err, caldav.ErrUnauthorized)
		})
	})
	t.Run("none tolerated", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			cfg := config(d)
			cfg.Failures = -1
			w := start(t, cfg)
			d.intercept(fail(http.StatusBadGateway))
			time.Sleep(poll)
			synctest.Wait()
			_, ended := w.result()
			require.True(t, ended)
		})
	})
	t.Run("asked to wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			w := start(t, config(d))
			d.intercept(func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Retry-After", "300")
				w.WriteHeader(http.StatusTooManyRequests)
				return true
			})
			time.Sleep(poll)
			synctest.Wait()
			d.intercept(nil)
			d.asked()
			time.Sleep(200 * time.Second)
			require.Empty(t, d.asked())
			require.Empty(t, w.next(150*time.Second).Appointments)
			w.cancel()
		})
	})
	t.Run("slow server", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			d.intercept(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
			w, began := start(t, config(d)), time.Now()
			time.Sleep(time.Minute)
			synctest.Wait()
			err, ended := w.result()
			require.True(t, ended)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, time.Minute, time.Since(began))
		})
	})
}

// TestPollsBounded: BSX-4, many mailboxes do not poll at once.
func TestPollsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDAV()
		var mu sync.Mutex
		under, most, mails := 0, 0, 0
		d.intercept(func(http.ResponseWriter, *http.Request) bool {
			mu.Lock()
			under++
			most = max(most, under)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			under--
			mu.Unlock()
			return false
		})
		cfg := config(d)
		cfg.Limits.Polls = 3
		m, err := caldav.New(cfg)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				_ = m.MonitorCalendar(ctx, fmt.Sprintf("user%d@example.com", i), func(presence.CalendarState) {
					mu.Lock()
					defer mu.Unlock()
					mails++
				})
			})
		}
		time.Sleep(10 * time.Second)
		cancel()
		wg.Wait()
		require.Equal(t, 3, most)
		require.Equal(t, 50, mails)
	})
}

func TestLimits(t *testing.T) {
	t.Run("appointments", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			d.put("a", at("a", time.Hour, "RRULE:FREQ=DAILY"))
			cfg := config(d)
			cfg.Limits.Appointments = 3
			w := start(t, cfg)
			require.Len(t, w.last().Appointments, 3)
			require.Equal(t, time.Now().Add(time.Hour).UTC(), w.last().Appointments[0].From)
			w.cancel()
		})
	})
	t.Run("objects", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			for i := range 5 {
				d.put(fmt.Sprint(i), at(fmt.Sprint(i), time.Hour))
			}
			cfg := config(d)
			cfg.Limits.Objects = 4
			err, ended := start(t, cfg).result()
			require.True(t, ended)
			require.ErrorIs(t, err, caldav.ErrLimit)
		})
	})
	t.Run("one large object costs itself only", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			for i := range 120 {
				d.put(fmt.Sprintf("%03d", i), at(fmt.Sprintf("%03d", i), time.Hour))
			}
			d.put("077", at("077", time.Hour, "DESCRIPTION:"+strings.Repeat("x", 200_000)))
			var log bytes.Buffer
			cfg := config(d)
			cfg.Limits.ResponseBytes = 100_000
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			w := start(t, cfg)
			require.Len(t, w.last().Appointments, 119)
			require.NotContains(t, ids(w.last()), "077")
			require.Contains(t, log.String(), "/tom/work/077")
			w.cancel()
		})
	})
	t.Run("broken object", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			d.put("bad", []byte("SECRET"))
			d.put("good", at("good", time.Hour))
			var log bytes.Buffer
			cfg := config(d)
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			w := start(t, cfg)
			require.Equal(t, []string{"good"}, ids(w.last()))
			require.Contains(t, log.String(), "/tom/work/bad")
			require.NotContains(t, log.String(), "SECRET")
			w.cancel()
		})
	})
}

func TestHostileServer(t *testing.T) {
	multi := func(s string) string { return `<multistatus xmlns="DAV:">` + s + `</multistatus>` }
	for name, body := range map[string]string{
		"endless": multi(strings.Repeat("<response><href>/x</href></response>", 1_000_000)),
		"deep":    multi(strings.Repeat("<x>", 1_000_000)),
		"not XML": "hello", "another root": `<html xmlns="DAV:"></html>`, "truncated": `<multistatus xmlns="DAV:"><response>`, "empty": "",
		"entities": `<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><multistatus xmlns="DAV:"><response><href>&b;</href></response></multistatus>`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDAV()
				d.intercept(func(w http.ResponseWriter, _ *http.Request) bool {
					w.WriteHeader(http.StatusMultiStatus)
					_, _ = w.Write([]byte(body))
					return true
				})
				for _, url := range []string{"https://dav.example.com/", "https://dav.example.com/{user}/"} {
					cfg := config(d)
					cfg.URL = url
					err, ended := start(t, cfg).result()
					require.True(t, ended, url)
					require.Error(t, err, url)
				}
			})
		})
	}
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
		require.Equal(t, pidf.CalendarFree, w.last().Appointments[0].State)
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

func TestCredentials(t *testing.T) {
	const password = "pass:wörd"
	with := func(d *dav, url, password string) caldav.Config {
		cfg := config(d)
		cfg.URL = url
		cfg.Credentials = func(_ context.Context, mail string) (caldav.Credentials, error) {
			return caldav.Credentials{User: mail, Password: auth.NewSecret([]byte(password))}, nil
		}
		return cfg
	}
	tests := []struct {
		name, url, password string
		before              func(http.ResponseWriter, *http.Request) bool
		want                error
	}{
		{"right", "https://dav.example.com/", password, nil, nil},
		{"wrong", "https://dav.example.com/", "wrong", nil, caldav.ErrUnauthorized},
		{"not encrypted", "http://dav.example.com/", password, nil, caldav.ErrInsecure},
		{"not encrypted, loopback", "http://127.0.0.1:5232/", password, nil, nil},
		{"redirected", "https://dav.example.com/elsewhere", password, redirect("/elsewhere", "/"), nil},
		{"well-known", "https://dav.example.com/login", password, redirect("/.well-known/caldav", "/"), nil},
		{"redirected to another host", "https://dav.example.com/", password, redirect("/", "https://evil.example.org/"), caldav.ErrInsecure},
		{"redirected to plain text", "https://dav.example.com/", password, redirect("/", "http://dav.example.com/x"), caldav.ErrInsecure},
		{"redirected in circles", "https://dav.example.com/", password, redirect("/", "/"), errors.ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDAV()
				d.user, d.password = "tom.hanks@example.com", password
				d.intercept(tt.before)
				d.put("a", at("a", time.Hour))
				w := start(t, with(d, tt.url, tt.password))
				err, ended := w.result()
				if tt.want == nil {
					require.NoError(t, err)
					require.Equal(t, []string{"a"}, ids(w.last()))
					w.cancel()
					return
				}
				require.True(t, ended)
				require.Error(t, err)
				if tt.want != errors.ErrUnsupported {
					require.ErrorIs(t, err, tt.want)
				}
				require.NotContains(t, err.Error(), tt.password)
			})
		})
	}
	t.Run("not printed", func(t *testing.T) {
		c := caldav.Credentials{User: "tom", Password: auth.NewSecret([]byte(password))}
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", c, c, c), password)
	})
}

func redirect(from, to string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != from {
			return false
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusMovedPermanently)
		return true
	}
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
