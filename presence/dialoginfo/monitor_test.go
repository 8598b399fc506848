package dialoginfo_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/dialoginfo"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// TestMonitor shows the whole life of a monitored device (BSP-2.1-6, BSP-2.5-1).
func TestMonitor(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.state["200"] = full()
		l := r.watch("200")
		require.Equal(t, "idle", l.shown())
		first := r.seen()
		require.Len(t, first, 1)
		req := first[0]
		require.Equal(t, "SUBSCRIBE", req.Method)
		require.Equal(t, "sip:200@192.0.2.1:5060", req.URI.String())
		require.Equal(t, "sip:200@192.0.2.1:5060", req.To.URI.String())
		require.Equal(t, "sip:presence@example.com", req.From.URI.String())
		require.Equal(t, "dialog", req.Header.Get("Event"))
		require.Equal(t, "application/dialog-info+xml", req.Header.Get("Accept"))
		require.Equal(t, "300", req.Header.Get("Expires"))
		require.Equal(t, "<sip:presence@192.0.2.7:5060>", req.Header.Get("Contact"))

		require.Equal(t, 200, r.tell("200", full("early recipient")))
		require.Equal(t, 200, r.tell("200", full("confirmed recipient")))
		require.Equal(t, 200, r.tell("200", full()))
		require.Equal(t, "ringing busy idle", l.shown())

		l.stop()
		require.NoError(t, l.result(t))
		last := r.seen()
		require.Len(t, last, 1)
		require.Equal(t, "0", last[0].Header.Get("Expires"), "the subscription is ended")
		require.Equal(t, req.CallID, last[0].CallID)
		require.Equal(t, req.CSeq+1, last[0].CSeq)
		require.Empty(t, l.shown(), "no state after the end")
		require.Equal(t, []int{200}, r.farewells, "the last NOTIFY was expected")
		require.Zero(t, dialoginfo.Dialogs(r.monitor), "and nothing waits for more")
	})
}

// TestRefresh shows when the subscription is refreshed, and that its states live
// as long as it does (BSX-2).
func TestRefresh(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.state["200"] = full("confirmed")
		r.expires = 100 // less than is asked for
		l := r.watch("200")
		require.Equal(t, 100*time.Second, l.last(t).Lifetime)
		before := r.seen()[0]
		for range 3 {
			time.Sleep(81 * time.Second)
			refreshes := r.seen()
			require.Len(t, refreshes, 1)
			now := refreshes[0]
			require.InDelta(t, 75, now.at.Sub(before.at).Seconds(), 5)
			require.Equal(t, before.CallID, now.CallID)
			require.Equal(t, before.CSeq+1, now.CSeq)
			require.NotEmpty(t, now.To.Tag())
			require.Equal(t, "sip:blf@192.0.2.1:5060", now.URI.String(), "the remote target")
			require.Equal(t, 100*time.Second, l.last(t).Lifetime)
			time.Sleep(time.Until(now.at))
			before = now
		}
		require.Equal(t, "busy", l.shown())
	})
}

// TestLifetimeWithoutNotify shows that a 2xx prolongs the state by itself.
func TestLifetimeWithoutNotify(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.state["200"] = full("confirmed")
		l := r.watch("200")
		require.Equal(t, "busy", l.shown())
		r.set(func() { r.silent = true })
		time.Sleep(241 * time.Second)
		require.Equal(t, aa.LineBusy, l.last(t).State)
		require.Equal(t, 300*time.Second, l.last(t).Lifetime)
	})
}

func TestNotifyBefore200(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.state["200"] = full("early recipient")
		r.early = true
		r.fields = sipx.Header{field("Record-Route", "<sip:192.0.2.1;lr;n=1>")}
		l := r.watch("200")
		require.Equal(t, "ringing", l.shown())
		require.Equal(t, 200, r.tell("200", full("confirmed")))
		require.Equal(t, "busy", l.shown())
		require.Len(t, r.seen(), 1)
	})
}

// TestPartialState shows that a gap in the versions is followed by a refresh,
// and that no PBX can make that a storm.
func TestPartialState(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.state["200"] = full()
		l := r.watch("200")
		r.seen()
		require.Equal(t, 200, r.tell("200", partial("a:early recipient")))
		require.Equal(t, 200, r.tell("200", partial("a:confirmed recipient")))
		require.Equal(t, "idle ringing busy", l.shown())
		require.Empty(t, r.seen())

		time.Sleep(10 * time.Second)
		r.set(func() { r.dialogs[r.callID("200")].version += 2 }) // two were lost
		require.Equal(t, 200, r.tell("200", partial("b:confirmed recipient")))
		refresh := r.seen()
		require.Len(t, refresh, 1, "at once")
		require.NotEqual(t, "0", refresh[0].Header.Get("Expires"))
		require.Equal(t, "busy idle", l.shown(), "full state has come")
		time.Sleep(200 * time.Second)
		require.Empty(t, r.seen(), "the next refresh is due as ever")

		r.set(func() { r.state["200"] = partial("c:confirmed") }) // never full again
		time.Sleep(100 * time.Second)
		r.tell("200", partial("c:confirmed"))
		r.set(func() { r.dialogs[r.callID("200")].version++ })
		r.tell("200", partial("c:confirmed"))
		r.seen()
		time.Sleep(time.Minute)
		require.LessOrEqual(t, len(r.seen()), 5)
	})
}

