package presence_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/sipx"
)

// hold makes the network keep its answers back, and returns what lets the oldest
// of them go.
func (p *peers) hold() {
	p.answering(func(*sipx.Request) (*sipx.Response, error) { return nil, nil })
}

func (n *notify) ok()                      { n.done.HandleResponse(n.Request, sipx.NewResponse(200), nil) }
func (n *notify) fail(status int)          { n.done.HandleResponse(n.Request, sipx.NewResponse(status), nil) }
func (n *notify) lost()                    { n.done.HandleResponse(n.Request, nil, sipx.ErrTimeout) }
func (n *notify) note(t *testing.T) string { return n.shown(t).note }

// BSP-4-4, BSX-3: one NOTIFY of a presentity at a time in a subscription; what
// comes meanwhile is skipped but for the newest.
func TestOneNotifyAtATime(t *testing.T) {
	w := newWorld(t)
	watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	w.net.take()
	w.net.hold()
	tom := w.client("tom", "192.0.2.8")
	tag := etag(tom.status("", "busy", "1"))
	first := watcher.one()
	for i := 2; i <= 5; i++ {
		tom.status(tag, "busy", strconv.Itoa(i))
		require.Empty(t, w.net.take())
	}
	first.ok()
	second := watcher.one()
	require.Equal(t, "5", second.note(t))
	require.Equal(t, first.CSeq+1, second.CSeq)
	second.ok()
	require.Empty(t, w.net.take())
}

// BSP-4-4: several presentities of a list may be under way together.
func TestListNotifiesTogether(t *testing.T) {
	w := newWorld(t)
	w.net.hold()
	s, _ := w.client("ann", "192.0.2.7").list("sip:eve@example.com", "sip:ann@example.com", "sip:tom@example.com", "sip:bob@example.com")
	s.one().ok()
	sent := s.of(w.net.take())
	require.Len(t, sent, 3)
	tag := etag(w.client("tom", "192.0.2.8").status("", "busy", "1"))
	require.Empty(t, w.net.take())
	sent[0].ok()
	require.Empty(t, w.net.take(), "tom's is still under way")
	w.client("tom", "192.0.2.8").status(tag, "busy", "2")
	sent[1].ok()
	n := s.one()
	require.Equal(t, "2", n.note(t))
	require.Equal(t, uint32(5), n.CSeq)
}

// BSX-9: until a watcher has answered, one NOTIFY of its dialog is under way; then
// three over UDP, and 32 over a connection. All of a long list arrive.
func TestNotifyWindow(t *testing.T) {
	for _, tt := range []struct {
		flow   sipx.Flow
		window int
	}{{sipx.Flow{}, 3}, {tcp(7), 32}} {
		w := newWorld(t)
		w.net.hold()
		e := w.client("ann", "192.0.2.7")
		e.flow = tt.flow
		uris := []string{"sip:ann@example.com"}
		for i := range 199 {
			uris = append(uris, "sip:friend"+strconv.Itoa(i)+"@example.com")
		}
		s, _ := e.list(uris...)
		waiting := s.of(w.net.take())
		require.Len(t, waiting, 1)
		shown := map[string]bool{}
		for len(waiting) > 0 {
			shown[waiting[0].doc(t).Entity] = true
			waiting[0].ok()
			waiting = append(waiting[1:], s.of(w.net.take())...)
			require.LessOrEqual(t, len(waiting), tt.window)
			if len(shown) < 100 {
				require.Len(t, waiting, tt.window)
			}
		}
		require.Len(t, shown, 200)
	}
}

// The last NOTIFY of a subscription follows the one under way.
func TestFinalNotifyFollows(t *testing.T) {
	w := newWorld(t)
	w.net.hold()
	s, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	first := s.one()
	require.Equal(t, 200, s.end().Status)
	require.Empty(t, w.net.take())
	first.ok()
	last := s.one()
	require.Equal(t, "terminated;reason=timeout", last.state())
	last.ok()
	require.Empty(t, w.net.take())
}

// RFC 6665 §4.2.2, RFC 5057: what answers to a NOTIFY mean.
func TestNotifyOutcomes(t *testing.T) {
	for status, ends := range map[int]bool{
		200: false, 202: false, 400: false, 403: false, 404: true, 405: true, 408: true, 410: true, 415: false, 416: true, 480: true,
		481: true, 482: true, 483: true, 484: true, 485: true, 486: false, 489: true, 500: false, 501: true, 503: false, 604: true,
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			w := newWorld(t)
			w.net.hold()
			s, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
			s.one().fail(status)
			require.Equal(t, map[bool]int{true: 481, false: 200}[ends], s.refresh().Status)
		})
	}
}

