package presence_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

var (
	busyLine = presence.LineState{State: aa.LineBusy}
	idleLine = presence.LineState{State: aa.LineIdle}
)

// BSP-2.5-1, BSP-3.1-1: a line's state goes to all watchers, as a device with the
// time of its last change.
func TestLineState(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		feed := w.server.Feed()
		require.NoError(t, feed.SetLine(t.Context(), "201", presence.LineState{State: aa.LineIdle, Forward: "6894"}), "kept although nobody watches")
		watcher, _ := w.client("tom", "192.0.2.7").subscribe("sip:ann@example.com")
		doc := watcher.one().doc(t)
		require.Len(t, doc.Devices, 2)
		require.Equal(t, "tel:200", doc.Devices[0].ID)
		require.Equal(t, aa.LineUnknown, aa.LineOf(&doc.Devices[0]).State)
		require.Equal(t, "tel:201", doc.Devices[1].ID)
		require.Equal(t, "201", aa.LineOf(&doc.Devices[1]).DN)
		require.Equal(t, aa.LineIdle, aa.LineOf(&doc.Devices[1]).State)
		require.Equal(t, "immediate", aa.LineOf(&doc.Devices[1]).Forward.Type)
		require.Equal(t, "6894", aa.LineOf(&doc.Devices[1]).Forward.Destination)

		time.Sleep(time.Hour) // long gone
		watcher, _ = w.client("tom", "192.0.2.7").subscribe("sip:ann@example.com")
		w.net.take()
		at := time.Now()
		require.NoError(t, feed.SetLine(t.Context(), "200", presence.LineState{State: aa.LineRinging}))
		n := watcher.one()
		require.Equal(t, aa.LineRinging, aa.LineOf(&n.doc(t).Devices[0]).State)
		require.True(t, at.Equal(n.doc(t).Devices[0].Timestamp))
		require.Equal(t, "other:signed out", n.shown(t).activity, "ringing says nothing")
		time.Sleep(time.Second)
		require.NoError(t, feed.SetLine(t.Context(), "200", busyLine))
		require.Equal(t, shown{"sip:ann@example.com", "busy", "In a call", "signed out", ""}, watcher.one().shown(t))
		require.NoError(t, feed.SetLine(t.Context(), "200", busyLine))
		require.Empty(t, w.net.take(), "BSP-2.5-2")
		require.NoError(t, feed.SetLine(t.Context(), "200", idleLine))
		require.Equal(t, "other:signed out", watcher.one().shown(t).activity)
	})
}

// BSP-2.6-1, BSP-3.2-4, BSP-3.2-5: a meeting starts and ends by itself; the
// document has the running appointments, else the next.
func TestCalendar(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		feed := w.server.Feed()
		now := time.Now()
		meeting := func(id string, from, to time.Duration, state aa.CalendarState) aa.Appointment {
			return aa.Appointment{ID: id, State: state, Subject: "S" + id, From: now.Add(from), End: now.Add(to)}
		}
		tom := w.client("tom", "192.0.2.8")
		tag := etag(tom.status("", "available", ""))
		watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.net.take()
		require.NoError(t, feed.SetCalendar(t.Context(), " TOM@example.com", presence.CalendarState{Appointments: []aa.Appointment{
			meeting("3", 180*time.Second, 200*time.Second, aa.CalendarTentative),
			meeting("1", 60*time.Second, 120*time.Second, aa.CalendarBusy),
			meeting("2", 90*time.Second, 150*time.Second, aa.CalendarOutOfOffice),
			meeting("0", -60*time.Second, -30*time.Second, aa.CalendarBusy),
		}}))
		type moment struct {
			at  time.Duration
			act string
			ids string
		}
		var got []moment
		for range 210 {
			for _, n := range watcher.of(w.net.take()) {
				m := moment{at: n.at.Sub(now), act: n.shown(t).note}
				for _, a := range aa.PresenceOf(&n.doc(t).Persons[0]).Calendar {
					m.ids += a.ID
				}
				got = append(got, m)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
		require.Equal(t, []moment{
			{60 * time.Second, "In a meeting", "1"},
			{90 * time.Second, "In a meeting", "12"},
			{120 * time.Second, "Available", "2"},
			{150 * time.Second, "Available", ""},
			{180 * time.Second, "Available", "3"},
			{200 * time.Second, "Available", ""},
		}, got)
		_ = tag
	})
}

