package calendartest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf/aa"
)

// Run runs the tests. Each makes a rig of its own, within synctest.
func Run(t *testing.T, rig func(t *testing.T) Rig) {
	for name, test := range map[string]func(*testing.T, func(*testing.T) Rig){
		"shows what there is": content,
		"series":              series,
		"midnight":            midnight,
		"summer time begins":  summerTimeBegins,
		"summer time ends":    summerTimeEnds,
		"10,000":              tenThousand,
		"throttled":           throttled,
		"credentials refused": refused,
		"mailbox moved":       moved,
		"mailbox unknown":     unknown,
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { test(t, rig) }) })
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { fails(t, rig, fault) }) })
		t.Run(name+" from the start", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { failsFirst(t, rig, fault) }) })
	}
}

// berlin is the zone of the appointments.
func berlin(t *testing.T) *time.Location {
	l, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	return l
}

// soon is an appointment that begins so long from now.
func soon(t *testing.T, subject string, d time.Duration) Event {
	return Event{ID: subject, Subject: subject, State: aa.CalendarBusy, Begin: time.Now().In(berlin(t)).Truncate(time.Minute).Add(d), Length: time.Hour}
}

// recovery is within what time a watch that was called again with back-off is back.
const recovery = 2 * time.Minute

// outcome is a fault of the server.
type outcome func(*watch) func(*http.Request) (*http.Response, error)

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// faults are what a server can do to a monitor. Each must look like a failure.
var faults = map[string]outcome{
	"dead": func(*watch) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) { return nil, errRefused }
	},
	"slow": func(*watch) func(*http.Request) (*http.Response, error) {
		return func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }
	},
	"stuck in the middle of an answer": func(w *watch) func(*http.Request) (*http.Response, error) {
		return w.wire.beginning(func(r *http.Request) io.Reader {
			return reader(func([]byte) (int, error) { <-r.Context().Done(); return 0, r.Context().Err() })
		})
	},
	"half an answer": func(w *watch) func(*http.Request) (*http.Response, error) {
		return w.wire.beginning(func(*http.Request) io.Reader {
			return reader(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF })
		})
	},
	"half an answer that ends well": func(w *watch) func(*http.Request) (*http.Response, error) {
		return w.wire.beginning(func(*http.Request) io.Reader { return reader(func([]byte) (int, error) { return 0, io.EOF }) })
	},
	"an answer without end": func(w *watch) func(*http.Request) (*http.Response, error) {
		return w.wire.beginning(func(r *http.Request) io.Reader {
			var read atomic.Int64
			return reader(func(p []byte) (int, error) {
				for i := range p {
					p[i] = ' '
				}
				if read.Add(int64(len(p))) > 1<<30 {
					return 0, errors.New("more than 1 GiB was read")
				}
				return len(p), r.Context().Err()
			})
		})
	},
	"a web page": func(*watch) func(*http.Request) (*http.Response, error) {
		return answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, "<!DOCTYPE html><html><head><title>Sign in</title></head><body><p>Welcome</body></html>")
		})
	},
	"an empty answer": func(*watch) func(*http.Request) (*http.Response, error) {
		return answer(func(http.ResponseWriter, *http.Request) {})
	},
	"an error": func(*watch) func(*http.Request) (*http.Response, error) {
		return answer(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Internal Server Error", 500) })
	},
	"a gateway whose server is away": func(*watch) func(*http.Request) (*http.Response, error) {
		return answer(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "<html>Bad Gateway</html>")
		})
	},
}

type reader func([]byte) (int, error)

func (f reader) Read(p []byte) (int, error) { return f(p) }

// fails: what is known of a mailbox stays as it was while its server fails, fades, and
// comes back with the server (BSX-2, BSX-15). The server is not flooded meanwhile.
func fails(t *testing.T, newRig func(*testing.T) Rig, fault outcome) {
	rig := newRig(t)
	rig.Set(soon(t, "meeting", time.Hour))
	w := start(t, rig, Mail)
	w.eventually(rig.Shows, "meeting")
	w.mu.Lock()
	lifetime := w.values[len(w.values)-1].Lifetime
	w.mu.Unlock()

	w.wire.fail(fault(w))
	time.Sleep(lifetime + grace)
	_, known := w.shown()
	require.False(t, known, "after its lifetime")
	w.wire.count()
	time.Sleep(time.Hour)
	require.LessOrEqual(t, w.wire.count(), 600, "requests in an hour")
	w.always("meeting")
	require.NotEmpty(t, w.errors(), "the presence server is told")

	w.wire.fail(nil)
	w.eventually(recovery+rig.Shows, "meeting")
	w.stop()
}