// BSX-3: a NOTIFY answered "not now" is tried again, with back-off, and shows the
// newest state then.
func TestNotifyTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.net.hold()
		s, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		n := s.one()
		res := sipx.NewResponse(503, sipx.Field{Name: "Retry-After", Value: "20"})
		n.done.HandleResponse(n.Request, res, nil)
		tom := w.client("tom", "192.0.2.8")
		tag := etag(tom.status("", "busy", "newer"))
		tom.status(tag, "busy", "newest")
		time.Sleep(19 * time.Second)
		synctest.Wait()
		require.Empty(t, s.of(w.net.take()), "it asked for 20 s")
		time.Sleep(time.Second)
		synctest.Wait()
		again := s.one()
		require.Equal(t, "newest", again.note(t))
		require.Equal(t, n.CSeq+1, again.CSeq)
		again.fail(500)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		again = s.one()
		require.Equal(t, "newest", again.note(t))
		again.fail(500)
		require.Equal(t, 200, s.refresh().Status)
		again = s.one() // a watcher that refreshes is there
		again.ok()
		time.Sleep(10 * time.Minute)
		for _, n := range s.of(w.net.take()) {
			require.NotEqual(t, "active", n.state()[:6], "nothing after it was delivered but the end")
		}
	})
}

// A dead watcher costs its own queue only: the others have the newest state while
// its NOTIFY waits, and it is let go when that fails.
func TestDeadWatcher(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		dead, _ := w.standard("bob", "192.0.2.66").subscribe("sip:tom@example.com")
		live, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.net.take()
		w.net.answering(func(req *sipx.Request) (*sipx.Response, error) {
			if req.CallID == dead.callID {
				return nil, nil
			}
			return sipx.NewResponse(200), nil
		})
		tom := w.client("tom", "192.0.2.8")
		tag := etag(tom.status("", "busy", "0"))
		waiting := dead.of(w.net.take())
		require.Len(t, waiting, 1)
		for i := range 10 {
			tom.status(tag, "busy", strconv.Itoa(i+1))
			require.Equal(t, strconv.Itoa(i+1), live.one().note(t))
		}
		waiting[0].lost()
		require.Empty(t, w.net.take())
		require.Equal(t, 481, dead.refresh().Status)
		require.Equal(t, 1, w.server.Stats().Subscriptions)
	})
}

// A list whose NOTIFYs all fail in one moment has had one bad moment, not many.
func TestUnreachableList(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.net.answering(func(*sipx.Request) (*sipx.Response, error) { return nil, errors.New("network is unreachable") })
		uris := []string{"sip:ann@example.com"}
		for i := range 20 {
			uris = append(uris, "sip:friend"+strconv.Itoa(i)+"@example.com")
		}
		s, _ := w.client("ann", "192.0.2.7").list(uris...)
		w.net.answering(nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		shown := map[string]bool{}
		for _, n := range s.of(w.net.take()) {
			shown[n.doc(t).Entity] = true
		}
		require.Len(t, shown, len(uris))
		require.Equal(t, 200, s.refresh().Status)
	})
}

// A network that fails for a while ends nobody's subscription; one that does for
// more than a minute does.
func TestUnreachable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		down := errors.New("network is unreachable")
		w.net.answering(func(*sipx.Request) (*sipx.Response, error) { return nil, down })
		s, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		time.Sleep(20 * time.Second)
		w.net.answering(nil)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		sent := s.of(w.net.take())
		require.Greater(t, len(sent), 2)
		require.Equal(t, 200, s.refresh().Status)
		w.net.answering(func(*sipx.Request) (*sipx.Response, error) { return nil, down })
		s.refresh()
		time.Sleep(2 * time.Minute)
		require.Equal(t, 481, s.refresh().Status)
		s, _ = w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.net.answering(func(*sipx.Request) (*sipx.Response, error) { return nil, sipx.ErrTooLarge })
		require.Equal(t, 200, s.refresh().Status)
	})
}

// A full queue at the stack is not the watcher's fault.
func TestQueueFull(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.net.answering(func(*sipx.Request) (*sipx.Response, error) { return nil, sipx.ErrQueueFull })
		s, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.net.take()
		w.net.answering(nil)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Len(t, s.of(w.net.take()), 1)
		require.Equal(t, 200, s.refresh().Status)
	})
}