// TestNoDocument shows that nothing to tell of is idle.
func TestNoDocument(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		l := r.watch("200") // nobody has set a state
		require.Equal(t, "idle", l.shown())
		r.tell("200", full("confirmed"))
		r.tell("200", "")
		require.Equal(t, "busy idle", l.shown())
		r.tell("200", partial("a:early recipient"))
		require.Equal(t, "ringing", l.shown())
	})
}

func TestPending(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.silent = true
		l := r.watch("200")
		r.mu.Lock()
		id := r.callID("200")
		r.mu.Unlock()
		require.Equal(t, 200, r.notify(id, "pending;expires=100", ""))
		require.Empty(t, l.shown(), "nothing is known yet")
		require.Equal(t, 200, r.tell("200", full("early recipient")))
		require.Equal(t, "ringing", l.shown())
	})
}

// TestNotifyIsChecked shows what is answered to a NOTIFY that is not in order
// (BSP-4-5, RFC 6665 §4.1.3).
func TestNotifyIsChecked(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*sipx.Request)
		status int
		shown  string
	}{
		"good":             {func(r *sipx.Request) {}, 200, "busy"},
		"another event":    {func(r *sipx.Request) { r.Header[0].Value = "presence" }, 489, ""},
		"no state":         {func(r *sipx.Request) { r.Header[1].Name = "X-State" }, 400, ""},
		"another Call-ID":  {func(r *sipx.Request) { r.CallID = "other" }, 481, ""},
		"another From tag": {func(r *sipx.Request) { r.From = r.From.WithTag("other") }, 481, ""},
		"old CSeq":         {func(r *sipx.Request) { r.CSeq = 2 }, 500, ""},
		"the same CSeq":    {func(r *sipx.Request) { r.CSeq = 3 }, 200, ""},
		"another method":   {func(r *sipx.Request) { r.Method = "OPTIONS" }, 405, ""},
		"another type":     {func(r *sipx.Request) { r.Header[3].Value = "application/pidf+xml" }, 415, "unknown"},
		"a charset (BSP-3-6)": {func(r *sipx.Request) {
			r.Header[3].Value += ";charset=ISO-8859-1"
			r.Body = bytes.Replace(r.Body, []byte("</state>"), []byte("</state><local><identity display='J\xF6rgen'>sip:200@pbx.example</identity></local>"), 1)
		}, 200, "busy"},
		"not XML":             {func(r *sipx.Request) { r.Body = []byte("busy") }, 400, "unknown"},
		"too large":           {func(r *sipx.Request) { r.Body = make([]byte, 4097) }, 413, "unknown"},
		"a state of no RFC":   {func(r *sipx.Request) { r.Header[1].Value = "lively" }, 200, "busy"},
		"expires in no digit": {func(r *sipx.Request) { r.Header[1].Value = "active;expires=soon" }, 200, "busy"},
	} {
		t.Run(name, func(t *testing.T) {
			small := func(c *dialoginfo.Config) { c.MaxBody = 4096 }
			run(t, setup{config: small}, func(t *testing.T, r *rig) {
				l := r.watch("200")
				r.tell("200", full())
				r.tell("200", full("early recipient")) // its CSeq is 3
				require.Equal(t, "idle ringing", l.shown())
				r.mu.Lock()
				id := r.callID("200")
				r.mu.Unlock()
				req := r.build(id, "active;expires=100", "<dialog-info xmlns='urn:ietf:params:xml:ns:dialog-info' "+
					"version='9' state='full'><dialog id='a'><state>confirmed</state></dialog></dialog-info>")
				test.change(req)
				require.Equal(t, test.status, r.send(req))
				require.Equal(t, test.shown, l.shown())
			})
		})
	}
}

// TestBadDocumentHeals shows that full state is asked for after a document that
// cannot be read.
func TestBadDocumentHeals(t *testing.T) {
	run(t, setup{}, func(t *testing.T, r *rig) {
		r.state["200"] = full("confirmed")
		l := r.watch("200")
		time.Sleep(10 * time.Second)
		r.seen()
		require.Equal(t, 400, r.tell("200", full("perhaps")))
		require.Len(t, r.seen(), 1)
		require.Equal(t, "busy unknown busy", l.shown())
	})
}