// failsFirst: nothing is said of a mailbox that could never be read (BSX-2).
func failsFirst(t *testing.T, newRig func(*testing.T) Rig, fault outcome) {
	rig := newRig(t)
	rig.Set(soon(t, "meeting", 2*time.Hour))
	w := start(t, rig, Mail)
	w.wire.fail(fault(w))
	time.Sleep(30 * time.Minute)
	w.always("meeting") // where it was read before the fault began
	require.NotEmpty(t, w.errors())
	w.wire.fail(nil)
	w.eventually(recovery+rig.Shows, "meeting")
	w.stop()
}

// content: what an appointment is, and that a change shows (BSP-2.6-1, BSP-3.2-6).
func content(t *testing.T, newRig func(*testing.T) Rig) {
	rig, zone := newRig(t), berlin(t)
	w := start(t, rig, Mail)
	w.eventually(rig.Shows)

	noon := time.Date(2000, 1, 3, 12, 0, 0, 0, zone)
	events := []Event{
		{ID: "1", Subject: "Lunch", Location: "Canteen", State: aa.CalendarFree, Begin: noon, Length: time.Hour},
		{ID: "2", Subject: "Review", State: aa.CalendarTentative, Begin: noon.Add(time.Hour), Length: 90 * time.Minute},
		{ID: "3", Subject: "Büro <&> \"Werkstatt\" – 会議", Location: "Straße 1; Haus 2, Tür 3", State: aa.CalendarBusy, Begin: noon.Add(2 * time.Hour), Length: time.Hour},
		{ID: "4", Subject: "Doctor", State: aa.CalendarBusy, Private: true, Begin: noon.Add(4 * time.Hour), Length: time.Hour},
		{ID: "5", Subject: "Holiday", State: aa.CalendarOutOfOffice, AllDay: true, Begin: noon.Add(12 * time.Hour), Length: 48 * time.Hour},
		{ID: "6", Subject: "Far away", State: aa.CalendarBusy, Begin: noon.AddDate(0, 2, 0), Length: time.Hour},
		{ID: "7", Subject: "Long ago", State: aa.CalendarBusy, Begin: noon.AddDate(0, -2, 0), Length: time.Hour},
	}
	rig.Set(events...)
	w.eventually(rig.Shows, "Lunch", "Review", events[2].Subject, "Doctor", "Holiday")
	shown, _ := w.shown()
	seen := make(map[string]bool)
	for i, got := range shown {
		want := events[i]
		require.Equal(t, want.State, got.State, want.Subject)
		require.Equal(t, want.Private, got.Private, want.Subject)
		require.Equal(t, want.AllDay, got.AllDay, want.Subject)
		require.Equal(t, want.Begin.UTC(), got.From.UTC(), want.Subject)
		require.Equal(t, want.Occurrences()[0].End.UTC(), got.End.UTC(), want.Subject)
		if !want.Private { // a server may keep what is private to itself
			require.Equal(t, want.Location, got.Location, want.Subject)
		}
		require.NotEmpty(t, got.ID)
		require.False(t, seen[got.ID], "each has an ID of its own")
		seen[got.ID] = true
	}

	time.Sleep(3 * rig.Shows)
	again, _ := w.shown()
	require.Equal(t, shown, again, "IDs and all stay")

	events[0].Subject = "Late lunch"
	events[0].Begin = events[0].Begin.Add(30 * time.Minute)
	rig.Set(events[0])
	w.eventually(rig.Shows, "Late lunch")
	shown, _ = w.shown()
	require.Equal(t, noon.Add(30*time.Minute).UTC(), shown[0].From.UTC())
	rig.Set()
	w.eventually(rig.Shows)
	w.stop()
}

// begins returns when what is shown begins, in UTC.
func (w *watch) begins() (all []string) {
	shown, _ := w.shown()
	for _, a := range shown {
		all = append(all, a.From.UTC().Format("01-02 15:04")+" "+a.End.Sub(a.From).String())
	}
	return all
}

