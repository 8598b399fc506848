package presence_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

// signedIn is a client with its own subscription, a list and a publication.
func (w *world) signedIn(host string, flow sipx.Flow) (e *endpoint, own, list *sub, tag string) {
	e = w.client("tom", host)
	e.flow = flow
	own, _ = e.subscribe("sip:tom@example.com")
	list, _ = e.list("sip:67251@example.com", "sip:bob@example.com")
	tag = etag(e.status("", "available", ""))
	w.net.take()
	return e, own, list, tag
}

// signedOut is what remains of a user without clients.
var signedOut = shown{"sip:tom@example.com", "other:signed out", "Signed out", "signed out", ""}

// BSP-2.2-2, BSP-2.2-3: PUBLISH Expires 0 ends the client: each of its
// subscriptions has a last NOTIFY and is unknown after; and where it was the
// user's last, every watcher is told.
func TestSignOutByPublish(t *testing.T) {
	for _, withTag := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
			e, own, list, tag := w.signedIn("192.0.2.8", sipx.Flow{})
			if !withTag {
				tag = ""
			}
			res := e.publish(tag, "", "Expires: 0")
			require.Equal(t, 200, res.Status)
			require.Equal(t, "0", res.Header.Get("Expires"))
			sent := w.net.take()
			for _, s := range []*sub{own, list} {
				require.Len(t, s.of(sent), 1)
				require.Equal(t, "terminated;reason=timeout", s.of(sent)[0].state())
				require.Equal(t, "signed out", s.of(sent)[0].shown(t).blustar, "the last NOTIFY shows it too")
				require.Equal(t, 481, s.refresh().Status)
				require.Equal(t, 200, s.end().Status, "it may end what has just ended")
			}
			require.Equal(t, 200, e.publish("", "", "Expires: 0").Status)
			require.Equal(t, signedOut, watcher.of(sent)[0].shown(t))
			require.Equal(t, 412, e.publish(etag(res), "").Status, "its publication has ended too")
			require.Zero(t, w.server.Stats().Clients)
			require.Equal(t, 1, w.server.Stats().Watches)
		})
	}
}

// A client has ended before it is told so: what it sends as soon as it has the
// 200 to its PUBLISH with Expires 0 begins another life, which that end does not
// end too (BSP-2.2-2).
func TestComesBackAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		e, own, list, _ := w.signedIn("192.0.2.8", sipx.Flow{})
		var again *sub
		req := e.request("PUBLISH", "sip:192.0.2.1:5060", "<"+e.from+">", "bye", 1, "", "Expires: 0", "Event: presence")
		req.Flow = udp("192.0.2.8:5060")
		w.server.ServeSIP(t.Context(), onResponse(func(res *sipx.Response) {
			require.Equal(t, 200, res.Status)
			require.Zero(t, w.server.Stats().Clients)
			again, _ = e.subscribe("sip:tom@example.com")
			require.Equal(t, 200, e.status("", "busy", "").Status)
		}), req)
		sent := w.net.take()
		require.Equal(t, "terminated;reason=timeout", own.of(sent)[0].state())
		require.Equal(t, "terminated;reason=timeout", list.of(sent)[0].state())
		require.Equal(t, 200, again.refresh().Status)
		last := again.of(sent)
		require.Equal(t, "busy", last[len(last)-1].shown(t).blustar)
	})
}

// onResponse is a ResponseWriter that calls a function at the moment at which
// the response leaves.
type onResponse func(*sipx.Response)

func (f onResponse) Respond(res *sipx.Response) error { f(res); return nil }

// BSP-2.2-2, BSP-2.2-1: a PC client has two own subscriptions, its address and its
// list. It ends with the last of them, in either order; another ends alone.
func TestSignOutBySubscribe(t *testing.T) {
	for _, listFirst := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
			e, own, list, _ := w.signedIn("192.0.2.8", sipx.Flow{})
			other, _ := e.subscribe("sip:bob@example.com")
			w.net.take()
			require.Equal(t, 200, other.end().Status)
			require.Equal(t, "terminated;reason=timeout", other.one().state())
			require.Equal(t, 200, own.refresh().Status)

			other, _ = e.subscribe("sip:bob@example.com")
			w.net.take()
			first, last := own, list
			if listFirst {
				first, last = list, own
			}
			require.Equal(t, 200, first.end().Status)
			require.Equal(t, "terminated;reason=timeout", first.one().state())
			require.Equal(t, 200, other.refresh().Status)
			require.Equal(t, 1, len(w.server.Publications()))
			require.Equal(t, 200, last.end().Status)
			sent := w.net.take()
			require.Equal(t, "terminated;reason=timeout", last.of(sent)[0].state())
			require.Equal(t, "terminated;reason=timeout", other.of(sent)[0].state())
			require.Equal(t, signedOut, watcher.of(sent)[0].shown(t))
			require.Equal(t, 481, other.refresh().Status)
		})
	}
}