// Shutdown ends every subscription with a NOTIFY (terminated, deactivated),
// refuses what comes meanwhile, waits for the answers within its context, and
// may be called again.
func TestShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		a, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		l, _ := w.client("bob", "192.0.2.9").list("sip:bob@example.com", "sip:tom@example.com")
		w.client("tom", "192.0.2.8").status("", "busy", "")
		w.net.take()
		w.net.hold()
		done := make(chan error)
		go func() { done <- w.server.Shutdown(t.Context()) }()
		synctest.Wait()
		sent := w.net.take()
		require.Len(t, sent, 2)
		for _, n := range sent {
			require.Equal(t, "terminated;reason=deactivated", n.state())
		}
		require.Len(t, a.of(sent), 1)
		require.Len(t, l.of(sent), 1)
		_, res := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, 503, res.Status)
		require.NotEmpty(t, res.Header.Get("Retry-After"))
		select {
		case <-done:
			t.Fatal("did not wait for the answers")
		default:
		}
		sent[0].ok()
		sent[1].lost()
		require.NoError(t, <-done)
		require.NoError(t, w.server.Shutdown(t.Context()))
	})
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.net.hold()
		ctx, cancel := contextWithTimeout(t, 5*time.Second)
		defer cancel()
		began := time.Now()
		require.Error(t, w.server.Shutdown(ctx))
		require.Equal(t, 5*time.Second, time.Since(began))
	})
}

// Two servers in one process do not know of each other.
func TestTwoServers(t *testing.T) {
	a, b := newWorld(t), newWorld(t)
	s, _ := a.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	a.net.take()
	b.client("tom", "192.0.2.8").status("", "busy", "")
	require.Empty(t, a.net.take())
	s.e.w = b
	require.Equal(t, 481, s.refresh().Status)
}

// BSX-1: a hook hears of users whom nobody watches, also of what happens by
// itself.
func TestObserverOfTheUnwatched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var notes []string
		w := newWorld(t, func(c *presence.Config) {
			c.Hooks.Changed = func(ch presence.Change) {
				mu.Lock()
				defer mu.Unlock()
				notes = append(notes, ch.Entity[4:7]+" "+ch.Note)
			}
		})
		feed := w.server.Feed()
		now := time.Now()
		require.NoError(t, feed.SetLine(t.Context(), "2719", busyLine))
		require.NoError(t, feed.SetLine(t.Context(), "2719", idleLine))
		require.NoError(t, feed.SetCalendar(t.Context(), "ann@example.com", presence.CalendarState{Lifetime: time.Hour, Appointments: []aa.Appointment{
			{State: aa.CalendarBusy, From: now.Add(time.Minute), End: now.Add(2 * time.Minute)}}}))
		require.NoError(t, feed.SetExternal(t.Context(), "bob@example.com", presence.ExternalState{Status: aa.StatusAway}))
		require.NoError(t, feed.SetLine(t.Context(), "999", busyLine), "nobody's")
		time.Sleep(3 * time.Minute)
		mu.Lock()
		require.Equal(t, []string{"tom In a call", "tom Signed out", "bob Away", "ann In a meeting", "ann Signed out"}, notes)
		mu.Unlock()
		require.NoError(t, feed.ClearExternal(t.Context(), "bob@example.com"))
		time.Sleep(time.Hour)
		require.Equal(t, 1, w.server.Stats().Presentities, "tom's line stays known")
	})
}

// BSX-1: what the hooks are told.
func TestObserver(t *testing.T) {
	var changes []presence.Change
	var statuses []int
	w := newWorld(t, func(c *presence.Config) {
		c.Hooks.Changed = func(ch presence.Change) { changes = append(changes, ch) }
		c.Hooks.Request = func(_ string, status int, _ time.Duration) { statuses = append(statuses, status) }
	})
	tom := w.client("tom", "192.0.2.8")
	tag := etag(tom.status("", "busy", "x"))
	tom.status(tag, "busy", "x")
	tom.status("bad", "busy", "x")
	tom.publish(tag, "", "Expires: 0")
	require.Len(t, changes, 2)
	require.Equal(t, presence.Change{Entity: "sip:tom@example.com", Status: consolidation.StatusBusy, Note: "x", Timestamp: changes[0].Timestamp}, changes[0])
	require.Equal(t, consolidation.StatusSignedOut, changes[1].Status)
	require.Equal(t, []int{200, 200, 200, 200}, statuses)
}
