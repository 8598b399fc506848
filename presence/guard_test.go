package presence_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

// gate is a guard under the test's control: it lets in whom it is told.
type gate struct {
	decision auth.Decision
	asked    []auth.Request
}

func (g *gate) Check(_ context.Context, r auth.Request) auth.Decision {
	g.asked = append(g.asked, r)
	return g.decision
}

func guarded(t *testing.T, d auth.Decision) (*world, *gate) {
	g := &gate{decision: d}
	return newWorld(t, func(c *presence.Config) { c.Guard = g }), g
}

func as(account string) auth.Decision {
	return auth.Decision{Verdict: auth.Accept, Identity: auth.Identity{Account: account}}
}

// BSP-2.10-1, BSP-2.10-9, BSP-2.10-8: what the guard decides is what the client is
// answered, for SUBSCRIBE and PUBLISH.
func TestGuardVerdicts(t *testing.T) {
	for _, tt := range []struct {
		decision auth.Decision
		status   int
		field    string
		value    string
	}{
		{auth.Decision{Verdict: auth.Challenge, Header: []auth.HeaderField{{Name: "X-BSS-auth", Value: "KEY"}}}, 401, "X-BSS-auth", "KEY"},
		{auth.Decision{Verdict: auth.Forbid}, 403, "", ""},
		{auth.Decision{Verdict: auth.Forbid, Phrase: "Too many", RetryAfter: time.Minute}, 403, "Retry-After", "60"},
		{auth.Decision{Verdict: auth.Unavailable, RetryAfter: 1500 * time.Millisecond}, 503, "Retry-After", "2"},
		{auth.Decision{Reason: errors.New("x")}, 403, "", ""},
	} {
		w, _ := guarded(t, tt.decision)
		e := w.client("tom", "192.0.2.8")
		_, res := e.subscribe("sip:tom@example.com")
		for _, res := range []int{res.Status, e.status("", "busy", "").Status} {
			require.Equal(t, tt.status, res)
		}
		require.Equal(t, tt.value, res.Header.Get(tt.field))
		if tt.status == 401 {
			require.Equal(t, "300", res.Header.Get("Expires"), "as printed in §2.10")
			require.NotEmpty(t, res.Header.Get("Contact"))
		}
		require.Empty(t, w.net.take())
		require.Zero(t, w.server.Stats().Subscriptions+w.server.Stats().Publications)
	}
}

// BSP-2.10-3, BSP-2.11-1: what the guard is told of a request.
func TestGuardRequest(t *testing.T) {
	w, g := guarded(t, as(`de\tom`))
	e := w.client("TOM", "192.0.2.8:5060;transport=UDP")
	e.header = []string{"X-BSS-rauth: abc", "Authorization: Digest x"}
	e.subscribe("sip:tom@example.com")
	r := g.asked[0]
	require.Equal(t, "sip:tom@example.com sip:TOM@192.0.2.8:5060", r.Client)
	require.Equal(t, "192.0.2.7", r.Source.String())
	require.Equal(t, "abc", r.Rauth)
	require.Equal(t, []string{"Digest x"}, r.Authorization)
	require.False(t, r.Secure || r.AMCC || r.Digest)
	e.contact = "sip:fmc@192.0.2.30"
	e.flow = tcp(1)
	e.flow.Transport = "tls"
	e.subscribe("sip:tom@example.com")
	require.True(t, g.asked[1].AMCC)
	require.True(t, g.asked[1].Secure)
	s := w.standard("tom", "192.0.2.8")
	s.publish("", pidfBody("open", "", ""))
	require.True(t, g.asked[2].Digest)
}

// BSP-2.4-7: nobody publishes for somebody else, nor subscribes as them, but an
// AMCC.
func TestOnlyForOneself(t *testing.T) {
	w, g := guarded(t, as(`de\ann`))
	tom := w.client("tom", "192.0.2.8")
	require.Equal(t, 403, tom.status("", "busy", "").Status)
	require.Equal(t, 403, tom.publish("", "", "Expires: 0").Status)
	_, res := tom.subscribe("sip:bob@example.com")
	require.Equal(t, 403, res.Status)
	_, res = w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	require.Equal(t, 200, res.Status, "anybody may watch")
	_, res = w.client("unlisted", "192.0.2.7").subscribe("sip:tom@example.com")
	require.Equal(t, 200, res.Status, "an address without an entry is nobody else's")
	_, res = w.standard("tom", "192.0.2.8").subscribe("sip:bob@example.com")
	require.Equal(t, 403, res.Status, "nor in the Standard dialect: watcher information shows From")
	_, res = w.standard("ann", "192.0.2.8").subscribe("sip:bob@example.com")
	require.Equal(t, 200, res.Status)
	g.decision.Identity.AMCC = true
	require.Equal(t, 200, tom.status("", "busy", "").Status)
	g.decision = as(`other\tom`)
	require.Equal(t, 403, tom.status("", "busy", "").Status)
	g.decision = as(`DE\TOM`)
	require.Equal(t, 200, tom.status("", "busy", "").Status)
	g.decision = auth.Decision{Verdict: auth.Accept, Identity: auth.Identity{Account: "x", ID: "tom"}}
	require.Equal(t, 200, tom.status("", "busy", "").Status, "the same directory entry")
}