// BSP-2.2-2, BSP-2.9-3: a list that is changed, by its end and another or by
// another and its end, ends neither the client nor the dialog of its own address.
func TestListChangedByAnother(t *testing.T) {
	for _, endFirst := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
			e, own, list, tag := w.signedIn("192.0.2.8", sipx.Flow{})
			for range 3 {
				if endFirst {
					require.Equal(t, 200, list.end().Status)
				}
				another, _ := e.list("sip:tom@example.com", "sip:bob@example.com", "sip:ann@example.com")
				if !endFirst {
					require.Equal(t, 200, list.end().Status)
				}
				list = another
				require.Equal(t, 200, own.refresh().Status)
				require.Equal(t, 200, list.refresh().Status)
			}
			require.Empty(t, watcher.of(w.net.take()))
			require.Equal(t, tag, etag(e.publish(tag, "")))
			require.Equal(t, 200, list.end().Status)
			require.Equal(t, 200, own.end().Status)
			require.Equal(t, signedOut, watcher.of(w.net.take())[0].shown(t))
		})
	}
}

// BSP-2.2-4: while another client of the user remains, the status stays.
func TestSignOutOfOneOfTwo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		desk, _, _, tag := w.signedIn("192.0.2.8", sipx.Flow{})
		mobile, own, list, _ := w.signedIn("192.0.2.9", sipx.Flow{})
		require.Equal(t, 200, desk.publish(tag, "", "Expires: 0").Status)
		require.Empty(t, watcher.of(w.net.take()))
		require.Equal(t, 200, own.refresh().Status)
		require.Equal(t, tag, etag(mobile.status(tag, "busy", "")))
		require.Equal(t, "busy", watcher.of(w.net.take())[0].shown(t).activity)
		require.Equal(t, 200, list.end().Status)
		require.Equal(t, 200, own.end().Status)
		require.Equal(t, signedOut, watcher.of(w.net.take())[0].shown(t))
		require.NotEqual(t, tag, etag(mobile.status("", "available", "")), "a new life has a new entity-tag")
		require.Equal(t, "other:available", watcher.of(w.net.take())[0].shown(t).activity)
	})
}

// BSP-2.3-1, BSP-2.3-2: the unintended ends of a client: of one own subscription
// after the other, of its connection, or of its answers.
func TestUnintendedEnd(t *testing.T) {
	answer := func(status int, err error) func(w *world, own, list *sub) {
		return func(w *world, own, list *sub) {
			w.net.answering(func(req *sipx.Request) (*sipx.Response, error) {
				switch {
				case req.CallID != own.callID && req.CallID != list.callID:
					return sipx.NewResponse(200), nil
				case err != nil:
					return nil, err
				}
				return sipx.NewResponse(status), nil
			})
			require.NoError(w, w.server.Feed().SetLine(t.Context(), "2719", busyLine))
		}
	}
	for name, end := range map[string]func(w *world, own, list *sub){
		"not refreshed":   func(*world, *sub, *sub) { time.Sleep(331 * time.Second) },
		"connection gone": func(w *world, _, _ *sub) { w.server.FlowClosed(tcp(7)) },
		"481":             answer(481, nil),
		"404":             answer(404, nil),
		"410":             answer(410, nil),
		"604":             answer(604, nil),
		"timeout":         answer(0, sipx.ErrTimeout),
		"network":         answer(0, sipx.ErrFlowClosed),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				_, own, list, _ := w.signedIn("192.0.2.8", tcp(7))
				time.Sleep(30 * time.Second)
				require.Equal(t, 200, list.refresh().Status)
				watcher, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
				time.Sleep(100 * time.Second)
				require.Equal(t, 200, watcher.refresh().Status)
				w.net.take()
				end(w, own, list)
				sent := watcher.of(w.net.take())
				require.NotEmpty(t, sent)
				got := sent[len(sent)-1].shown(t)
				require.Equal(t, "signed out", got.blustar)
				require.Empty(t, got.services)
				require.Equal(t, 481, own.refresh().Status)
				require.Equal(t, 481, list.refresh().Status)
				require.Zero(t, w.server.Stats().Clients)
			})
		})
	}
}

