package msgraph_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/fakegraph"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/msgraph"
)

// site is a tenant with many mailboxes, all of them monitored as a presence server does it: one
// that ends is called again, with growing pauses.
type site struct {
	s    *fakegraph.Server
	stop func()

	mu   sync.Mutex
	last map[string]time.Time // when the value of a mailbox came
}

func newSite(t *testing.T, n int, cfg msgraph.CalendarConfig) *site {
	v := &site{s: fakegraph.New(), last: make(map[string]time.Time)}
	c, err := newApp(t, config(t, v.s)).NewCalendar(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var monitors sync.WaitGroup
	for i := range n {
		mail := fmt.Sprintf("u%d@contoso.example", i)
		v.s.AddUser(userID(i), mail, mail)
		v.s.SetEvents(mail, in("a", time.Hour))
		monitors.Go(func() {
			var pause backoff.Backoff
			for ctx.Err() == nil {
				_ = c.MonitorCalendar(ctx, mail, func(presence.CalendarState) {
					v.mu.Lock()
					defer v.mu.Unlock()
					v.last[mail] = time.Now()
				})
				_ = backoff.Sleep(ctx, pause.Next())
			}
		})
	}
	v.stop = func() {
		cancel()
		monitors.Wait()
	}
	return v
}

// perSecond lets d pass, and returns how many requests there were in each second.
func (v *site) perSecond(d time.Duration) (all []int) {
	for range int(d / time.Second) {
		time.Sleep(time.Second)
		all = append(all, len(v.s.Requests()))
	}
	return all
}

// since returns how many mailboxes have a value that is newer.
func (v *site) since(t time.Time) (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, at := range v.last {
		if !at.Before(t) {
			n++
		}
	}
	return n
}

func sum(all []int) (n int) {
	for _, v := range all {
		n += v
	}
	return n
}

// TestNoStorm: 2,000 mailboxes, whose monitors all begin at once, and after an outage. Neither is a
// storm.
func TestNoStorm(t *testing.T) {
	for _, tt := range []struct {
		name            string
		cfg             msgraph.CalendarConfig
		most, perMinute int
		down            func(http.ResponseWriter, *http.Request) bool
		whileDown       int           // requests in three minutes
		soon            time.Duration // all are known after a start
		soonAfterAnEnd  time.Duration
	}{
		{"views, 503", msgraph.CalendarConfig{}, 52, 2000, status(http.StatusServiceUnavailable), 9_000, 45 * time.Second, 3 * time.Minute},
		{"views, throttled", msgraph.CalendarConfig{}, 52, 2000, status(http.StatusTooManyRequests, "Retry-After", "120"), 5_000, 45 * time.Second, 4 * time.Minute},
		{"schedules, 503", msgraph.CalendarConfig{Schedules: "u0@contoso.example"}, 8, 100, status(http.StatusServiceUnavailable), 40, 45 * time.Second, 4 * time.Minute},
		{"schedules, throttled", msgraph.CalendarConfig{Schedules: "u0@contoso.example"}, 8, 100, status(http.StatusTooManyRequests, "Retry-After", "120"), 15, 45 * time.Second, 4 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newSite(t, 2000, tt.cfg)
				began := time.Now()
				seconds := v.perSecond(tt.soon)
				require.LessOrEqual(t, slices.Max(seconds), tt.most)
				require.Equal(t, 2000, v.since(began))
				seconds = v.perSecond(2 * time.Minute)
				require.LessOrEqual(t, slices.Max(seconds), tt.most)
				require.InEpsilon(t, 2*tt.perMinute, sum(seconds), 0.15)
				t.Logf("%d requests a minute, at most %d in a second", sum(seconds)/2, slices.Max(seconds))

				v.s.Intercept(tt.down)
				seconds = v.perSecond(3 * time.Minute)
				require.LessOrEqual(t, slices.Max(seconds), tt.most)
				require.LessOrEqual(t, sum(seconds), tt.whileDown)
				t.Logf("%d requests a minute while it is down", sum(seconds)/3)
				v.s.Intercept(nil)
				began = time.Now()
				seconds = v.perSecond(tt.soonAfterAnEnd)
				require.LessOrEqual(t, slices.Max(seconds), tt.most)
				require.Equal(t, 2000, v.since(began))
				v.stop()
			})
		})
	}
}

// BenchmarkSite polls 2,000 mailboxes with ten appointments each and reads 1,300 users, over TLS on
// loopback; client and server share the machine. It reports the connections and what the monitors
// hold.
func BenchmarkSite(b *testing.B) {
	const mailboxes, users = 2000, 1300
	s := fakegraph.New()
	for i := range mailboxes {
		mail := fmt.Sprintf("u%d@contoso.example", i)
		s.AddUser(userID(i), mail, mail)
		s.SetPresence(userID(i), "Busy", "InACall")
		for j := range 10 {
			s.AddEvent(mail, in(fmt.Sprint(j), time.Duration(j)*time.Hour))
		}
	}
	server := httptest.NewUnstartedServer(s)
	var connections atomic.Int64
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			connections.Add(1)
		case http.StateClosed:
		}
	}
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	cfg := config(b, s)
	cfg.Login, cfg.Graph, cfg.HTTPClient, cfg.Lookups = server.URL, server.URL, server.Client(), 1_000_000
	app := newApp(b, cfg)
	calendar, err := app.NewCalendar(msgraph.CalendarConfig{Interval: time.Hour, Rate: 1_000_000})
	require.NoError(b, err)
	teams, err := app.NewTeams(msgraph.TeamsConfig{Interval: time.Hour, Lifetime: 2 * time.Hour})
	require.NoError(b, err)
	before := held()
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		var monitors, first sync.WaitGroup
		first.Add(mailboxes + users)
		for i := range mailboxes {
			mail := fmt.Sprintf("u%d@contoso.example", i)
			monitors.Go(func() {
				_ = calendar.MonitorCalendar(ctx, mail, func(presence.CalendarState) { first.Done() })
			})
			if i < users {
				var once sync.Once // a user may be asked for again together with a later one
				monitors.Go(func() {
					_ = teams.MonitorExternal(ctx, entry(mail), func(presence.ExternalState) { once.Do(first.Done) })
				})
			}
		}
		first.Wait()
		b.ReportMetric(held()-before, "MB-held")
		cancel()
		monitors.Wait()
	}
	b.ReportMetric(float64(len(s.Requests()))/float64(b.N), "requests/op")
	b.ReportMetric(float64(connections.Load()), "connections")
}

// held returns the megabytes of heap and stacks that are in use.
func held() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc+m.StackInuse) / 1e6
}