// series: of a series, one occurrence is cancelled and one is moved.
func series(t *testing.T, newRig func(*testing.T) Rig) {
	rig, zone := newRig(t), berlin(t)
	rig.Set(Event{
		ID: "standup", Subject: "Stand-up", State: aa.CalendarBusy, Begin: time.Date(2000, 1, 3, 9, 30, 0, 0, zone), Length: 15 * time.Minute,
		Days: 6, Without: []int{1}, Later: map[int]time.Duration{3: 5 * time.Hour},
	})
	w := start(t, rig, Mail)
	w.eventually(rig.Shows, "Stand-up", "Stand-up", "Stand-up", "Stand-up", "Stand-up")
	require.Equal(t, []string{"01-03 08:30 15m0s", "01-05 08:30 15m0s", "01-06 13:30 15m0s", "01-07 08:30 15m0s", "01-08 08:30 15m0s"}, w.begins())
	shown, _ := w.shown()
	ids := make(map[string]bool)
	for _, a := range shown {
		ids[a.ID] = true
	}
	require.Len(t, ids, 5, "each has an ID of its own")
	w.stop()
}

// midnight: nothing changes at the server, and still what is shown does: the window
// moves.
func midnight(t *testing.T, newRig func(*testing.T) Rig) {
	zone := berlin(t)
	time.Sleep(time.Until(time.Date(2000, 1, 10, 22, 30, 0, 0, zone)))
	rig := newRig(t)
	day := time.Date(2000, 1, 10, 0, 0, 0, 0, zone)
	rig.Set(
		Event{ID: "1", Subject: "today", State: aa.CalendarFree, AllDay: true, Begin: day, Length: 24 * time.Hour},
		Event{ID: "2", Subject: "across", State: aa.CalendarBusy, Begin: day.Add(23*time.Hour + 45*time.Minute), Length: 30 * time.Minute},
		Event{ID: "3", Subject: "tomorrow", State: aa.CalendarOutOfOffice, AllDay: true, Begin: day.AddDate(0, 0, 1), Length: 24 * time.Hour},
		Event{ID: "4", Subject: "in two weeks", State: aa.CalendarBusy, Begin: day.AddDate(0, 0, 15).Add(9 * time.Hour), Length: time.Hour},
	)
	w := start(t, rig, Mail)
	w.eventually(rig.Shows, "today", "across", "tomorrow")
	want := []string{"01-09 23:00 24h0m0s", "01-10 22:45 30m0s", "01-10 23:00 24h0m0s"}
	require.Equal(t, want, w.begins())
	time.Sleep(4 * time.Hour)
	require.Equal(t, want, w.begins(), "after midnight")
	time.Sleep(26 * time.Hour)
	w.eventually(rig.Shows, "tomorrow", "in two weeks")
	w.stop()
}

// summerTimeBegins: a day of 23 hours; a series stays at its time of the clock.
func summerTimeBegins(t *testing.T, newRig func(*testing.T) Rig) {
	zone := berlin(t)
	day := time.Date(2000, 3, 26, 0, 0, 0, 0, zone)
	require.Equal(t, []string{
		"03-25 11:00 1h0m0s", "03-25 23:00 23h0m0s", "03-26 00:30 1h0m0s", "03-26 10:00 1h0m0s", "03-27 10:00 1h0m0s",
	}, changeOfTime(t, newRig, day))
}

// summerTimeEnds: a day of 25 hours.
func summerTimeEnds(t *testing.T, newRig func(*testing.T) Rig) {
	zone := berlin(t)
	day := time.Date(2000, 10, 29, 0, 0, 0, 0, zone)
	require.Equal(t, []string{
		"10-28 10:00 1h0m0s", "10-28 22:00 25h0m0s", "10-28 23:30 3h0m0s", "10-29 11:00 1h0m0s", "10-30 11:00 1h0m0s",
	}, changeOfTime(t, newRig, day))
}

func changeOfTime(t *testing.T, newRig func(*testing.T) Rig, day time.Time) []string {
	time.Sleep(time.Until(day.Add(-14 * time.Hour)))
	rig := newRig(t)
	rig.Set(
		Event{ID: "1", Subject: "all day", State: aa.CalendarFree, AllDay: true, Begin: day, Length: 24 * time.Hour},
		Event{ID: "2", Subject: "at night", State: aa.CalendarBusy, Begin: onClock(day, 90*time.Minute), Length: 2 * time.Hour},
		Event{ID: "3", Subject: "at noon", State: aa.CalendarBusy, Begin: onClock(day, -12*time.Hour), Length: time.Hour, Days: 3},
	)
	w := start(t, rig, Mail)
	w.eventually(rig.Shows, "at noon", "all day", "at night", "at noon", "at noon")
	before := w.begins()
	time.Sleep(24 * time.Hour)
	require.Equal(t, before, w.begins(), "once the clocks have changed")
	w.stop()
	return before
}

