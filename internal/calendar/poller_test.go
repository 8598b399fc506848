package calendar_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("down")

func polling() calendar.Polling {
	return calendar.Polling{
		Interval: time.Minute, Timeout: 30 * time.Second, Failures: 2, Polls: 2,
		Past: 24 * time.Hour, Future: 14 * 24 * time.Hour, Appointments: 10,
	}
}

// polls is a mailbox that answers with an error, and notes when it was asked.
type polls struct {
	mu   sync.Mutex
	err  error
	at   []time.Duration // since the start
	from time.Time
}

func (p *polls) poll(context.Context, calendar.Window) ([]aa.Appointment, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = append(p.at, time.Since(p.from))
	return nil, p.err
}

func (p *polls) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *polls) asked() []time.Duration {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// watch starts a watch of a mailbox, and returns what it ends with.
func watch(t *testing.T, p *calendar.Poller, box *polls, wake <-chan struct{}) (values *atomic.Int32, ended <-chan error) {
	box.from = time.Now()
	end := make(chan error, 1)
	values = new(atomic.Int32)
	go func() {
		end <- p.Watch(t.Context(), "tom@example.com", wake, func(presence.CalendarState) { values.Add(1) }, box.poll)
	}()
	synctest.Wait()
	return values, end
}

// A few failing polls are tolerated once a value is known, and then no more (BSX-2):
// the value does not outlive them.
func TestFailuresTolerated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := calendar.NewPoller(polling())
		box := &polls{err: errDown}
		_, ended := watch(t, p, box, nil)
		require.ErrorIs(t, <-ended, errDown, "nothing is known yet")

		box.fail(nil)
		values, ended := watch(t, p, box, nil)
		require.EqualValues(t, 1, values.Load())
		box.fail(errDown)
		began := time.Now()
		require.ErrorIs(t, <-ended, errDown)
		require.Greater(t, time.Since(began), 3*45*time.Second)
		require.Less(t, time.Since(began), p.Lifetime())
		require.EqualValues(t, 1, values.Load())
	})
}

// Where the server says when, it is not asked before, whatever wakes the watch; for an
// hour at most.
func TestLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, wait := range []time.Duration{5 * time.Minute, 48 * time.Hour} {
			box := &polls{err: calendar.Later(errDown, wait)}
			wake := make(chan struct{}, 1)
			ctx, cancel := context.WithCancel(t.Context())
			box.from = time.Now()
			done := make(chan error, 1)
			go func() {
				done <- calendar.NewPoller(polling()).Watch(ctx, "tom@example.com", wake, func(presence.CalendarState) {}, box.poll)
			}()
			wake <- struct{}{}
			time.Sleep(min(wait, time.Hour) - time.Second)
			require.Len(t, box.asked(), 1)
			time.Sleep(min(wait, time.Hour)/10 + 2*time.Second)
			synctest.Wait()
			require.Len(t, box.asked(), 2)
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
		}
		require.Equal(t, errDown, calendar.Later(errDown, 0))
		require.NoError(t, calendar.Later(nil, -1))
	})
}

// What is final ends the watch at once, and is said again for a while without asking.
func TestFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := calendar.NewPoller(polling())
		box := new(polls)
		_, ended := watch(t, p, box, nil)
		box.fail(fmt.Errorf("reading: %w", calendar.Final(errDown, 10*time.Minute)))
		err := <-ended
		require.ErrorIs(t, err, errDown)
		require.EqualError(t, err, "reading: down")
		asked := len(box.asked())
		for range 10 {
			time.Sleep(time.Minute - time.Second)
			_, ended := watch(t, p, box, nil)
			require.Equal(t, err, <-ended)
			require.Len(t, box.asked(), asked)
		}
		time.Sleep(2 * time.Minute)
		_, ended = watch(t, p, box, nil)
		require.Error(t, <-ended)
		require.Len(t, box.asked(), asked+1)

		other := &polls{err: calendar.Final(errDown, 0)}
		for n := range 3 {
			require.ErrorIs(t, p.Watch(t.Context(), "meg@example.com", nil, nil, other.poll), errDown)
			require.Len(t, other.asked(), n+1)
		}
	})
}