// BSP-3.2-6: a private appointment shows its times and state, never subject or
// location, whoever else sees more.
func TestPrivateAppointment(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	require.NoError(t, w.server.Feed().SetCalendar(t.Context(), "tom@example.com", presence.CalendarState{Appointments: []aa.Appointment{{
		ID: "1", State: aa.CalendarBusy, Subject: "DOCTOR", Location: "CLINIC", Private: true, From: now.Add(-time.Hour), End: now.Add(time.Hour),
	}}}))
	for _, e := range []*endpoint{w.client("ann", "192.0.2.7"), w.client("tom", "192.0.2.8"), w.standard("bob", "192.0.2.9")} {
		s, _ := e.subscribe("sip:tom@example.com")
		n := s.of(w.net.take())[0]
		a := aa.PresenceOf(&n.doc(t).Persons[0]).Calendar[0]
		require.True(t, a.Private)
		require.True(t, a.From.Equal(now.Add(-time.Hour).Truncate(time.Second)))
		require.NotContains(t, string(n.Body), "DOCTOR", "not even to tom, who was not authenticated")
		require.NotContains(t, string(n.Body), "CLINIC")
	}
}

// BSP-3.2-5: a setting adds the next appointment.
func TestNextAppointment(t *testing.T) {
	w := newWorld(t, func(c *presence.Config) { c.NextAppointment = true })
	watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	w.net.take()
	now := time.Now()
	require.NoError(t, w.server.Feed().SetCalendar(t.Context(), "tom@example.com", presence.CalendarState{Appointments: []aa.Appointment{
		{ID: "2", State: aa.CalendarBusy, From: now.Add(2 * time.Hour), End: now.Add(3 * time.Hour)},
		{ID: "1", State: aa.CalendarBusy, From: now.Add(time.Hour), End: now.Add(2 * time.Hour)},
	}}))
	shown := aa.PresenceOf(&watcher.one().doc(t).Persons[0]).Calendar
	require.Len(t, shown, 1)
	require.Equal(t, "1", shown[0].ID)
}

// BSP-2.7-1, BSP-3.2-3: external presence, and that signed out plus external
// available is available.
func TestExternal(t *testing.T) {
	w := newWorld(t)
	feed := w.server.Feed()
	watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	tom := w.client("tom", "192.0.2.8")
	tom.status("", "signed out", "")
	w.net.take()
	external := presence.ExternalState{Status: aa.StatusAvailable, FreeText: "Working on BluStar", FwdDestination: "sip:x@example.com"}
	require.NoError(t, feed.SetExternal(t.Context(), "tel:2719", external))
	n := watcher.one()
	require.Equal(t, shown{"sip:tom@example.com", "other:available", "Available", "signed out", ""}, n.shown(t))
	uc := aa.PresenceOf(&n.doc(t).Persons[0]).ExternalUC
	require.Equal(t, "Working on BluStar", uc.FreeText)
	require.Equal(t, "sip:x@example.com", uc.FwdDestination)
	require.False(t, uc.Timestamp.IsZero())
	external.TelephoneEvent = "on-the-phone"
	require.NoError(t, feed.SetExternal(t.Context(), "tom@example.com", external))
	require.Equal(t, "In a call", watcher.one().shown(t).note)
	require.NoError(t, feed.ClearExternal(t.Context(), "sip:tom@example.com"))
	n = watcher.one()
	require.Equal(t, "other:signed out", n.shown(t).activity)
	require.Nil(t, aa.PresenceOf(&n.doc(t).Persons[0]).ExternalUC)
	require.ErrorIs(t, feed.SetExternal(t.Context(), "nobody@example.com", external), directory.ErrNotFound)
}

// A directory number is the same in each way of writing it.
func TestLineSpellings(t *testing.T) {
	w := newWorld(t)
	watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	w.net.take()
	for i, dn := range []string{"2719", "tel:2719", "27-19", " 2 719 ", "2719;phone-context=x"} {
		state := []presence.LineState{busyLine, idleLine}[i%2]
		require.NoError(t, w.server.Feed().SetLine(t.Context(), dn, state))
		require.Equal(t, state.State, aa.LineOf(&watcher.one().doc(t).Devices[0]).State, dn)
	}
}

