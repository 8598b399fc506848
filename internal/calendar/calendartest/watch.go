package calendartest

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

// grace is how long the presence server shows the value of a monitor that has ended.
const grace = time.Minute

// watch is a monitor at work for one mailbox, and what watchers see of it.
type watch struct {
	t    *testing.T
	rig  Rig
	wire *wire
	stop func() // ends the monitor, and checks what it has said

	mu     sync.Mutex
	values []presence.CalendarState
	at     time.Time // of the last value
	ended  time.Time // when the monitor returned first since then; zero: it has not
	runs   bool
	errs   []error
	log    bytes.Buffer
}

// start has a monitor watch a mailbox, and calls it again where it ends, as the
// presence server does.
func start(t *testing.T, rig Rig, mail string) *watch {
	w := &watch{t: t, rig: rig, wire: &wire{next: rig.Server}}
	monitor := rig.Monitor(t, w.wire, slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		var pause backoff.Backoff
		for ctx.Err() == nil {
			began := time.Now()
			w.set(func() { w.runs = true })
			err := monitor.MonitorCalendar(ctx, mail, w.update)
			w.set(func() {
				w.runs, w.errs = false, append(w.errs, err)
				if w.ended.IsZero() {
					w.ended = time.Now()
				}
			})
			if time.Since(began) > time.Minute {
				pause.Reset()
			}
			_ = backoff.Sleep(ctx, pause.Next())
		}
	}()
	w.stop = func() {
		w.mu.Lock()
		running := w.runs
		w.mu.Unlock()
		cancel()
		<-done
		if running {
			require.ErrorIs(t, w.errs[len(w.errs)-1], context.Canceled, "the error of the context, once that has ended")
		}
		require.NotContains(t, w.log.String(), Canary)
		for _, err := range w.errs {
			require.NotContains(t, err.Error(), Canary)
		}
	}
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *watch) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *watch) update(s presence.CalendarState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Positive(w.t, s.Lifetime, "it would never fade")
	w.values, w.at, w.ended = append(w.values, s), time.Now(), time.Time{}
}

// shown returns what watchers see now, and whether they see anything: a value fades
// after its lifetime, and soon after its monitor has ended.
func (w *watch) shown() ([]aa.Appointment, bool) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.values) == 0 {
		return nil, false
	}
	last := w.values[len(w.values)-1]
	if time.Since(w.at) >= last.Lifetime || !w.ended.IsZero() && time.Since(w.ended) >= grace {
		return nil, false
	}
	return last.Appointments, true
}

// subjects returns those of what is shown, in order.
func (w *watch) subjects() []string {
	shown, _ := w.shown()
	all := []string{}
	for _, a := range shown {
		all = append(all, a.Subject)
	}
	return all
}

// eventually waits until the subjects are these, for within at most.
func (w *watch) eventually(within time.Duration, want ...string) {
	w.t.Helper()
	for began := time.Now(); ; time.Sleep(time.Second) {
		got := w.subjects()
		if _, known := w.shown(); known && equal(got, want) {
			return
		}
		if time.Since(began) > within {
			require.Equal(w.t, want, got, "after %v; errors: %v", within, w.errors())
			require.FailNow(w.t, "nothing is shown", "after %v; errors: %v", within, w.errors())
		}
	}
}

func equal(a, b []string) bool { return strings.Join(a, "\x00") == strings.Join(b, "\x00") }

// always checks that each value so far had all of these subjects: no fault may show
// as a calendar that is empty, or half of it.
func (w *watch) always(want ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.values {
		got := []string{}
		for _, a := range s.Appointments {
			got = append(got, a.Subject)
		}
		require.Equal(w.t, want, got)
	}
}

// errors returns those with which the monitor has ended so far.
func (w *watch) errors() []error {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.errs
}

// wire is the way to the server.
type wire struct {
	next http.RoundTripper

	mu       sync.Mutex
	fault    func(*http.Request) (*http.Response, error)
	requests int
}

// fail has all requests answered by f from now on; nil ends that.
func (w *wire) fail(f func(*http.Request) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = f
}

// count returns the number of requests since the last call.
func (w *wire) count() int {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.requests
	w.requests = 0
	return n
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.requests++
	fault := w.fault
	w.mu.Unlock()
	if fault != nil {
		if r.Body != nil {
			defer r.Body.Close()
		}
		return fault(r)
	}
	return w.next.RoundTrip(r)
}

// answer is a fault that has a handler answer.
func answer(h http.HandlerFunc) func(*http.Request) (*http.Response, error) {
	return Transport(h).RoundTrip
}

// beginning is a fault: of each answer, the beginning is followed by rest.
func (w *wire) beginning(rest func(*http.Request) io.Reader) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		resp, err := w.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		body := resp.Body
		resp.Body = &closer{io.NopCloser(io.MultiReader(io.LimitReader(body, 150), rest(r))), func() { body.Close() }}
		return resp, nil
	}
}
