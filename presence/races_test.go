package presence_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

// Two refreshes that find the same new entry at one moment resolve it once.
func TestEntryAppearsForTwo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var there atomic.Bool
		w := newWorld(t, func(c *presence.Config) {
			real := c.Directory
			c.Directory = directory.Func(func(ctx context.Context, a directory.Address) (directory.Entry, error) {
				if !there.Load() {
					return directory.Entry{}, directory.ErrNotFound
				}
				time.Sleep(time.Second)
				return real.Lookup(ctx, a)
			})
		})
		a, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		b, _ := w.standard("bob", "192.0.2.8").subscribe("sip:tom@example.com")
		there.Store(true)
		var both sync.WaitGroup
		for _, s := range []*sub{a, b} {
			req := s.e.request("SUBSCRIBE", "sip:192.0.2.1", "<"+s.uri+">;tag="+s.toTag, s.callID, 2, "", "Event: presence")
			both.Go(func() { w.send(req) })
		}
		both.Wait()
		require.Equal(t, 2, w.server.Stats().Watches)
	})
}

// BSP-2.2-4: what a client publishes at the moment at which the user's other client signs
// out stays.
func TestPublishMeetsSignOut(t *testing.T) {
	w := newWorld(t)
	for range 500 {
		last, other := w.client("tom", "192.0.2.8"), w.client("tom", "192.0.2.9")
		require.Equal(t, 200, last.status("", "available", "").Status)
		bye := last.request("PUBLISH", "sip:192.0.2.1", "<sip:tom@example.com>", "bye", 1, "", "Expires: 0", "Event: presence")
		busy := other.request("PUBLISH", "sip:192.0.2.1", "<sip:tom@example.com>", "busy", 1, bluStarBody("busy", ""),
			"Expires: 60", "Event: presence", "Content-Type: application/pidf+xml", "SIP-If-Match: old")
		var both sync.WaitGroup
		both.Go(func() { require.Equal(t, 200, w.send(bye).Status) })
		both.Go(func() { require.Equal(t, 200, w.send(busy).Status) })
		both.Wait()
		list := w.server.Publications()
		require.Len(t, list, 1)
		require.Contains(t, []string{"busy", "available"}, list[0].Status, "the first PUBLISH of a client may be ignored")
		require.Equal(t, 200, other.publish("", "", "Expires: 0").Status)
		require.Empty(t, w.server.Publications())
	}
}

// BSP-2.4-3, BSP-4.1-1: a client that two look-ups find at once has not come back by the
// second: what it has published since the first was not its first PUBLISH.
func TestClientFoundTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var there atomic.Bool
		w := newWorld(t, func(c *presence.Config) {
			real := c.Directory
			c.Directory = directory.Func(func(ctx context.Context, a directory.Address) (directory.Entry, error) {
				if there.Load() && a.Value == "desk@example.com" {
					time.Sleep(time.Second) // it has no entry, and is asked for each of the two
				} else if !there.Load() {
					return directory.Entry{}, directory.ErrNotFound
				}
				return real.Lookup(ctx, a)
			})
		})
		e := w.client("tom", "192.0.2.8")
		e.from = "sip:desk@example.com"
		a, _ := e.subscribe("sip:tom@example.com")
		b, _ := e.subscribe("sip:tom@example.com")
		there.Store(true)
		for _, s := range []*sub{a, b} {
			req := s.e.request("SUBSCRIBE", "sip:192.0.2.1", "<"+s.uri+">;tag="+s.toTag, s.callID, 2, "", "Event: presence")
			go w.send(req)
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(1200 * time.Millisecond)
		require.Equal(t, 1, w.server.Stats().Clients, "by the first")
		require.Equal(t, 200, e.publishAs("tom", "", bluStarBody("busy", "1")).Status)
		time.Sleep(500 * time.Millisecond)
		w.net.take()
		require.Equal(t, 200, e.publishAs("tom", "", bluStarBody("busy", "2")).Status)
		require.Equal(t, "2", a.one().note(t))
	})
}

// BSP-2.1-8: that there was no entry is forgotten when the directory is down: it
// may have one when it is back.
func TestNobodyWhileDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var there atomic.Bool
		f := &flaky{}
		w := newWorld(t, func(c *presence.Config) {
			real := c.Directory
			f.Directory = directory.Func(func(ctx context.Context, a directory.Address) (directory.Entry, error) {
				if !there.Load() {
					return directory.Entry{}, directory.ErrNotFound
				}
				return real.Lookup(ctx, a)
			})
			c.Directory = f
		})
		require.NoError(t, w.server.Feed().SetLine(t.Context(), "2719", busyLine))
		w.standard("bob", "192.0.2.8").subscribe("sip:tom@example.com")
		f.state.Store(1)
		s, _ := w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.net.take()
		there.Store(true)
		f.state.Store(0)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, "In a call", s.of(w.net.take())[0].shown(t).note)
	})
}

