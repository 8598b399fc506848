package ews_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/fakeews"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/ews"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tom = "tom@example.com"

// watch is a monitor at work for one mailbox.
type watch struct {
	t      testing.TB
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	states []presence.CalendarState
	err    error
}

func start(t testing.TB, m *ews.Monitor, mail string) *watch {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watch{t: t, cancel: cancel, done: make(chan struct{})}
	go func() {
		err := m.MonitorCalendar(ctx, mail, func(s presence.CalendarState) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.states = append(w.states, s)
		})
		w.mu.Lock()
		w.err = err
		w.mu.Unlock()
		close(w.done)
	}()
	synctest.Wait()
	return w
}

// stop ends it, and waits.
func (w *watch) stop() {
	w.cancel()
	<-w.done
}

func (w *watch) ended() (error, bool) {
	select {
	case <-w.done:
		return w.err, true
	default:
		return nil, false
	}
}

// count returns how many values there were.
func (w *watch) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.states)
}

// last returns the last value.
func (w *watch) last() presence.CalendarState {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.NotEmpty(w.t, w.states, w.err)
	return w.states[len(w.states)-1]
}

func (w *watch) ids() []string {
	w.t.Helper()
	out := []string{}
	for _, a := range w.last().Appointments {
		out = append(out, a.ID)
	}
	return out
}

func monitor(t testing.TB, cfg ews.Config) *ews.Monitor {
	m, err := ews.New(cfg)
	require.NoError(t, err)
	return m
}

// config is one for the fake.
func config(dial fakeews.Dialer) ews.Config {
	return ews.Config{
		URL: "http://localhost/EWS/Exchange.asmx", Dial: dial,
		Credentials: func(context.Context) (ews.Credentials, error) {
			return ews.Credentials{User: fakeews.User, Password: auth.NewSecret([]byte(fakeews.Password))}, nil
		},
	}
}

// in returns an item of an hour that begins so long from now.
func in(id string, d time.Duration) fakeews.Item {
	from := time.Now().Add(d).Truncate(time.Second)
	return fakeews.Item{ID: id, From: from, To: from.Add(time.Hour)}
}

// passes lets time pass.
func passes(d time.Duration) {
	time.Sleep(d) // on the clock of synctest
	synctest.Wait()
}

// TestStreaming: BSX-15, BSP-2.6-1. A change is seen within two seconds of the event, whatever the interval
// is, and otherwise the server is hardly asked.
func TestStreaming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		e.Add(tom, in("a", time.Hour))
		w := start(t, monitor(t, config(e.Serve(t))), tom)
		require.Equal(t, []string{"a"}, w.ids())
		require.Equal(t, []string{"FindItem"}, e.Operations(), "the first value does not wait for the stream")
		passes(2 * time.Minute)
		require.Equal(t, []string{"Subscribe", "GetStreamingEvents", "FindItem"}, e.Operations(), "once more, for what was missed before")

		values := w.count()
		passes(10 * time.Minute)
		require.Empty(t, e.Operations())
		require.Greater(t, w.count(), values+5, "the lifetime is renewed")

		e.Change(tom, func(b *fakeews.Mailbox) { b.Items = append(b.Items, in("b", 0)) })
		passes(1500 * time.Millisecond)
		require.Equal(t, []string{"b", "a"}, w.ids())
		require.Equal(t, []string{"FindItem"}, e.Operations(), "seven events, one question")

		e.Change(tom, func(b *fakeews.Mailbox) { b.Items = b.Items[:1] })
		passes(betweenQuestions)
		require.Equal(t, []string{"a"}, w.ids())
		passes(time.Hour)
		asked := e.Operations()
		require.Contains(t, asked, "GetStreamingEvents", "the server has closed one")
		require.LessOrEqual(t, len(asked), 7)

		w.stop()
		require.ErrorIs(t, w.err, context.Canceled)
		require.Equal(t, "Unsubscribe", lastOf(e.Operations()))
	})
}

const betweenQuestions = 2 * time.Second

func lastOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