// BSX-4: what a host is told is checked, and the error names the field.
func TestFeedInput(t *testing.T) {
	w := newWorld(t, func(c *presence.Config) { c.MaxSources = 3; c.MaxAppointments = 1 })
	feed := w.server.Feed()
	now := time.Now()
	ok := aa.Appointment{State: aa.CalendarBusy, From: now, End: now.Add(1)}
	for field, err := range map[string]error{
		"state":        feed.SetLine(t.Context(), "2719", presence.LineState{State: "off"}),
		"dn":           feed.SetLine(t.Context(), " ", idleLine),
		"lifetime":     feed.SetLine(t.Context(), "2719", presence.LineState{State: aa.LineIdle, Lifetime: -1}),
		"[0].end":      feed.SetCalendar(t.Context(), "m", presence.CalendarState{Appointments: []aa.Appointment{{State: aa.CalendarBusy, From: now, End: now}}}),
		"[0].state":    feed.SetCalendar(t.Context(), "m", presence.CalendarState{Appointments: []aa.Appointment{{From: now, End: now.Add(1)}}}),
		"appointments": feed.SetCalendar(t.Context(), "m", presence.CalendarState{Appointments: []aa.Appointment{ok, ok}}),
		"mail":         feed.SetCalendar(t.Context(), "", presence.CalendarState{}),
		"status":       feed.SetExternal(t.Context(), "tom@example.com", presence.ExternalState{Status: "gone"}),
		"address":      feed.SetExternal(t.Context(), "@", presence.ExternalState{Status: "busy"}),
	} {
		var input *presence.InputError
		require.ErrorAs(t, err, &input, field)
		require.Equal(t, field, input.Field)
	}
	for _, dn := range []string{"1", "2", "3"} {
		require.NoError(t, feed.SetLine(t.Context(), dn, idleLine))
	}
	require.ErrorIs(t, feed.SetLine(t.Context(), "4", idleLine), presence.ErrTooMany)
	require.NoError(t, feed.SetLine(t.Context(), "3", busyLine), "who is in stays in")
}

// BSX-2: a value with a lifetime fades to unknown by itself.
func TestLifetime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.net.take()
		require.NoError(t, w.server.Feed().SetLine(t.Context(), "2719", presence.LineState{State: aa.LineBusy, Lifetime: time.Minute}))
		require.Equal(t, "In a call", watcher.one().shown(t).note)
		time.Sleep(50 * time.Second)
		require.NoError(t, w.server.Feed().SetLine(t.Context(), "2719", presence.LineState{State: aa.LineBusy, Lifetime: time.Minute}))
		time.Sleep(59 * time.Second)
		require.Empty(t, w.net.take())
		time.Sleep(2 * time.Second)
		n := watcher.one()
		require.Equal(t, "other:signed out", n.shown(t).activity)
		require.Equal(t, aa.LineUnknown, aa.LineOf(&n.doc(t).Devices[0]).State)
	})
}

// monitor is a LineMonitor, CalendarMonitor and ExternalMonitor under the test's
// control.
type monitor struct {
	mu      sync.Mutex
	running map[string]int
	starts  map[string]int
	lines   map[string]func(presence.LineState)
	fail    chan error
}

func newMonitor() *monitor {
	return &monitor{running: map[string]int{}, starts: map[string]int{}, lines: map[string]func(presence.LineState){}, fail: make(chan error)}
}

func (m *monitor) run(ctx context.Context, key string) error {
	m.mu.Lock()
	m.running[key]++
	m.starts[key]++
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.running[key]--
		m.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-m.fail:
		return err
	}
}

func (m *monitor) MonitorLine(ctx context.Context, dn string, update func(presence.LineState)) error {
	m.mu.Lock()
	m.lines[dn] = update
	m.mu.Unlock()
	return m.run(ctx, "line "+dn)
}

func (m *monitor) MonitorCalendar(ctx context.Context, mail string, _ func(presence.CalendarState)) error {
	return m.run(ctx, "calendar "+mail)
}

func (m *monitor) MonitorExternal(ctx context.Context, user directory.Entry, _ func(presence.ExternalState)) error {
	return m.run(ctx, "external "+user.ID)
}

func (m *monitor) count() (running, starts int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.running {
		running += n
	}
	for _, n := range m.starts {
		starts += n
	}
	return running, starts
}

// BSP-2.1-6: monitors run from the first watcher to the linger time after the
// last, one for each source.
func TestMonitors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMonitor()
		w := newWorld(t, func(c *presence.Config) { c.Lines, c.Calendar, c.External = m, m, m })
		expect := func(running, starts int) {
			t.Helper()
			synctest.Wait()
			r, s := m.count()
			require.Equal(t, [2]int{running, starts}, [2]int{r, s})
		}
		tom := w.client("tom", "192.0.2.8")
		tom.status("", "busy", "")
		expect(0, 0)
		a, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		expect(3, 3)
		b, _ := w.client("bob", "192.0.2.9").subscribe("tel:2719")
		expect(3, 3)
		w.net.take()
		m.lines["2719"](busyLine)
		sent := w.net.take()
		require.Equal(t, "In a call", a.of(sent)[0].shown(t).note)
		require.Len(t, b.of(sent), 1)
		a.end()
		b.end()
		expect(3, 3)
		time.Sleep(29 * time.Second)
		expect(3, 3)
		a, _ = w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		time.Sleep(30 * time.Second)
		expect(3, 3)
		a.end()
		time.Sleep(31 * time.Second)
		expect(0, 3)
		a, _ = w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		expect(3, 6)
		list := a.of(w.net.take())
		require.Equal(t, aa.LineUnknown, aa.LineOf(&list[len(list)-1].doc(t).Devices[0]).State, "nobody looked meanwhile")
	})
}