// TestHandler shows a monitor in front of another handler on one stack.
func TestHandler(t *testing.T) {
	next := &recorder{}
	run(t, setup{handler: func(m *dialoginfo.Monitor) sipx.Handler { return m.Handler(next) }}, func(t *testing.T, r *rig) {
		r.state["200"] = full("early recipient")
		l := r.watch("200")
		require.Equal(t, "ringing", l.shown())
		require.Empty(t, next.requests)

		r.mu.Lock()
		id := r.callID("200")
		r.mu.Unlock()
		foreign := r.build(id, "active", "")
		foreign.CallID = "foreign"
		require.Equal(t, 299, r.send(foreign))
		options := sipxtest.NewRequest("OPTIONS sip:192.0.2.7:5060 SIP/2.0\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: " + id + "\nCSeq: 1 OPTIONS")
		require.Equal(t, 299, r.send(options), "even with our Call-ID")
		require.Equal(t, []string{"NOTIFY", "OPTIONS"}, next.requests)

		l.stop()
		require.NoError(t, l.result(t))
		synctest.Wait()
		require.Len(t, next.requests, 2, "the last NOTIFY is still ours")
	})
}

// TestHandlerOfServer shows that in front of a presence server, which takes no
// NOTIFYs, those of subscriptions that are not known any more are answered 481
// (RFC 6665 §4.1.3).
func TestHandlerOfServer(t *testing.T) {
	users, err := directory.NewMemory(nil)
	require.NoError(t, err)
	var sender sipx.Sender
	var server *presence.Server
	run(t, setup{
		config: func(c *dialoginfo.Config) { sender = c.Sender },
		handler: func(m *dialoginfo.Monitor) sipx.Handler {
			guard, err := auth.New(auth.Config{Mode: auth.ModeOff})
			require.NoError(t, err)
			server, err = presence.New(presence.Config{Sender: sender, Directory: users, Guard: guard, Lines: m})
			require.NoError(t, err)
			other, err := dialoginfo.New(dialoginfo.Config{
				Sender: sender,
				PBX:    sipx.URI{Scheme: "sip", Host: "192.0.2.2"},
				From:   sipx.URI{Scheme: "sip", User: "presence", Host: "example.com"},
			})
			require.NoError(t, err)
			return m.Handler(other.Handler(server)) // two PBXs
		},
	}, func(t *testing.T, r *rig) {
		defer func() { require.NoError(t, server.Shutdown(t.Context())) }()
		r.state["200"] = full("early recipient")
		l := r.watch("200")
		require.Equal(t, "ringing", l.shown())
		r.mu.Lock()
		id := r.callID("200")
		r.mu.Unlock()
		old := r.build(id, "active", "")
		old.CallID = "of-a-former-run"
		require.Equal(t, 481, r.send(old))
		options := sipxtest.NewRequest("OPTIONS sip:192.0.2.7:5060 SIP/2.0\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: o\nCSeq: 1 OPTIONS")
		require.NotEqual(t, 481, r.send(options))
	})
}

type recorder struct {
	requests []string
	closed   []sipx.Flow
}

func (h *recorder) ServeSIP(_ context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	h.requests = append(h.requests, req.Method)
	_ = w.Respond(sipx.NewResponse(299))
}

func (h *recorder) FlowClosed(f sipx.Flow) { h.closed = append(h.closed, f) }

// TestFlowClosed shows that a broken connection makes us ask the PBX at once
// whether it still knows us.
func TestFlowClosed(t *testing.T) {
	next := &recorder{}
	run(t, setup{
		config:  func(c *dialoginfo.Config) { c.PBX.Params = ";transport=tcp" },
		handler: func(m *dialoginfo.Monitor) sipx.Handler { return m.Handler(next) },
	}, func(t *testing.T, r *rig) {
		r.state["200"] = full("confirmed")
		l := r.watch("200")
		require.Equal(t, "busy", l.shown())
		require.Equal(t, "<sip:presence@192.0.2.7:5060;transport=tcp>", r.seen()[0].Header.Get("Contact"))
		time.Sleep(40 * time.Second)
		r.restart()
		r.set(func() { r.state["200"] = full() })
		for _, f := range r.pbx.stack.Flows() {
			r.pbx.stack.CloseFlow(f)
		}
		time.Sleep(2 * time.Second)
		require.Equal(t, "idle", l.shown())
		require.Len(t, r.seen(), 2, "a refresh that got 481, and a new subscription")
		require.NotEmpty(t, next.closed, "passed on")
	})
}

