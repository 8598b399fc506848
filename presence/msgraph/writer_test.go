package msgraph_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/fakegraph"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/msgraph"
)

// office is a tenant with one user, who is watched, and whose line is written.
type office struct {
	*testing.T
	s      *fakegraph.Server
	teams  *msgraph.Teams
	writer *msgraph.Writer
	seen   *watch[presence.ExternalState]
	stop   func()
}

func newOffice(t *testing.T) *office {
	s := newTenant()
	s.EchoLag = 20 * time.Second
	s.SetPresence(tom, "Available", "Available")
	o := &office{T: t, s: s, teams: newTeams(t, s, msgraph.TeamsConfig{})}
	writer, err := o.teams.NewWriter(msgraph.WriterConfig{})
	require.NoError(t, err)
	o.writer = writer
	o.serve()
	o.seen = watchTeams(t, o.teams, tomMail)
	require.Equal(t, aa.StatusAvailable, o.seen.after(2*time.Second).Status)
	return o
}

func (o *office) serve() {
	ctx, cancel := context.WithCancel(o.Context())
	served := make(chan error, 1)
	go func() { served <- o.writer.Serve(ctx) }()
	o.stop = func() {
		cancel()
		require.ErrorIs(o, <-served, context.Canceled)
	}
}

func (o *office) close() {
	o.seen.cancel()
	o.stop()
}

func (o *office) line(state aa.LineState) {
	o.writer.SetLine(entry(tomMail), "4711", presence.LineState{State: state})
}

func (o *office) after(d time.Duration) presence.ExternalState {
	o.Helper()
	return o.seen.after(d)
}

// TestWriteBack: BSX-15, line states to Teams, as sessions that are renewed and cleared.
func TestWriteBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.line(aa.LineRinging)
		o.after(61 * time.Second)
		require.Equal(t, 1, count(o.s.Requests(), askClear), "what may be left from before")
		o.line(aa.LineBusy)
		o.after(time.Second)
		require.Equal(t, "InACall", o.s.Session(tom))
		o.writer.SetLine(entry(tomMail), "4712", presence.LineState{State: aa.LineBusy})
		o.s.Requests()
		for range 30 {
			o.after(time.Minute)
			require.Equal(t, "InACall", o.s.Session(tom), "renewed")
		}
		require.InDelta(t, 10, count(o.s.Requests(), askSet), 1)
		o.line(aa.LineIdle)
		o.after(time.Second)
		require.Equal(t, "InACall", o.s.Session(tom), "the other line")
		o.writer.SetLine(entry(tomMail), "4712", presence.LineState{State: aa.LineUnknown})
		o.after(time.Second)
		require.Empty(t, o.s.Session(tom))
		o.after(10 * time.Minute)
		asked := o.s.Requests()
		require.Equal(t, []int{0, 1}, []int{count(asked, askSet), count(asked, askClear)})

		o.writer.SetLine(entry(tomMail), "4711", presence.LineState{State: aa.LineBusy, Lifetime: time.Minute})
		o.after(50 * time.Second)
		require.Equal(t, "InACall", o.s.Session(tom))
		o.after(11 * time.Second)
		require.Empty(t, o.s.Session(tom), "the line's value has faded")

		o.line(aa.LineBusy)
		o.after(time.Second)
		require.Equal(t, "InACall", o.s.Session(tom))
		o.close()
		require.Empty(t, o.s.Session(tom), "cleared at the end")
	})
}

// TestEcho: what was written comes back, and is not the user's own presence.
func TestEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.line(aa.LineBusy)
		for range 20 {
			require.Equal(t, aa.StatusAvailable, o.after(30*time.Second).Status)
		}
		o.s.SetPresence(tom, "DoNotDisturb", "Presenting")
		require.Equal(t, aa.StatusDoNotDisturb, o.after(11*time.Second).Status, "their own counts")
		o.s.SetPresence(tom, "Available", "Available")
		require.Empty(t, o.after(11*time.Second).Status, "that is over, and what is now, the session hides")
		o.line(aa.LineIdle)
		o.after(time.Second)
		for range 4 {
			require.Empty(t, o.after(10*time.Second).TelephoneEvent)
		}
		require.Equal(t, aa.StatusAvailable, o.after(0).Status)
		o.s.SetPresence(tom, "Busy", "InACall")
		require.Equal(t, msgraph.OnThePhone, o.after(11*time.Second).TelephoneEvent, "the echo is over")
		o.close()
	})
}

// TestNoLoop: a host that takes what Teams says for its own, and shows it as a busy line, would
// keep a user on the phone for ever if it heard itself. Graph shows what was written as it was, or
// as just busy; were it to show it as something that only the user can have set, there would be a
// loop.
func TestNoLoop(t *testing.T) {
	for echo, loops := range map[string]bool{"": false, "Busy": false, "InAConferenceCall": true} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t)
			o.s.EchoActivity = echo
			calling := true
			consolidate := func(d time.Duration) {
				for range int(d / time.Second) {
					state := aa.LineIdle
					if calling || o.after(0).Status == aa.StatusBusy {
						state = aa.LineBusy
					}
					o.line(state)
					o.after(time.Second)
				}
			}
			consolidate(time.Minute)
			require.Equal(t, "InACall", o.s.Session(tom))
			calling = false
			consolidate(time.Hour)
			if loops {
				require.Equal(t, "InACall", o.s.Session(tom), "this test can fail")
			} else {
				require.Empty(t, o.s.Session(tom))
				require.Equal(t, aa.StatusAvailable, o.after(0).Status)
			}
			o.close()
		})
	}
}

