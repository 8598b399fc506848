package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/fakeews"
	"github.com/openblustar/blustar/internal/rig"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/client"
)

// phone is a BluStar client on a stack of its own.
type phone struct {
	*client.Client
	t     *testing.T
	heard chan client.Notification
}

// patience is how long a phone waits for what it is to hear.
const patience = time.Minute

func (p *program) phone(address, account, password string) *phone {
	p.t.Helper()
	ph := &phone{t: p.t, heard: make(chan client.Notification, 1000)}
	credentials, err := auth.NewCredentials(account, []byte(password))
	require.NoError(p.t, err)
	mux := new(client.Mux)
	ph.Client, err = client.New(client.Config{
		Sender: newStack(p.t, mux), Mux: mux, Server: p.address(), Address: address, Credentials: credentials,
		Notify: func(n client.Notification) { ph.heard <- n },
	})
	require.NoError(p.t, err)
	p.t.Cleanup(ph.Abandon)
	return ph
}

// hears waits for a notification that satisfies ok, about address or the last one
// of a subscription.
func (ph *phone) hears(address, what string, ok func(client.Summary) bool) client.Notification {
	ph.t.Helper()
	heard := ""
	for deadline := time.After(patience); ; {
		select {
		case n := <-ph.heard:
			if (n.Entity == address || n.State == client.Terminated) && ok(n.Summary()) {
				return n
			}
			heard += "\n" + n.Summary().String()
		case <-deadline:
			require.FailNow(ph.t, "did not hear "+what, "but%s", heard)
		}
	}
}

// sees waits until it is shown this of address.
func (ph *phone) sees(address, status, note string, line aa.LineState) client.Notification {
	ph.t.Helper()
	return ph.hears(address, fmt.Sprintf("%s, %q, %s", status, note, line), func(s client.Summary) bool {
		return s.Status == status && s.Note == note && len(s.Lines) == 1 && s.Lines[0].State == line
	})
}