// BSP-2.3-1: one own subscription that is not known any more, or not refreshed,
// ends alone while the other lives.
func TestOneOfTwoOwnSubscriptions(t *testing.T) {
	for name, end := range map[string]func(w *world, own *sub){
		"not refreshed": func(*world, *sub) { time.Sleep(280 * time.Second) },
		"481": func(w *world, own *sub) {
			w.net.answering(func(req *sipx.Request) (*sipx.Response, error) {
				if req.CallID == own.callID {
					return sipx.NewResponse(481), nil
				}
				return sipx.NewResponse(200), nil
			})
			require.NoError(w, w.server.Feed().SetLine(t.Context(), "2719", busyLine))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				e, own, list, tag := w.signedIn("192.0.2.8", sipx.Flow{})
				time.Sleep(30 * time.Second)
				require.Equal(t, 200, list.refresh().Status)
				end(w, own)
				require.Equal(t, 481, own.refresh().Status)
				require.Equal(t, 200, list.refresh().Status)
				require.Equal(t, tag, etag(e.publish(tag, "")))
				require.Equal(t, 1, w.server.Stats().Clients)
			})
		})
	}
}

// BSP-2.3-1: a NOTIFY that is lost ends no client that answered others meanwhile,
// and no subscription; it is sent again. Without any answer the client is gone.
func TestOneNotifyIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		_, own, list, _ := w.signedIn("192.0.2.8", sipx.Flow{})
		tag := etag(w.client("bob", "192.0.2.9").status("", "busy", ""))
		w.net.take()
		w.net.hold()
		w.client("bob", "192.0.2.9").status(tag, "available", "")
		lost := list.one()
		require.NoError(t, w.server.Feed().SetLine(t.Context(), "2719", busyLine))
		sent := w.net.take()
		time.Sleep(time.Second)
		for _, n := range sent {
			n.ok()
		}
		time.Sleep(31 * time.Second)
		lost.lost()
		again := list.one()
		require.Equal(t, "other:available", again.shown(t).activity)
		require.Equal(t, 200, own.refresh().Status)
		require.Equal(t, 200, list.refresh().Status)

		time.Sleep(32 * time.Second)
		again.lost()
		require.Equal(t, 481, own.refresh().Status)
		require.Equal(t, 481, list.refresh().Status)
		require.Zero(t, w.server.Stats().Subscriptions)
	})
}

// BSP-2.3-1: a publication that is not refreshed ends alone while its client
// lives: the status is unknown then. One that only publishes ends with it. A
// subscription that is not the own one ends alone too.
func TestExpiryOfPublicationAndOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		e, own, list, _ := w.signedIn("192.0.2.8", sipx.Flow{})
		other, _ := e.subscribe("sip:bob@example.com")
		w.net.take()
		keep := func(n int) {
			for range n {
				time.Sleep(240 * time.Second)
				require.Equal(t, 200, own.refresh().Status)
				require.Equal(t, 200, list.refresh().Status)
			}
		}
		keep(14)
		sent := w.net.take()
		require.Equal(t, "terminated;reason=timeout", other.of(sent)[len(other.of(sent))-1].state())
		require.Equal(t, 1, w.server.Stats().Clients)
		keep(2)
		require.Equal(t, shown{"sip:tom@example.com", "other:unknown", "", "unknown", "gam"}, own.one().shown(t))
		require.Equal(t, 1, w.server.Stats().Clients)
		require.Equal(t, 200, e.status("", "busy", "").Status)
		require.Equal(t, "busy", own.one().shown(t).activity)
	})
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		watcher, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, 200, w.client("tom", "192.0.2.8").status("", "busy", "").Status)
		for range 15 {
			time.Sleep(241 * time.Second)
			w.net.take()
			require.Equal(t, 200, watcher.refresh().Status)
		}
		require.Equal(t, signedOut, watcher.one().shown(t))
		require.Zero(t, w.server.Stats().Clients)
	})
}