// A wake has the mailbox polled at once. Else it is polled at intervals, and sooner
// after a failure where Retry says so.
func TestWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := polling()
		cfg.Interval, cfg.Retry = time.Hour, 10*time.Second
		p := calendar.NewPoller(cfg)
		box, wake := new(polls), make(chan struct{}, 1)
		values, ended := watch(t, p, box, wake)
		time.Sleep(30 * time.Minute)
		wake <- struct{}{}
		synctest.Wait()
		require.Equal(t, []time.Duration{0, 30 * time.Minute}, box.asked())
		time.Sleep(75 * time.Minute)
		require.Len(t, box.asked(), 3)
		box.fail(errDown)
		wake <- struct{}{}
		time.Sleep(14 * time.Second)
		require.Len(t, box.asked(), 5)
		require.ErrorIs(t, <-ended, errDown)
		require.EqualValues(t, 3, values.Load())
	})
}

// Polls are bounded in number and in time, which does not count the wait for room
// (BSX-4).
func TestPollsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := calendar.NewPoller(polling())
		ended := make(chan error, 5)
		began := time.Now()
		under, most := make(chan int, 1), 0
		under <- 0
		for i := range 5 {
			go func() {
				ended <- p.Watch(t.Context(), fmt.Sprint(i), nil, nil, func(ctx context.Context, _ calendar.Window) ([]aa.Appointment, error) {
					n := <-under + 1
					most = max(most, n)
					under <- n
					<-ctx.Done()
					under <- <-under - 1
					return nil, ctx.Err()
				})
			}()
		}
		for range 5 {
			require.ErrorIs(t, <-ended, context.DeadlineExceeded)
		}
		require.Equal(t, 90*time.Second, time.Since(began))
		require.Equal(t, 2, most)
	})
}

// The value is what lies in the window, in order, bounded, and lasts no longer than its
// lifetime. That much is left out is logged once.
func TestValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		cfg := polling()
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		p := calendar.NewPoller(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		var got []presence.CalendarState
		err := p.Watch(ctx, "tom@example.com", nil, func(s presence.CalendarState) {
			if got = append(got, s); len(got) == 3 {
				cancel()
			}
		}, func(_ context.Context, w calendar.Window) (all []aa.Appointment, _ error) {
			require.Equal(t, time.Now().Add(-24*time.Hour), w.From)
			require.Equal(t, time.Now().Add(14*24*time.Hour), w.To)
			for i := range 40 {
				begin := time.Now().Add(time.Duration(40-i) * 12 * time.Hour)
				all = append(all, aa.Appointment{ID: fmt.Sprint(i), From: begin, End: begin.Add(time.Hour)})
			}
			return all, nil
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, got[0].Appointments, 10)
		require.Equal(t, "39", got[0].Appointments[0].ID)
		require.Equal(t, p.Lifetime(), got[0].Lifetime)
		require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("too many")), log.String())
	})
}

func TestSelect(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	w := calendar.Window{From: now.Add(-24 * time.Hour), To: now.Add(48 * time.Hour)}
	at := func(id string, from, end time.Duration) aa.Appointment {
		return aa.Appointment{ID: id, From: now.Add(from), End: now.Add(end)}
	}
	all := []aa.Appointment{
		at("tomorrow", 24*time.Hour, 25*time.Hour),
		at("now", -time.Hour, time.Hour),
		at("earlier", -3*time.Hour, -2*time.Hour),
		at("earliest", -6*time.Hour, -5*time.Hour),
		at("now", 5*time.Hour, 6*time.Hour), // a second one of that ID
		at("ended before", -26*time.Hour, -24*time.Hour),
		at("into the window", -40*time.Hour, -23*time.Hour),
		at("begins after", 48*time.Hour, 49*time.Hour),
		at("no time", time.Hour, time.Hour),
		at("backwards", 2*time.Hour, time.Hour),
		at("also now", -time.Hour, time.Hour),
	}
	for most, want := range map[int][]string{
		10: {"into the window", "earliest", "earlier", "also now", "now", "tomorrow"},
		5:  {"earliest", "earlier", "also now", "now", "tomorrow"},
		3:  {"also now", "now", "tomorrow"},
		2:  {"also now", "now"},
		1:  {"also now"},
	} {
		kept, cut := w.Select(slices.Clone(all), most, now)
		got := []string{}
		for _, a := range kept {
			got = append(got, a.ID)
		}
		require.Equal(t, want, got, most)
		require.Equal(t, max(0, 6-most), cut)
	}
	kept, cut := w.Select(nil, 1, now)
	require.Empty(t, kept)
	require.Zero(t, cut)
}