// A day with a PBX, a calendar server and a directory that somebody else wrote,
// all of them behind the gateway: BSP-2.1-1, BSP-2.1-2, BSP-2.1-6, BSP-2.1-7,
// BSP-2.2-3, BSP-2.4-7, BSP-2.5-1, BSP-2.6-1, BSP-2.10-6, BSP-2.10-7, BSP-3.2-3,
// BSP-3.2-6, BSX-2.
func TestDay(t *testing.T) {
	t.Parallel()
	kamailio, radicale := newPBX(t), newCalendars(t)
	slapd := rig.Start(t, "slapd")
	const alice, bob, number = "sip:alice@example.test", "sip:bob@example.test", "+14255550101"
	radicale.do("MKCALENDAR", "work/", "")

	p := start(t, write(t, configuration(func(c object) {
		onSlapd(slapd)(c)
		// So short that the test sees states fade.
		c["pbx"] = object{"uri": kamailio.uri.String(), "from": "sip:presence@127.0.0.1", "expires": "4s"}
		c["calendar"] = object{
			"url": "http://" + radicale.host + "/{user}/work/", "interval": "1s", "username": "presence", "password_file": "dav-password",
		}
	}), map[string]string{"ldap-password": slapd["BIND_PW"] + "\n", "dav-password": calendarPassword + "\n"}))

	// The passwords are those of the directory.
	stranger := p.phone(bob, "bob", "canary")
	require.ErrorIs(t, stranger.SignIn(t.Context()), client.ErrUnauthorized)
	watcher := p.phone(bob, "bob", slapd["USER_PW"])
	require.NoError(t, watcher.Watch(t.Context(), alice))
	watcher.sees(alice, "signed out", "Signed out", aa.LineIdle)
	phone := p.phone(alice, "alice", slapd["USER_PW"])
	require.NoError(t, phone.SignIn(t.Context()))
	require.NoError(t, phone.Publish(t.Context(), client.Publication{Status: aa.StatusAvailable}))
	watcher.sees(alice, "available", "Available", aa.LineIdle)

	// She is herself only.
	other := p.phone(bob, "alice", slapd["USER_PW"])
	refused := new(client.StatusError)
	require.ErrorAs(t, other.Publish(t.Context(), client.Publication{Status: aa.StatusBusy}), &refused)
	require.Equal(t, 403, refused.Status)

	// A call, a meeting, and a call in the meeting.
	kamailio.call(number, "early")
	watcher.sees(alice, "available", "Available", aa.LineRinging)
	kamailio.call(number, "confirmed")
	watcher.sees(alice, "busy", "In a call", aa.LineBusy)
	kamailio.call(number, "terminated")
	watcher.sees(alice, "available", "Available", aa.LineIdle)
	radicale.meet("Something secret")
	n := watcher.sees(alice, "busy", "In a meeting", aa.LineIdle)
	require.Contains(t, string(n.Body), "calendar")
	require.NotContains(t, string(n.Body), "secret", "it is private")
	byNumber, err := watcher.Fetch(t.Context(), "tel:"+number)
	require.NoError(t, err)
	require.Equal(t, "In a meeting", byNumber.Summary().Note)
	kamailio.call(number, "confirmed")
	watcher.sees(alice, "busy", "In a call", aa.LineBusy)

	// The PBX restarts, and has forgotten the call and the subscription.
	kamailio.stop()
	kamailio.start()
	watcher.sees(alice, "busy", "In a meeting", aa.LineIdle)
	radicale.do("DELETE", "work/meeting.ics", "")
	watcher.sees(alice, "available", "Available", aa.LineIdle)

	// Both die while she is in a call in a meeting: neither sticks. Then both are
	// back, with what they know now.
	radicale.meet("Something secret")
	watcher.sees(alice, "busy", "In a meeting", aa.LineIdle)
	kamailio.call(number, "confirmed")
	watcher.sees(alice, "busy", "In a call", aa.LineBusy)
	kamailio.stop()
	watcher.sees(alice, "busy", "In a meeting", aa.LineUnknown)
	radicale.stop()
	watcher.sees(alice, "available", "Available", aa.LineUnknown)
	kamailio.start()
	radicale.start()
	watcher.sees(alice, "busy", "In a meeting", aa.LineIdle)
	radicale.do("DELETE", "work/meeting.ics", "")
	watcher.sees(alice, "available", "Available", aa.LineIdle)

	// She leaves, and so does the gateway.
	require.NoError(t, phone.Close(t.Context()))
	watcher.sees(alice, "signed out", "Signed out", aa.LineIdle)
	require.Zero(t, p.stop())
	watcher.hears(alice, "the end", func(s client.Summary) bool { return s.Ended == "deactivated" })
	for _, secret := range []string{slapd["USER_PW"], slapd["BIND_PW"], calendarPassword, "canary", "secret"} {
		require.NotContains(t, p.printed(), secret)
	}
}