// BSX-4: a monitor's values are checked as the Feed's are; of a calendar the bad
// appointments are left out, the others are shown.
func TestMonitorInput(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMonitor()
		calendar := make(chan func(presence.CalendarState), 1)
		w := newWorld(t, func(c *presence.Config) {
			c.Lines, c.MaxAppointments = m, 2
			c.Calendar = calendarMonitor(func(ctx context.Context, update func(presence.CalendarState)) {
				calendar <- update
				<-ctx.Done()
			})
		})
		watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		synctest.Wait()
		w.net.take()
		m.lines["2719"](presence.LineState{State: "exploded"})
		require.Empty(t, w.net.take())
		now := time.Now()
		good := aa.Appointment{ID: "1", State: aa.CalendarBusy, From: now, End: now.Add(time.Hour)}
		empty, long := good, good
		empty.End, long.Subject = now, strings.Repeat("x", 2000)
		(<-calendar)(presence.CalendarState{Appointments: []aa.Appointment{empty, long, good, good, good}})
		require.Len(t, aa.PresenceOf(&watcher.one().doc(t).Persons[0]).Calendar, 2)
	})
}

// BSX-4: whatever somebody invites a user to, the NOTIFY fits a datagram, and has
// as many of the running appointments as do.
func TestCalendarFitsADatagram(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.net.take()
		now := time.Now()
		for text, shown := range map[string]int{strings.Repeat("&", 1000): 2, "Lunch": 16} {
			var all []aa.Appointment
			for i := range 20 {
				all = append(all, aa.Appointment{
					ID: strconv.Itoa(i), State: aa.CalendarBusy, Subject: text, Location: text, From: now, End: now.Add(time.Hour),
				})
			}
			require.NoError(t, w.server.Feed().SetCalendar(t.Context(), "tom@example.com", presence.CalendarState{Appointments: all}))
			n := watcher.one()
			require.Less(t, len(n.Body), 32<<10)
			require.Len(t, aa.PresenceOf(&n.doc(t).Persons[0]).Calendar, shown)
		}
	})
}

type calendarMonitor func(ctx context.Context, update func(presence.CalendarState))

func (f calendarMonitor) MonitorCalendar(ctx context.Context, _ string, update func(presence.CalendarState)) error {
	f(ctx, update)
	return ctx.Err()
}

// BSX-2: what a failed monitor said stays for the grace time; it is started
// again with back-off.
func TestMonitorFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMonitor()
		w := newWorld(t, func(c *presence.Config) { c.Lines = m })
		watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		synctest.Wait()
		w.net.take()
		m.lines["2719"](busyLine)
		watcher.one()
		m.fail <- errors.New("PBX gone")
		time.Sleep(2 * time.Second)
		_, starts := m.count()
		require.Equal(t, 2, starts)
		m.lines["2719"](busyLine) // it is back in time
		time.Sleep(2 * time.Minute)
		require.Empty(t, w.net.take())
		m.fail <- errors.New("PBX gone")
		time.Sleep(59 * time.Second)
		require.Empty(t, w.net.take())
		time.Sleep(2 * time.Second)
		require.Equal(t, "other:signed out", watcher.one().shown(t).activity)
	})
}

// silent is a LineMonitor that never learns anything.
type silent struct{}

func (silent) MonitorLine(ctx context.Context, _ string, _ func(presence.LineState)) error {
	<-ctx.Done()
	return nil
}

// BSX-4: a monitor that never said anything leaves nothing behind when it ends.
func TestSilentMonitorLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(c *presence.Config) { c.Lines, c.MaxSources = silent{}, 1 })
		s, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.ErrorIs(t, w.server.Feed().SetLine(t.Context(), "999", presence.LineState{State: aa.LineIdle}), presence.ErrTooMany)
		require.Equal(t, 200, s.end().Status)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NoError(t, w.server.Feed().SetLine(t.Context(), "999", presence.LineState{State: aa.LineIdle}))
	})
}