// A client that crashed and came back has its old dialogs answered 481: that is
// the end of those, not of the client that has subscribed since.
func TestRestartedClientIsNotSignedOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		_, old, oldList, tag := w.signedIn("192.0.2.8", sipx.Flow{})
		e := w.client("tom", "192.0.2.8")
		again, _ := e.subscribe("sip:tom@example.com")
		require.Equal(t, tag, etag(e.status("", "available", "")))
		w.net.take()
		w.net.answering(func(req *sipx.Request) (*sipx.Response, error) {
			if req.CallID == old.callID || req.CallID == oldList.callID {
				return sipx.NewResponse(481), nil
			}
			return sipx.NewResponse(200), nil
		})
		e.status(tag, "busy", "")
		require.Equal(t, "busy", again.one().shown(t).activity)
		require.Equal(t, 200, again.refresh().Status)
		require.Equal(t, 1, w.server.Stats().Clients)
		require.Equal(t, 1, w.server.Stats().Subscriptions)
	})
}

// BSP-4.1-1: only a subscription to the user's own address ties a client to the
// user, by whichever of its addresses.
func TestOwnSubscription(t *testing.T) {
	for uri, own := range map[string]bool{
		"sip:tom@example.com": true, "sip:67251@example.com": true, "tel:2719": true, "sip:bob@example.com": false,
	} {
		w := newWorld(t)
		w.client("tom", "192.0.2.8").subscribe(uri)
		require.Equal(t, own, w.server.Subscriptions()[0].Own, uri)
		require.Equal(t, own, w.server.Stats().Clients == 1, uri)
	}
	w := newWorld(t)
	w.client("tom", "192.0.2.8").list("sip:bob@example.com", "sip:tom@example.com")
	require.False(t, w.server.Subscriptions()[0].Own, "the first entry decides")
	w.client("tom", "192.0.2.8").list("tel:2719", "sip:bob@example.com")
	require.True(t, w.server.Subscriptions()[1].Own)
}

// number is a client as the document prints it: From is its number, which the
// directory does not have (BSP-4.1-1).
func (w *world) number(host string) *endpoint {
	e := w.client("tom", host)
	e.from, e.contact = "sip:99@example.com", "sip:99@"+host
	return e
}

// publishAs publishes with the user's address in From and To, as printed.
func (e *endpoint) publishAs(user, tag, body string, fields ...string) *sipx.Response {
	e.w.Helper()
	from := *e
	from.from = "sip:" + user + "@example.com"
	return from.publish(tag, body, fields...)
}

// BSP-4.1-1: a client whose number the directory does not have is that of the
// authenticated account, whatever it subscribes to first.
func TestWhoseClientByAccount(t *testing.T) {
	for name, uris := range map[string][]string{
		"own first": {"sip:tom@example.com", "sip:bob@example.com"},
		"own last":  {"sip:bob@example.com", "sip:tom@example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			w, g := guarded(t, as(`de\tom`))
			e := w.number("192.0.2.8")
			var subs []*sub
			for _, uri := range uris {
				s, res := e.subscribe(uri)
				require.Equal(t, 200, res.Status)
				subs = append(subs, s)
			}
			for _, s := range w.server.Subscriptions() {
				require.Equal(t, s.Resources[0] == "sip:tom@example.com", s.Own)
			}
			require.Equal(t, 200, e.publishAs("tom", "", bluStarBody("busy", "")).Status)
			require.Len(t, w.server.Clients(), 1)
			require.Equal(t, 2, w.server.Clients()[0].Subscriptions)
			g.decision = as(`de\ann`) // with the same Contact
			forged, _ := e.subscribe("sip:tom@example.com")
			require.Len(t, w.server.Clients(), 1)
			require.Equal(t, 200, forged.end().Status)
			require.Len(t, w.server.Clients(), 1)
			g.decision = as(`de\tom`)
			require.Equal(t, 200, e.publishAs("tom", "", "", "Expires: 0").Status)
			for _, s := range subs {
				require.Equal(t, 481, s.refresh().Status)
			}
			require.Zero(t, w.server.Stats().Clients)
		})
	}
}