// TestCallOfTeams: nothing is written for a user who is in a call of Teams already.
func TestCallOfTeams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.line(aa.LineIdle)
		o.after(61 * time.Second)
		o.s.SetPresence(tom, "Busy", "InACall")
		require.Equal(t, msgraph.OnThePhone, o.after(11*time.Second).TelephoneEvent)
		o.line(aa.LineBusy)
		o.after(5 * time.Minute)
		require.Empty(t, o.s.Session(tom))
		require.Equal(t, msgraph.OnThePhone, o.after(0).TelephoneEvent)
		o.s.SetPresence(tom, "Available", "Available")
		o.after(11 * time.Second)
		require.Equal(t, "InACall", o.s.Session(tom), "the line is busy yet")
		o.seen.cancel()
		o.line(aa.LineIdle)
		time.Sleep(time.Minute)

		// Nobody watches: it is read before it is written.
		o.s.SetPresence(tom, "Busy", "InAConferenceCall")
		o.line(aa.LineBusy)
		time.Sleep(time.Minute)
		require.Empty(t, o.s.Session(tom))
		o.s.SetPresence(tom, "Away", "Away")
		time.Sleep(time.Minute)
		require.Equal(t, "InACall", o.s.Session(tom))
		o.stop()
	})
}

// TestLeftSession: a session that outlived a crash is taken for a call of Teams until it is
// cleared.
func TestLeftSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.line(aa.LineBusy)
		o.after(time.Second)
		teams := newTeams(t, o.s, msgraph.TeamsConfig{})
		writer, err := teams.NewWriter(msgraph.WriterConfig{})
		require.NoError(t, err)
		crashed := o.stop
		o.seen.cancel()
		o.teams, o.writer, o.seen = teams, writer, watchTeams(t, teams, tomMail)
		require.Equal(t, msgraph.OnThePhone, o.after(2*time.Second).TelephoneEvent)
		o.serve()
		o.line(aa.LineIdle)
		o.after(61 * time.Second)
		require.Empty(t, o.s.Session(tom))
		require.Equal(t, aa.StatusAvailable, o.after(45*time.Second).Status)
		o.close()
		crashed()
	})
}

// TestWriterFailures: a line that cannot be shown is tried again; all wait where Graph says so.
func TestWriterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.line(aa.LineIdle)
		o.after(61 * time.Second)
		o.s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/setPresence") && status(http.StatusTooManyRequests, "Retry-After", "120")(w, r)
		})
		o.s.Requests()
		o.line(aa.LineBusy)
		o.after(119 * time.Second)
		require.Equal(t, 1, count(o.s.Requests(), askSet))
		o.s.Intercept(nil)
		o.after(30 * time.Second)
		require.Equal(t, "InACall", o.s.Session(tom))
		o.s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "Presence") && status(http.StatusBadGateway)(w, r)
		})
		o.line(aa.LineIdle)
		o.after(10 * time.Minute)
		require.Empty(t, o.s.Session(tom), "Teams ended it")
		o.s.Intercept(status(http.StatusForbidden))
		o.writer.SetLine(entry("meg.o'ryan@contoso.example"), "4713", presence.LineState{State: aa.LineBusy})
		o.s.Requests()
		time.Sleep(time.Minute)
		o.close()
	})
}

// pbx is a line monitor of one line, at work.
type pbx struct {
	update chan presence.LineState
}

// MonitorLine implements [presence.LineMonitor].
func (p *pbx) MonitorLine(ctx context.Context, _ string, update func(presence.LineState)) error {
	for {
		select {
		case state, ok := <-p.update:
			if !ok {
				return errors.New("the PBX is away")
			}
			update(state)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestMonitors: BSX-15, a presence server that is given the monitors of a Writer has the calls of
// its users written, whichever of line and user it knows first, and shows each line as the PBX has
// it. What nobody looks after any more is taken back.
func TestMonitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		p := &pbx{make(chan presence.LineState)}
		lines, external := o.writer.Monitors(p)
		say := func(state aa.LineState) {
			p.update <- presence.LineState{State: state, Lifetime: time.Hour}
			o.after(time.Second)
		}
		line := func() *watch[presence.LineState] {
			return start(t, func(ctx context.Context, update func(presence.LineState)) error {
				return lines.MonitorLine(ctx, "4711", update)
			})
		}
		user := func() *watch[presence.ExternalState] {
			e := entry(tomMail)
			e.Lines = []string{"4711", "4712"}
			return start(t, func(ctx context.Context, update func(presence.ExternalState)) error {
				return external.MonitorExternal(ctx, e, update)
			})
		}
		l := line()
		say(aa.LineBusy)
		require.Empty(t, o.s.Session(tom), "nobody watches Tom")
		u := user()
		require.Empty(t, u.after(15*time.Second).TelephoneEvent, "an echo")
		require.Equal(t, "InACall", o.s.Session(tom), "the line was known first")
		say(aa.LineIdle)
		require.Equal(t, aa.LineIdle, l.after(0).State)
		require.Empty(t, o.s.Session(tom))
		say(aa.LineBusy)
		require.Equal(t, "InACall", o.s.Session(tom), "the user was known first")

		u.cancel()
		o.after(time.Second)
		require.Empty(t, o.s.Session(tom), "nobody watches him any more")
		u = user()
		o.after(time.Minute)
		require.Equal(t, "InACall", o.s.Session(tom))
		close(p.update)
		o.after(time.Second)
		_, ended := l.result()
		require.True(t, ended)
		require.Empty(t, o.s.Session(tom), "nobody knows what the line does")
		u.cancel()
		o.close()
	})
}
