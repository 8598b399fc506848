package caldav_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/caldav"
)

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
	t.Run("occurrences held", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			for i := range 9 {
				uid := fmt.Sprint(i)
				d.put(uid, at(uid, time.Hour, "RRULE:FREQ=MINUTELY;COUNT=10"))
			}
			cfg := config(d)
			cfg.Limits.Held = 90
			w := start(t, cfg)
			require.Len(t, w.last().Appointments, 90)
			d.put("9", at("9", time.Hour))
			for ended := false; !ended; _, ended = w.result() { // once failing polls are not tolerated any more
				time.Sleep(poll)
				synctest.Wait()
			}
			err, _ := w.result()
			require.ErrorIs(t, err, caldav.ErrLimit)
		})
	})
	t.Run("work", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDAV()
			hostile(d, 300)
			d.put("zz", at("zz", time.Hour, "RRULE:FREQ=DAILY"))
			d.put("zzz", at("zzz", 2*time.Hour, "RRULE:FREQ=MONTHLY;BYDAY=1MO,2TU,-1FR"))
			var log bytes.Buffer
			cfg := config(d)
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			w := start(t, cfg)
			var good int
			for _, id := range ids(w.last()) {
				if strings.HasPrefix(id, "zz/") {
					good++
				}
			}
			require.Equal(t, 14, good, "others do not wait for what takes long")
			require.Contains(t, log.String(), "take too long")
			require.NotContains(t, log.String(), "object=/tom/work/zz")
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

// hostile puts objects into the calendar whose rules take as long as they can.
func hostile(d *dav, n int) {
	for i := range n {
		rule := []string{
			"FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "FREQ=DAILY;BYSETPOS=50", "FREQ=SECONDLY;COUNT=2000000000", "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30",
			"FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=-366,366;BYMONTH=1,2,3",
		}[i%5]
		name := fmt.Sprintf("hostile-%04d", i)
		d.put(name, vevent("UID:"+name, "DTSTART:19900101T100000Z", "DURATION:PT1H", "RRULE:"+rule))
	}
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