// BSP-4.1-1: where nobody is authenticated, and From has no entry, the client is
// that of the first address that its Contact subscribes to.
func TestWhoseClientByFirstAddress(t *testing.T) {
	w := newWorld(t)
	watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
	e := w.number("192.0.2.8")
	own, _ := e.subscribe("sip:tom@example.com")
	list, _ := e.list("sip:tom@example.com", "sip:bob@example.com")
	other, _ := e.subscribe("sip:bob@example.com")
	require.Equal(t, 200, e.publishAs("tom", "", bluStarBody("busy", "")).Status)
	for i, want := range []bool{true, true, false} {
		require.Equal(t, want, w.server.Subscriptions()[1+i].Own, "subscription %d", i)
	}
	require.Len(t, w.server.Clients(), 1)
	w.net.take()
	require.Equal(t, 200, own.end().Status)
	require.Equal(t, 200, list.end().Status)
	sent := w.net.take()
	require.Equal(t, signedOut, watcher.of(sent)[0].shown(t))
	require.Equal(t, "terminated;reason=timeout", other.of(sent)[0].state())
	require.Zero(t, w.server.Stats().Clients)
}

// BSP-4.1-1, BSP-2.3-2: the connection of a printed client that is gone signs its
// user out.
func TestPrintedClientLosesItsConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w, g := guarded(t, as(`de\ann`))
		watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		g.decision = as(`de\tom`)
		e := w.number("192.0.2.8")
		e.flow = tcp(7)
		e.subscribe("sip:tom@example.com")
		e.list("sip:tom@example.com", "sip:bob@example.com")
		require.Equal(t, 200, e.publishAs("tom", "", bluStarBody("busy", "")).Status)
		w.net.take()
		w.server.FlowClosed(tcp(7))
		require.Equal(t, signedOut, watcher.one().shown(t))
		require.Empty(t, w.server.Publications())
	})
}

// BSP-4.1-1, BSP-2.1-8: the same while the directory is down, and when it is back.
func TestWhoseClientWhileDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, g := &flaky{}, &gate{decision: as(`de\tom`)}
		w := newWorld(t, func(c *presence.Config) { f.Directory, c.Directory, c.Guard = c.Directory, f, g })
		f.state.Store(1)
		e := w.number("192.0.2.8")
		own, _ := e.subscribe("sip:tom@example.com")
		list, _ := e.list("sip:tom@example.com", "sip:bob@example.com")
		f.state.Store(0)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 200, e.publishAs("tom", "", bluStarBody("busy", "")).Status)
		require.Len(t, w.server.Clients(), 1)
		require.Equal(t, 2, w.server.Clients()[0].Subscriptions)
		require.Equal(t, 200, own.end().Status)
		require.Equal(t, 200, list.end().Status)
		require.Zero(t, w.server.Stats().Clients)
	})
}

// BSP-2.11-2, BSP-2.9-2: an AMCC has one Contact for many users. One user's end
// leaves the others; a refresh has all that this user watches sent again.
func TestAMCC(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		amc := func(user string) (*endpoint, *sub, *sub) {
			e := w.client(user, "x")
			e.contact, e.agent = "sip:fmc@192.0.2.30:5060", "AMCC/1.0"
			own, _ := e.subscribe("sip:" + user + "@example.com")
			list, _ := e.list("sip:tom@example.com", "sip:bob@example.com")
			return e, own, list
		}
		_, tomOwn, tomList := amc("tom")
		_, annOwn, annList := amc("ann")
		require.Equal(t, 2, w.server.Stats().Clients)
		w.net.take()

		require.Equal(t, 200, annOwn.refresh().Status)
		sent := w.net.take()
		require.Len(t, annOwn.of(sent), 1)
		require.Len(t, annList.of(sent), 2)
		require.Empty(t, tomOwn.of(sent))
		require.Empty(t, tomList.of(sent))

		require.Equal(t, 200, tomList.end().Status)
		require.Equal(t, 2, w.server.Stats().Clients)
		require.Equal(t, 200, tomOwn.end().Status)
		require.Equal(t, 200, annList.refresh().Status)
		require.Equal(t, 1, w.server.Stats().Clients)
	})
}

// BSX-4: who is refused for want of room changes nothing for those who are in.
func TestTooManyClientsLeavesOthers(t *testing.T) {
	w := newWorld(t, func(c *presence.Config) { c.MaxClients = 1 })
	tom := w.client("tom", "192.0.2.8")
	tag := etag(tom.status("", "busy", ""))
	require.Equal(t, 403, w.client("tom", "192.0.2.9").status(tag, "available", "").Status)
	require.Equal(t, 200, tom.status(tag, "away", "").Status)
}