// TestAffinity: a group has one anchor, whose cookie goes with every request of the group.
func TestAffinity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		m := monitor(t, config(e.Serve(t)))
		var watches []*watch
		mails := []string{"zoe@example.com", "al@example.com", "konstantin@example.com"}
		for _, mail := range mails {
			e.Add(mail, in("a", 0))
			watches = append(watches, start(t, m, mail))
		}
		passes(10 * time.Second)
		const anchor = "al@example.com" // the first
		var subscribed []string
		for _, q := range e.Requests() {
			switch q.Operation {
			case "FindItem":
				require.Equal(t, q.As, q.Anchor)
				require.False(t, q.Affinity)
				require.Empty(t, q.Cookie)
			case "Subscribe":
				subscribed = append(subscribed, q.As)
				require.Equal(t, anchor, q.Anchor)
				require.True(t, q.Affinity)
				require.Equal(t, q.As != anchor, q.Cookie != "")
			case "GetStreamingEvents":
				require.Equal(t, anchor, q.Anchor)
				require.Equal(t, anchor, q.As)
				require.True(t, q.Affinity)
				require.NotEmpty(t, q.Cookie)
			}
		}
		slices.Sort(mails)
		require.Equal(t, mails, subscribed)
		for i, mail := range []string{"zoe@example.com", "al@example.com", "konstantin@example.com"} {
			e.Change(mail, func(b *fakeews.Mailbox) { b.Items = append(b.Items, in("b", 0)) })
			passes(betweenQuestions)
			require.Len(t, watches[i].ids(), 2, mail)
		}
		for _, w := range watches {
			w.stop()
		}
	})
}

// TestAppointments: how what Exchange says is shown.
func TestAppointments(t *testing.T) {
	tests := []struct {
		name string
		item fakeews.Item
		cfg  func(*ews.Config)
		want *aa.Appointment // nil: nothing
	}{
		{"busy", fakeews.Item{Status: "Busy", Subject: "Plan", Location: "R1"}, nil, &aa.Appointment{State: aa.CalendarBusy, Subject: "Plan", Location: "R1"}},
		{"free", fakeews.Item{Status: "Free"}, nil, &aa.Appointment{State: aa.CalendarFree}},
		{"tentative", fakeews.Item{Status: "Tentative"}, nil, &aa.Appointment{State: aa.CalendarTentative}},
		{"out of office", fakeews.Item{Status: "OOF"}, nil, &aa.Appointment{State: aa.CalendarOutOfOffice}},
		{"no data", fakeews.Item{Status: "NoData"}, nil, &aa.Appointment{State: aa.CalendarUnknown}},
		{"of a later version", fakeews.Item{Status: "Focusing"}, nil, &aa.Appointment{State: aa.CalendarUnknown}},
		{"elsewhere", fakeews.Item{Status: "WorkingElsewhere"}, nil, &aa.Appointment{State: aa.CalendarFree}},
		{"elsewhere is busy", fakeews.Item{Status: "WorkingElsewhere"}, func(c *ews.Config) { c.WorkingElsewhere = aa.CalendarBusy }, &aa.Appointment{State: aa.CalendarBusy}},
		{"private", fakeews.Item{Sensitivity: "Private", Subject: "Doctor"}, nil, &aa.Appointment{State: aa.CalendarBusy, Subject: "Doctor", Private: true}},
		{"confidential", fakeews.Item{Sensitivity: "Confidential"}, nil, &aa.Appointment{State: aa.CalendarBusy, Private: true}},
		{"personal", fakeews.Item{Sensitivity: "Personal"}, nil, &aa.Appointment{State: aa.CalendarBusy}},
		{"personal is private", fakeews.Item{Sensitivity: "Personal"}, func(c *ews.Config) { c.PersonalIsPrivate = true }, &aa.Appointment{State: aa.CalendarBusy, Private: true}},
		{"sensitivity not known", fakeews.Item{Sensitivity: "Secret"}, nil, &aa.Appointment{State: aa.CalendarBusy, Private: true}},
		{"all day", fakeews.Item{AllDay: true}, nil, &aa.Appointment{State: aa.CalendarBusy, AllDay: true}},
		{"online", fakeews.Item{Online: true}, nil, &aa.Appointment{State: aa.CalendarBusy, Location: "Online meeting"}},
		{"online in a room", fakeews.Item{Online: true, Location: "R1"}, nil, &aa.Appointment{State: aa.CalendarBusy, Location: "R1"}},
		{"online in other words", fakeews.Item{Online: true}, func(c *ews.Config) { c.OnlineLocation = "Teams" }, &aa.Appointment{State: aa.CalendarBusy, Location: "Teams"}},
		{"cancelled", fakeews.Item{Cancelled: true}, nil, nil},
		{"declined", fakeews.Item{Response: "Decline"}, nil, nil},
		{"not answered", fakeews.Item{Status: "Tentative", Response: "NoResponseReceived"}, nil, &aa.Appointment{State: aa.CalendarTentative}},
		{"organized", fakeews.Item{Response: "Organizer"}, nil, &aa.Appointment{State: aa.CalendarBusy}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := fakeews.New()
				i := tt.item
				i.ID, i.From = "a", time.Now().Truncate(time.Second)
				i.To = i.From.Add(time.Hour)
				e.Add(tom, i)
				cfg := config(e.Serve(t))
				if tt.cfg != nil {
					tt.cfg(&cfg)
				}
				w := start(t, monitor(t, cfg), tom)
				got := w.last().Appointments
				w.stop()
				if tt.want == nil {
					require.Empty(t, got)
					return
				}
				tt.want.ID, tt.want.From, tt.want.End = "a", i.From.UTC(), i.To.UTC()
				require.Equal(t, []aa.Appointment{*tt.want}, got)
			})
		})
	}
}