// The same with calendars of Exchange Online and presence of Teams: what they say
// shows, fades when they die, and comes back; and calls on the line show in Teams, from
// where they do not come back (BSP-2.6-1, BSP-2.7-1, BSX-2, BSX-15).
func TestDayInTheCloud(t *testing.T) {
	t.Parallel()
	kamailio, cloud := newPBX(t), newCloud(t)
	slapd := rig.Start(t, "slapd")
	const alice, bob, number = "sip:alice@example.test", "sip:bob@example.test", "+14255550101"
	p := start(t, write(t, cloud.configuration(func(c object) {
		onSlapd(slapd)(c)
		c["pbx"] = object{"uri": kamailio.uri.String(), "from": "sip:presence@127.0.0.1"}
	}), map[string]string{"ldap-password": slapd["BIND_PW"] + "\n"}))
	watcher := p.phone(bob, "bob", slapd["USER_PW"])
	require.NoError(t, watcher.Watch(t.Context(), alice))
	phone := p.phone(alice, "alice", slapd["USER_PW"])
	require.NoError(t, phone.SignIn(t.Context()))
	require.NoError(t, phone.Publish(t.Context(), client.Publication{Status: aa.StatusAvailable}))
	noted := func(note string) func(client.Summary) bool {
		return func(s client.Summary) bool { return s.Note == note }
	}
	watcher.hears(alice, "available", noted("Available"))
	cloud.meets(true)
	n := watcher.hears(alice, "the meeting", noted("In a meeting"))
	require.NotContains(t, string(n.Body), "secret", "it is private")
	cloud.calls(true)
	watcher.hears(alice, "the call", noted("In a call"))
	cloud.calls(false)
	watcher.hears(alice, "the end of the call", noted("In a meeting"))
	cloud.meets(false)
	watcher.hears(alice, "the end of the meeting", noted("Available"))

	cloud.calls(true)
	watcher.hears(alice, "the call", noted("In a call"))
	cloud.dead.Store(true)
	watcher.hears(alice, "that the call fades", noted("Available"))
	cloud.dead.Store(false)
	watcher.hears(alice, "that it comes back", noted("In a call"))
	cloud.calls(false)
	watcher.hears(alice, "its end", noted("Available"))

	// Teams shows a session for a while after its end. Were that taken for a call of
	// hers, she would be in a call again.
	kamailio.call(number, "confirmed")
	watcher.hears(alice, "the call on her line", noted("In a call"))
	cloud.shows(t, "InACall")
	kamailio.call(number, "terminated")
	watcher.hears(alice, "its end", noted("Available"))
	cloud.shows(t, "")
	cloud.reads(t, 2)
	require.NoError(t, phone.Publish(t.Context(), client.Publication{Status: aa.StatusBusy}))
	watcher.hears(alice, "what she published", func(s client.Summary) bool {
		require.NotEqual(t, "In a call", s.Note)
		return s.Note == "Busy"
	})
	kamailio.call(number, "confirmed")
	cloud.shows(t, "InACall")
	require.Zero(t, p.stop())
	cloud.shows(t, "") // it takes with it what it wrote
	for _, secret := range []string{slapd["USER_PW"], slapd["BIND_PW"], "canary", "secret"} {
		require.NotContains(t, p.printed(), secret)
	}
}

// The same with an Exchange server (BSP-2.6-1, BSX-2, BSX-15).
func TestDayOnPremises(t *testing.T) {
	t.Parallel()
	slapd := rig.Start(t, "slapd")
	const alice, bob = "sip:alice@example.test", "sip:bob@example.test"
	noted := func(note string) func(client.Summary) bool {
		return func(s client.Summary) bool { return s.Note == note }
	}
	begin := func(t *testing.T, x *exchange, interval string) (*program, *phone) {
		p := start(t, write(t, x.configuration(interval, onSlapd(slapd)), map[string]string{
			"ldap-password": slapd["BIND_PW"] + "\n", "exchange-password": fakeews.Password + "\n",
		}))
		watcher := p.phone(bob, "bob", slapd["USER_PW"])
		require.NoError(t, watcher.Watch(t.Context(), alice))
		phone := p.phone(alice, "alice", slapd["USER_PW"])
		require.NoError(t, phone.SignIn(t.Context()))
		require.NoError(t, phone.Publish(t.Context(), client.Publication{Status: aa.StatusAvailable}))
		watcher.hears(alice, "available", noted("Available"))
		return p, watcher
	}
	end := func(t *testing.T, p *program) {
		require.Zero(t, p.stop())
		for _, secret := range []string{slapd["USER_PW"], slapd["BIND_PW"], fakeews.Password, "secret"} {
			require.NotContains(t, p.printed(), secret)
		}
	}
	t.Run("notifications", func(t *testing.T) {
		t.Parallel()
		x := newExchange(t)
		p, watcher := begin(t, x, "1h") // a poll would come too late
		x.listened(t)
		for range 2 {
			made := time.Now()
			x.meets(true)
			n := watcher.hears(alice, "the meeting", noted("In a meeting"))
			t.Logf("shown %v after it was made", time.Since(made).Round(time.Millisecond))
			require.NotContains(t, string(n.Body), "secret", "it is private")
			x.meets(false)
			watcher.hears(alice, "the end of the meeting", noted("Available"))
		}
		end(t, p)
	})
	t.Run("outage", func(t *testing.T) {
		t.Parallel()
		x := newExchange(t)
		p, watcher := begin(t, x, "1s")
		x.meets(true)
		watcher.hears(alice, "the meeting", noted("In a meeting"))
		x.listened(t)
		x.dies()
		watcher.hears(alice, "that the meeting fades", noted("Available"))
		x.dead.Store(false)
		watcher.hears(alice, "that it comes back", noted("In a meeting"))
		end(t, p)
	})
}