// signIn has the requests of an endpoint answer a challenge.
func (e *endpoint) signIn(account string, challenge *sipx.Response) {
	c, err := auth.NewCredentials(account, []byte("x"))
	require.NoError(e.w, err)
	rauth, err := c.Encrypt(auth.Tuz{}, challenge.Header.Get("X-BSS-auth"))
	require.NoError(e.w, err)
	e.header = []string{"X-BSS-rauth: " + rauth}
}

// BSX-10: whoever signs in under another user's From and Contact, from behind the same
// address, is not in that user's way: the user is asked to sign in, and not refused.
func TestImpostorBehindTheSameAddress(t *testing.T) {
	accounts := auth.VerifierFunc(func(_ context.Context, c auth.Credentials) (auth.Identity, error) {
		return auth.Identity{Account: c.Name.String()}, nil
	})
	guard, err := auth.New(auth.Config{Verifier: accounts})
	require.NoError(t, err)
	w := newWorld(t, func(c *presence.Config) { c.Guard = guard })
	as := func(account string, send func(*endpoint) *sipx.Response) (first, second int) {
		e := w.client("tom", "192.0.2.8") // From and Contact are tom's
		res := send(e)
		first = res.Status
		if first == 401 {
			e.signIn(account, res)
			second = send(e).Status
		}
		return first, second
	}
	subscribe := func(e *endpoint) *sipx.Response {
		_, res := e.subscribe("sip:tom@example.com")
		return res
	}
	publish := func(e *endpoint) *sipx.Response { return e.status("", "busy", "") }
	own := func(e *endpoint) *sipx.Response { // which From does not tell
		return e.w.send(e.request("PUBLISH", "sip:192.0.2.1:5060", "<sip:ann@example.com>", "p", 1, bluStarBody("busy", ""),
			"Event: presence", "Expires: 300", "Content-Type: application/pidf+xml"))
	}
	for _, send := range []func(*endpoint) *sipx.Response{subscribe, publish} {
		first, second := as(`DE\ann`, own)
		require.Equal(t, []int{401, 200}, []int{first, second}, "a session of ann's")
		first, second = as(`DE\tom`, send)
		require.Equal(t, []int{401, 200}, []int{first, second}, "tom is asked")
		first, second = as(`DE\tom`, send)
		require.Equal(t, []int{401, 200}, []int{first, second}, "once more: the session of two users has ended")
		first, second = as(`DE\ann`, send)
		require.Equal(t, []int{200, 0}, []int{first, second}, "tom's session")
		guard.EndSessions(func(auth.Identity) bool { return true })
		first, second = as(`DE\ann`, send)
		require.Equal(t, []int{401, 403}, []int{first, second}, "ann is not tom")
	}
}

// BSX-10: with ListedFrom no account is under an address that the directory does not have,
// nor stays there when it is removed; who ends a subscription may do so.
func TestListedFrom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		gone := ""
		w := newWorld(t, func(c *presence.Config) {
			c.ListedFrom, c.Guard = true, &gate{decision: as(`DE\ann`)}
			listed := c.Directory
			c.Directory = directory.Func(func(ctx context.Context, a directory.Address) (directory.Entry, error) {
				if a.Value == gone {
					return directory.Entry{}, directory.ErrNotFound
				}
				return listed.Lookup(ctx, a)
			})
		})
		_, res := w.client("unlisted", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, 403, res.Status)
		_, res = w.standard("unlisted", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, 403, res.Status)
		one, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		two, _ := w.standard("ann", "192.0.2.8").subscribe("sip:tom@example.com")
		require.Equal(t, 200, one.refresh().Status)
		w.net.take()
		gone = "ann@example.com"
		require.Equal(t, 200, one.end().Status)
		require.Equal(t, 403, two.refresh().Status)
		require.Equal(t, "terminated;reason=rejected", two.one().state())
		require.Zero(t, w.server.Stats().Subscriptions)
	})
}