// tenThousand: a full mailbox is shown in part, and what is now is of that part
// (BSX-4).
func tenThousand(t *testing.T, newRig func(*testing.T) Rig) {
	rig := newRig(t)
	begin := time.Now().In(berlin(t)).Add(-20 * time.Hour).Truncate(time.Minute)
	var events []Event
	for i := range 10_000 {
		events = append(events, Event{
			ID: fmt.Sprint(i), Subject: fmt.Sprint(i), State: aa.CalendarBusy, Begin: begin.Add(time.Duration(i) * time.Minute), Length: time.Minute,
		})
	}
	rig.Set(events...)
	w := start(t, rig, Mail)
	time.Sleep(rig.Shows)
	shown, known := w.shown()
	require.True(t, known, "errors: %v", w.errors())
	require.Len(t, shown, 1000)
	now := time.Now()
	require.True(t, shown[0].From.Before(now) || shown[1].From.Before(now.Add(rig.Shows)), "the present is in it")
	require.True(t, shown[999].From.After(now))
	w.stop()
}

// throttled: a server that asks to be left alone is left alone.
func throttled(t *testing.T, newRig func(*testing.T) Rig) {
	const wait = 5 * time.Minute
	rig := newRig(t)
	rig.Set(soon(t, "meeting", 2*time.Hour))
	w := start(t, rig, Mail)
	w.eventually(rig.Shows, "meeting")
	var told atomic.Bool
	w.wire.fail(answer(func(rw http.ResponseWriter, r *http.Request) {
		told.Store(true)
		rig.Throttle(rw, r, wait)
	}))
	for !told.Load() {
		time.Sleep(time.Second)
	}
	time.Sleep(2 * time.Second)
	w.wire.count()
	time.Sleep(wait - 3*time.Second)
	require.Zero(t, w.wire.count(), "requests before the time that the server named")
	time.Sleep(4 * wait)
	require.LessOrEqual(t, w.wire.count(), 12)
	w.wire.fail(nil)
	w.eventually(2*wait+rig.Shows, "meeting")
	w.always("meeting")
	w.stop()
}

// refused: credentials that the server does not take are not sent again and again, lest
// the account is locked.
func refused(t *testing.T, newRig func(*testing.T) Rig) {
	rig := newRig(t)
	rig.Set(soon(t, "meeting", 3*time.Hour))
	w := start(t, rig, Mail)
	w.eventually(rig.Shows, "meeting")
	w.wire.fail(answer(rig.Refuse))
	time.Sleep(rig.Shows + 3*grace)
	require.NotEmpty(t, w.errors(), "at once: no tolerance")
	_, known := w.shown()
	require.False(t, known)
	w.wire.count()
	time.Sleep(30 * time.Minute)
	require.LessOrEqual(t, w.wire.count(), 20, "requests in half an hour")
	w.wire.fail(nil)
	w.eventually(10*time.Minute+rig.Shows, "meeting")
	w.always("meeting")
	w.stop()
}

// moved: a mailbox that moves is found again, and never looks empty.
func moved(t *testing.T, newRig func(*testing.T) Rig) {
	rig := newRig(t)
	rig.Set(soon(t, "meeting", 2*time.Hour))
	w := start(t, rig, Mail)
	w.eventually(rig.Shows, "meeting")
	rig.Move()
	time.Sleep(10*time.Minute + rig.Shows)
	w.eventually(0, "meeting")
	w.always("meeting")
	w.stop()
}

// unknown: of a mailbox that is not there, nothing is shown, and it is seldom asked for.
func unknown(t *testing.T, newRig func(*testing.T) Rig) {
	rig := newRig(t)
	w := start(t, rig, Unknown)
	time.Sleep(time.Hour)
	require.NotEmpty(t, w.errors())
	w.always("anything: not even an empty calendar is shown")
	require.LessOrEqual(t, w.wire.count(), 60, "requests in an hour")
	w.stop()
}