func TestLimits(t *testing.T) {
	t.Run("devices", func(t *testing.T) {
		run(t, setup{config: func(c *dialoginfo.Config) { c.MaxDevices = 2 }}, func(t *testing.T, r *rig) {
			first := r.watch("200")
			r.watch("201").running(t)
			require.ErrorIs(t, r.watch("202").result(t), dialoginfo.ErrTooMany)
			first.stop()
			require.NoError(t, first.result(t))
			r.watch("202").running(t)
		})
	})
	t.Run("under way", func(t *testing.T) {
		run(t, setup{config: func(c *dialoginfo.Config) { c.MaxUnderWay = 2 }}, func(t *testing.T, r *rig) {
			r.network.Blackhole("192.0.2.1", true)
			var lamps []*lamp
			for _, dn := range []string{"200", "201", "202", "203"} {
				lamps = append(lamps, r.watch(dn))
			}
			time.Sleep(33 * time.Second)
			failed := 0
			for _, l := range lamps {
				l.mu.Lock()
				if l.ended {
					require.ErrorIs(t, l.err, sipx.ErrTimeout)
					failed++
				}
				l.mu.Unlock()
			}
			require.Equal(t, 2, failed, "the others have only now had their turn")
			r.network.Blackhole("192.0.2.1", false)
			time.Sleep(10 * time.Second)
			require.Len(t, r.seen(), 2)
		})
	})
}

func TestTarget(t *testing.T) {
	planted := errors.New("no such device")
	config := func(c *dialoginfo.Config) {
		c.UserAgent = "gateway/1"
		c.Contact = sipx.URI{Scheme: "sip", User: "blf", Host: "192.0.2.7", Port: 5060}
		c.Route = []string{"<sip:192.0.2.1;lr>"}
		c.Target = func(dn string) (sipx.URI, error) {
			switch dn {
			case "none":
				return sipx.URI{}, planted
			case "tel":
				return sipx.ParseURI("tel:200")
			}
			return sipx.ParseURI("sip:ext-" + dn + "@tenant.example.com")
		}
	}
	run(t, setup{config: config}, func(t *testing.T, r *rig) {
		require.ErrorIs(t, r.watch("none").result(t), planted)
		require.ErrorContains(t, r.watch("tel").result(t), "no sip")
		r.watch("200").running(t)
		req := r.seen()[0]
		require.Equal(t, "sip:ext-200@tenant.example.com", req.URI.String())
		require.Equal(t, "<sip:192.0.2.1;lr>", req.Header.Get("Route"))
		require.Equal(t, "<sip:blf@192.0.2.7:5060>", req.Header.Get("Contact"))
		require.Equal(t, "gateway/1", req.Header.Get("User-Agent"))
	})
	run(t, setup{}, func(t *testing.T, r *rig) {
		require.ErrorContains(t, r.watch("").result(t), "0 bytes")
		r.watch("*21#@evil;x\r\ny").running(t)
		require.Equal(t, "sip:*21%23%40evil%3Bx%0D%0Ay@192.0.2.1:5060", r.seen()[0].URI.String())
	})
}

func TestConfig(t *testing.T) {
	pbx := sipx.URI{Scheme: "sip", Host: "pbx.example.com"}
	good := dialoginfo.Config{Sender: new(sipxtest.NullSender), PBX: pbx, From: pbx}
	for want, change := range map[string]func(*dialoginfo.Config){
		"":            func(c *dialoginfo.Config) {},
		"Sender":      func(c *dialoginfo.Config) { c.Sender = nil },
		"PBX":         func(c *dialoginfo.Config) { c.PBX = sipx.URI{Scheme: "tel", User: "1"} },
		"From":        func(c *dialoginfo.Config) { c.From = sipx.URI{} },
		"Contact":     func(c *dialoginfo.Config) { c.Contact = sipx.URI{Scheme: "mailto", User: "a"} },
		"Password":    func(c *dialoginfo.Config) { c.Password = auth.NewSecret([]byte("secret")) },
		"line break":  func(c *dialoginfo.Config) { c.UserAgent = "a\r\nb" },
		"Route":       func(c *dialoginfo.Config) { c.Route = []string{"<"} },
		"Expires":     func(c *dialoginfo.Config) { c.Expires = 1500 * time.Millisecond },
		"MaxDevices":  func(c *dialoginfo.Config) { c.MaxDevices = -1 },
		"MaxDialogs":  func(c *dialoginfo.Config) { c.MaxDialogs = -1 },
		"MaxBody":     func(c *dialoginfo.Config) { c.MaxBody = -1 },
		"MaxUnderWay": func(c *dialoginfo.Config) { c.MaxUnderWay = -1 },
	} {
		t.Run(want, func(t *testing.T) {
			cfg := good
			change(&cfg)
			m, err := dialoginfo.New(cfg)
			if want == "" {
				require.NoError(t, err)
				require.NotNil(t, m)
				return
			}
			require.ErrorContains(t, err, want)
			require.NotContains(t, err.Error(), "secret")
		})
	}
}