// BSP-2.4-7: a controller that watches in the dialect of the RFCs acts for its users still
// when the directory comes back.
func TestStandardControllerWaitsForDirectory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		w := newWorld(t, func(c *presence.Config) {
			c.Dialect, c.LookupRetry = presence.DialectStandard, time.Minute
			c.Guard = &gate{decision: auth.Decision{Verdict: auth.Accept, Identity: auth.Identity{Account: "amcc", AMCC: true}}}
			listed := c.Directory
			c.Directory = directory.Func(func(ctx context.Context, a directory.Address) (directory.Entry, error) {
				if down.Load() {
					return directory.Entry{}, errors.New("the directory is down")
				}
				return listed.Lookup(ctx, a)
			})
		})
		e := w.standard("ann", "192.0.2.30")
		e.contact = "sip:fmc@192.0.2.30"
		s, res := e.subscribe("sip:tom@example.com")
		require.Equal(t, 200, res.Status)
		require.Equal(t, "other:unknown", s.one().shown(t).activity)
		down.Store(false)
		time.Sleep(2 * time.Minute)
		n := s.one()
		require.Contains(t, n.state(), "active")
		require.Equal(t, "other:signed out", n.shown(t).activity)
	})
}

// BSP-2.4-7: a guard of the host may know users by the ID of their directory
// entry alone. Those are somebody too.
func TestIdentityWithoutAccount(t *testing.T) {
	by := func(id string) auth.Decision {
		return auth.Decision{Verdict: auth.Accept, Identity: auth.Identity{ID: id}}
	}
	w, g := guarded(t, by("ann"))
	require.Equal(t, 403, w.client("tom", "192.0.2.8").status("", "busy", "").Status)
	ann := w.client("ann", "192.0.2.7")
	require.Equal(t, 200, ann.status("", "busy", "").Status)
	s, _ := ann.subscribe("sip:ann@example.com")
	g.decision = by("tom")
	require.Equal(t, 403, s.end().Status)
	g.decision = by("ann")
	require.Equal(t, 200, s.end().Status)
}

// A dialog belongs to who opened it.
func TestDialogIsItsOpeners(t *testing.T) {
	w, g := guarded(t, as(`de\ann`))
	s, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	g.decision = as(`de\bob`)
	require.Equal(t, 403, s.end().Status)
	g.decision = as(`de\ann`)
	require.Equal(t, 200, s.end().Status)
}

// BSP-3.2-6: only the user's own authenticated eyes see a private appointment,
// and what is kept for them is not shown to others.
func TestPrivateAppointmentForOwnEyes(t *testing.T) {
	w, g := guarded(t, as(`de\tom`))
	now := time.Now()
	require.NoError(t, w.server.Feed().SetCalendar(t.Context(), "tom@example.com", presence.CalendarState{Appointments: []aa.Appointment{{
		ID: "1", State: aa.CalendarBusy, Subject: "DOCTOR", Private: true, From: now.Add(-time.Hour), End: now.Add(time.Hour),
	}}}))
	own, _ := w.client("tom", "192.0.2.8").subscribe("sip:tom@example.com")
	require.Contains(t, string(own.one().Body), "DOCTOR")
	g.decision = as(`de\ann`)
	other, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	require.NotContains(t, string(other.one().Body), "DOCTOR")
	list, _ := w.client("ann", "192.0.2.7").list("sip:ann@example.com", "tel:2719")
	for _, n := range list.of(w.net.take()) {
		require.NotContains(t, string(n.Body), "DOCTOR")
	}
	view, err := w.server.Presence(t.Context(), "tel:2719")
	require.NoError(t, err)
	require.NotContains(t, string(view.Document.Append(nil, pidf.BluStarDialect)), "DOCTOR")
}

// Dialects: a client whose User-Agent an SBC takes away is known by X-BSS-rauth. What it
// sends later, within its session and so without credentials, is BluStar too; what comes
// from another Contact of the account is not, nor what has a User-Agent.
func TestStrippedLater(t *testing.T) {
	w, _ := guarded(t, as(`de\tom`))
	e := w.client("tom", "192.0.2.8")
	e.agent, e.header = "", []string{"X-BSS-rauth: abc"}
	_, res := e.subscribe("sip:tom@example.com")
	require.Equal(t, 200, res.Status)
	e.header = nil
	dialect := func(e *endpoint) string {
		_, res := e.subscribe("sip:ann@example.com")
		require.Equal(t, 200, res.Status)
		all := w.server.Subscriptions()
		return all[len(all)-1].Dialect
	}
	require.Equal(t, "BluStar", dialect(e))
	etag := e.status("", "busy", "").Header.Get("SIP-ETag")
	require.Equal(t, etag, e.publish("", pidfBody("open", "", "")).Header.Get("SIP-ETag"), "one publication of all clients")
	other := w.client("tom", "192.0.2.9")
	other.agent = ""
	require.Equal(t, "Standard", dialect(other))
	e.agent = "Phone/1.0"
	require.Equal(t, "Standard", dialect(e))
}