// BSP-2.4-7: who claimed another user's address while the directory was down is
// let go when it is back.
func TestImpostorOfTheDownTimes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, g := &flaky{}, &gate{decision: as(`de\ann`)}
		w := newWorld(t, func(c *presence.Config) { f.Directory, c.Directory, c.Guard = c.Directory, f, g })
		f.state.Store(1)
		own, res := w.client("tom", "192.0.2.66").subscribe("sip:tom@example.com")
		require.Equal(t, 200, res.Status)
		f.state.Store(0)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Zero(t, w.server.Stats().Clients)
		list := own.of(w.net.take())
		require.Equal(t, "terminated;reason=rejected", list[len(list)-1].state())
		g.decision = auth.Decision{Verdict: auth.Accept}
		view, err := w.server.Presence(t.Context(), "sip:tom@example.com")
		require.NoError(t, err)
		require.False(t, view.State.Services.Global)
	})
}

// BSP-2.4-7: who claimed another user's address while the directory was down,
// with that user's Contact, has no part in the user's client, be that older or of
// the same time.
func TestImpostorWithTheSameContact(t *testing.T) {
	for name, comes := range map[string]struct{ before, after bool }{
		"client from before":  {before: true},
		"client comes first":  {},
		"client comes second": {after: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f, g := &flaky{}, &gate{}
				w := newWorld(t, func(c *presence.Config) { f.Directory, c.Directory, c.Guard = c.Directory, f, g })
				tom := w.client("tom", "192.0.2.8")
				var own *sub
				signIn := func() {
					g.decision = as(`de\tom`)
					own, _ = tom.subscribe("sip:tom@example.com")
				}
				if comes.before {
					signIn()
				}
				f.state.Store(1)
				if !comes.before && !comes.after {
					signIn()
				}
				g.decision = as(`de\ann`)
				forged, res := tom.subscribe("sip:tom@example.com")
				require.Equal(t, 200, res.Status)
				other, res := tom.subscribe("sip:bob@example.com")
				require.Equal(t, 200, res.Status)
				if comes.after {
					signIn()
				}
				g.decision = as(`de\ann`)
				if !comes.before { // the end of the one is not that of the other
					ended, _ := tom.subscribe("sip:tom@example.com")
					require.Equal(t, 200, ended.end().Status)
				}
				f.state.Store(0)
				time.Sleep(time.Minute)
				synctest.Wait()
				for _, s := range []*sub{forged, other} {
					require.Equal(t, 481, s.end().Status)
				}
				require.Equal(t, 1, w.server.Stats().Clients)
				g.decision = as(`de\tom`)
				require.Equal(t, 200, own.refresh().Status)
			})
		})
	}
}

// A NOTIFY that fails at once, because of a publication that expires, ends the
// client of the same user.
func TestFailsAtOnceOnExpiry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		tom := w.client("tom", "192.0.2.8")
		tom.subscribe("sip:tom@example.com")
		phone := w.standard("tom", "192.0.2.9")
		require.Equal(t, 200, phone.publish("", pidfBody("open", "<rpid:busy/>", ""), "Expires: 100").Status)
		w.net.answering(func(*sipx.Request) (*sipx.Response, error) { return nil, sipx.ErrFlowClosed })
		time.Sleep(101 * time.Second)
		synctest.Wait()
		require.Zero(t, w.server.Stats().Clients)
		require.Equal(t, 200, phone.publish("", pidfBody("open", "", "")).Status)
	})
}

// A SUBSCRIBE that is being served when the server shuts down has its last NOTIFY
// too.
func TestSubscribeMeetsShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, func(c *presence.Config) {
			real := c.Directory
			c.Directory = directory.Func(func(ctx context.Context, a directory.Address) (directory.Entry, error) {
				time.Sleep(time.Second)
				return real.Lookup(ctx, a)
			})
		})
		e := w.standard("ann", "192.0.2.7")
		req := e.request("SUBSCRIBE", "sip:192.0.2.1", "<sip:tom@example.com>", "late", 1, "", "Event: presence")
		served := make(chan int)
		go func() { served <- w.send(req).Status }()
		synctest.Wait()
		go func() { served <- 0; _ = w.server.Shutdown(context.Background()) }()
		require.Zero(t, <-served)
		require.Equal(t, 200, <-served)
		synctest.Wait()
		list := w.net.take()
		require.Equal(t, "terminated;reason=deactivated", list[len(list)-1].state())
		require.Zero(t, w.server.Stats().Subscriptions)
	})
}