// TestWindow: what does not end after it begins, or lies elsewhere, is not shown; and the window moves.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		moment := in("moment", 0)
		moment.To = moment.From
		e.Add(tom, moment, in("yesterday", -23*time.Hour), in("long ago", -26*time.Hour), in("later", 13*24*time.Hour), in("too late", 14*24*time.Hour+30*time.Minute))
		w := start(t, monitor(t, config(e.Serve(t))), tom)
		require.Equal(t, []string{"yesterday", "later"}, w.ids())
		passes(2 * time.Minute)
		e.Operations()
		passes(20 * time.Minute)
		require.Empty(t, e.Operations())
		passes(20 * time.Minute)
		require.Equal(t, []string{"yesterday", "later", "too late"}, w.ids())
		passes(3 * time.Hour)
		require.Equal(t, []string{"later", "too late"}, w.ids())
		w.stop()
	})
}

// TestManyAppointments: a window that the server does not return at once is asked for in parts, and of 10,000
// those now are kept.
func TestManyAppointments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		for i := range 10_000 {
			e.Add(tom, in(fmt.Sprint(i), -24*time.Hour+time.Duration(i)*2*time.Minute))
		}
		cfg := config(e.Serve(t))
		w := start(t, monitor(t, cfg), tom)
		passes(time.Second)
		got := w.last().Appointments
		require.Len(t, got, 1000)
		require.True(t, slices.ContainsFunc(got, func(a aa.Appointment) bool { return !a.From.After(time.Now()) && a.End.After(time.Now()) }))
		require.Less(t, len(e.Operations()), 12)
		w.stop()

		some := fakeews.New()
		for i := range 2500 {
			some.Add(tom, in(fmt.Sprint(i), time.Duration(i)*8*time.Minute))
		}
		cfg = config(some.Serve(t))
		cfg.Limits.Appointments = 5000
		w = start(t, monitor(t, cfg), tom)
		passes(time.Second)
		require.Len(t, w.last().Appointments, 2500)
		w.stop()
	})
}

// TestOutOfOffice: what the owner says is an appointment of its own.
func TestOutOfOffice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		b := e.Add(tom, in("a", time.Hour))
		b.OutOfOffice = `<t:OofState>Disabled</t:OofState><t:ExternalAudience>All</t:ExternalAudience><t:Duration><t:StartTime>2006-11-03T23:00:00</t:StartTime><t:EndTime>2036-11-04T23:00:00</t:EndTime></t:Duration>`
		cfg := config(e.Serve(t))
		cfg.OutOfOffice = &ews.OutOfOffice{Subject: "Away"}
		w := start(t, monitor(t, cfg), tom)
		passes(time.Second)
		require.Equal(t, []string{"a"}, w.ids(), "an old duration does not count")

		began := time.Now()
		e.With(func() { b.OutOfOffice = `<t:OofState>Enabled</t:OofState>` })
		passes(15 * time.Minute)
		require.Equal(t, []string{"out-of-office", "a"}, w.ids())
		away := w.last().Appointments[0]
		require.Equal(t, aa.CalendarOutOfOffice, away.State)
		require.Equal(t, "Away", away.Subject)
		require.False(t, away.From.Before(began))
		require.True(t, away.End.After(time.Now().Add(10*24*time.Hour)))
		passes(2 * time.Hour)
		require.Equal(t, away, w.last().Appointments[0], "it does not change with each poll")

		from := time.Now().Add(2 * time.Hour).Truncate(time.Second)
		e.With(func() {
			b.OutOfOffice = `<t:OofState>Scheduled</t:OofState><t:Duration><t:StartTime>` + fakeews.Zulu(from) + `</t:StartTime><t:EndTime>` + fakeews.Zulu(from.Add(time.Hour)) + `</t:EndTime></t:Duration>`
		})
		passes(15 * time.Minute)
		away = w.last().Appointments[1]
		require.Equal(t, "out-of-office", away.ID)
		require.True(t, away.From.Equal(from) && away.End.Equal(from.Add(time.Hour)))

		e.With(func() { b.OutOfOffice = `` })
		passes(15 * time.Minute)
		require.Equal(t, []string{"a"}, w.ids())
		w.stop()
	})
}
