package caldav_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence/caldav"
)

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
			lifetime := w.last().Lifetime
			d.intercept(fail(http.StatusBadGateway))
			time.Sleep(2 * poll) // two polls, or three
			synctest.Wait()
			_, ended := w.result()
			require.False(t, ended)
			d.intercept(nil)
			require.Equal(t, []string{"a"}, ids(w.next(poll)))

			began := time.Now()
			d.intercept(fail(http.StatusBadGateway))
			for {
				time.Sleep(time.Second)
				synctest.Wait()
				if err, ended := w.result(); ended {
					status, ok := errors.AsType[*caldav.StatusError](err)
					require.True(t, ok)
					require.Equal(t, http.StatusBadGateway, status.Status)
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
	t.Run("asked to wait at first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			d.put("a", at("a", time.Hour))
			d.intercept(func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Retry-After", "300")
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			})
			w := start(t, config(d))
			require.Len(t, d.asked(), 1)
			time.Sleep(290 * time.Second)
			_, ended := w.result()
			require.False(t, ended, "who calls again would not wait")
			require.Empty(t, d.asked())
			d.intercept(nil)
			require.Equal(t, []string{"a"}, ids(w.next(50*time.Second)))
			w.cancel()
		})
	})
	t.Run("asked to wait again and again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			w := start(t, config(d))
			d.intercept(func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Retry-After", "300")
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			})
			time.Sleep(poll)
			d.asked()
			time.Sleep(50 * time.Minute)
			synctest.Wait()
			_, ended := w.result()
			require.False(t, ended)
			require.InDelta(t, 9.5, len(d.asked()), 0.5, "each 300 s and a little more")
			w.cancel()
		})
	})
	for name, response := range map[string]string{
		"object": `<response><href>%s</href><status>HTTP/1.1 503 Service Unavailable</status></response>`,
		"data": `<response><href>%s</href><propstat><prop><C:calendar-data/></prop>` +
			`<status>HTTP/1.1 500 Internal Server Error</status></propstat></response>`,
	} {
		t.Run("one "+name+" for a while", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDAV()
				d.put("a", at("a", time.Hour))
				d.put("failing", at("failing", 2*time.Hour))
				d.failing = response
				w := start(t, config(d))
				require.Equal(t, []string{"a"}, ids(w.last()))
				d.intercept(func(http.ResponseWriter, *http.Request) bool { d.failing = ""; return false })
				require.Equal(t, []string{"a", "failing"}, ids(w.next(poll)), "although nothing has changed")

				d.intercept(func(http.ResponseWriter, *http.Request) bool { d.failing = response; return false })
				d.put("failing", at("failing", 3*time.Hour))
				require.Equal(t, []string{"a", "failing"}, ids(w.next(poll)), "what was known of it")
				d.intercept(func(http.ResponseWriter, *http.Request) bool { d.failing = ""; return false })
				moved := w.next(poll).Appointments[1].From
				require.Greater(t, time.Until(moved), 2*time.Hour+30*time.Minute)
				d.asked()
				time.Sleep(10 * poll)
				require.NotContains(t, d.asked(), "calendar-query")
				w.cancel()
			})
		})
	}
	t.Run("one calendar of two withheld", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			d.put("a", at("a", time.Hour))
			cfg := config(d)
			cfg.URL = ""
			cfg.Calendars = func(context.Context, string) ([]string, error) {
				return []string{"https://dav.example.com/ann/", "https://dav.example.com/tom/work/"}, nil
			}
			status := http.StatusForbidden
			d.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/ann/" {
					w.WriteHeader(status)
				}
				return r.URL.Path == "/ann/"
			})
			w := start(t, cfg)
			require.Equal(t, []string{"a"}, ids(w.last()))
			require.Contains(t, d.asked(), "propfind /ann/")
			time.Sleep(50 * time.Minute)
			require.NotContains(t, d.asked(), "propfind /ann/")
			time.Sleep(20 * time.Minute)
			require.Contains(t, d.asked(), "propfind /ann/", "they are looked for again")

			d.intercept(func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(status); return true })
			time.Sleep(poll)
			synctest.Wait()
			err, ended := w.result()
			require.True(t, ended, "the only one that is left")
			require.ErrorContains(t, err, "403")
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
