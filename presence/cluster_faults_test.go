package presence_test

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

// A client ends at its node, while another one writes what the client has there, which is
// nothing of its own: the end counts there, too (BSX-12).
func TestClusterEndWhileWriting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, "a", "b")
		a, b := s.nodes["a"], s.nodes["b"]
		watch, _ := b.client("ann", "192.0.2.8").subscribe("sip:tom@example.com")
		tom := a.client("tom", "192.0.2.7")
		own, _ := tom.subscribe("sip:tom@example.com")
		require.Equal(t, 200, tom.status("", "busy", "").Status)
		b.net.take()
		store := s.hub.nodes["b"]
		s.hub.mu.Lock()
		store.gate = make(chan struct{})
		s.hub.mu.Unlock()
		at := *tom
		at.w = b
		done := make(chan *sub)
		go func() {
			bob, _ := at.subscribe("sip:bob@example.com")
			done <- bob
		}()
		settle()
		require.Equal(t, 200, own.end().Status)
		settle()
		close(store.gate)
		<-done
		settle()
		told := watch.of(b.net.take())
		require.Equal(t, "signed out", told[len(told)-1].shown(t).blustar)
		for _, w := range s.nodes {
			require.False(t, slices.ContainsFunc(w.server.Clients(), func(c presence.ClientInfo) bool { return c.User == "tom" }))
			require.Empty(t, w.server.Publications())
		}
	})
}

// The store has taken what a client began with, but its answer is lost: the client is
// answered 503, and is nowhere in the end (BSX-12).
func TestClusterLostAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, "a", "b")
		a, b := s.nodes["a"], s.nodes["b"]
		loses := func(is bool) {
			s.hub.mu.Lock()
			s.hub.nodes["a"].loses = is
			s.hub.mu.Unlock()
		}
		loses(true)
		_, res := a.client("tom", "192.0.2.7").subscribe("sip:tom@example.com")
		require.Equal(t, 503, res.Status)
		loses(false)
		time.Sleep(time.Minute)
		for name, w := range s.nodes {
			require.Empty(t, w.server.Clients(), name)
		}
		require.Empty(t, a.server.Subscriptions())
		require.Empty(t, b.server.Subscriptions())
		s.hub.mu.Lock()
		defer s.hub.mu.Unlock()
		for key := range s.hub.records {
			require.NotContains(t, []string{"client", "dialog", "turn"}, key[0])
		}
	})
}

// A publication expires after its node has died. The heir began after that, and has never
// heard of it: those who have a copy do not keep it (BSX-12).
func TestClusterExpiredMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, "a", "b")
		a, b := s.nodes["a"], s.nodes["b"]
		const open = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com"><tuple id="t"><status><basic>open</basic></status></tuple></presence>`
		require.Equal(t, 200, a.standard("bob", "192.0.2.9").publish("", open, "Expires: 100").Status)
		require.NoError(t, a.server.Feed().SetLine(t.Context(), "2719", presence.LineState{State: "busy", Lifetime: 100 * time.Second}))
		settle()
		watch, _ := b.client("ann", "192.0.2.8").subscribe("sip:bob@example.com")
		require.Equal(t, "available", watch.one().shown(t).blustar)
		time.Sleep(99 * time.Second)
		s.kill("a")
		time.Sleep(2 * time.Second)
		s.start("c")
		s.inherit("a", "c")
		time.Sleep(30 * time.Second)
		require.Equal(t, "signed out", watch.one().shown(t).blustar)
		require.Empty(t, b.server.Publications())
		_, known := b.server.Feed().Line("2719")
		require.False(t, known)
	})
}

// What is no node's is unknown, whatever a tag says, and what another node passes on is
// read with care (BSX-12).
func TestClusterHostile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, "a", "b")
		a := s.nodes["a"]
		watch, _ := a.client("ann", "192.0.2.8").subscribe("sip:tom@example.com")
		settle()
		watch.e.w = s.nodes["b"] // credentials stay where they came in
		require.Equal(t, 200, watch.again("", "Expires: 300", "X-BSS-rauth: c2VjcmV0", "Authorization: secret").Status)
		s.hub.mu.Lock()
		require.Len(t, s.hub.calls, 1)
		require.NotContains(t, strings.ToLower(s.hub.calls[0]), "auth")
		s.hub.mu.Unlock()
		watch.e.w = a
		for _, tag := range []string{"x.never", "x.*", "x.b.c", "x.", ".", "x." + string(bytes.Repeat([]byte("n"), 100))} {
			watch.toTag = tag
			require.Equal(t, 481, watch.refresh().Status, tag)
		}
		for _, message := range []string{
			"", "\n", "{}", "{}\n", "{}\nSUBSCRIBE", "x\nSUBSCRIBE sip:a SIP/2.0\r\n\r\n", `{"flow":7}` + "\n", "{}\nSIP/2.0 200 OK\r\n\r\n",
		} {
			require.Empty(t, s.hub.nodes["a"].answer(t.Context(), []byte(message)), message)
		}
		req := watch.e.request("SUBSCRIBE", "sip:tom@example.com", "<sip:tom@example.com>", "c", 1, "", "Event: presence", "Expires: 300")
		req.Header = nil
		res, err := sipx.ParseResponse(s.hub.nodes["a"].answer(t.Context(), req.AppendTo([]byte("{}\n"), "")))
		require.NoError(t, err)
		require.Equal(t, 489, res.Status)
	})
}

// A second node dies while its heir reads what the first one had: each dialog goes on once,
// with its record, so that the next heir has it too (BSX-12).
func TestClusterTwoDeathsAtOnce(t *testing.T) {
	for _, kind := range []string{"dialog", "turn"} { // the first of the second node's that is read after its death
		t.Run(kind, func(t *testing.T) { bubble(t, func(t *testing.T) { twoDeaths(t, kind) }) })
	}
}

func twoDeaths(t *testing.T, kind string) {
	s := newSite(t, "a", "b", "c", "d")
	c := s.nodes["c"]
	var all []*sub
	for i, name := range []string{"tom", "ann", "bob"} {
		e := s.nodes[[]string{"a", "b", "b"}[i]].client(name, "192.0.2."+string(rune('1'+i)))
		own, res := e.subscribe("sip:" + name + "@example.com")
		require.Equal(t, 200, res.Status)
		require.Equal(t, 200, e.status("", "busy", name).Status)
		watch, _ := e.subscribe("sip:tom@example.com")
		all = append(all, own, watch)
	}
	settle()
	s.kill("a")
	s.kill("b")
	heir, dead := s.hub.nodes["c"], false
	heir.reads = func(r presence.Record) {
		if r.Kind == kind && r.Node == "b" && !dead {
			dead = true
			s.hub.mu.Lock()
			revision := s.hub.write("c", []presence.Write{{Kind: presence.KindHeir, Key: "b", Value: []byte("c")}})[0]
			s.hub.mu.Unlock()
			for heir.seen.Load() < revision {
				runtime.Gosched()
			}
		}
	}
	s.inherit("a", "c")
	time.Sleep(2 * presence.ResumeSpread)
	require.True(t, dead)
	require.Len(t, c.server.Subscriptions(), len(all))
	dialogs := 0
	s.hub.mu.Lock()
	for key := range s.hub.records {
		if key[0] == "dialog" {
			dialogs++
		}
	}
	s.hub.mu.Unlock()
	require.Equal(t, len(all), dialogs)
	last := make(map[string]uint32)
	for _, n := range c.net.take() {
		require.Equal(t, "busy", n.shown(t).blustar)
		require.Greater(t, n.CSeq, last[n.CallID])
		last[n.CallID] = n.CSeq
	}

	s.kill("c")
	s.inherit("c", "d")
	time.Sleep(time.Minute)
	require.Len(t, s.nodes["d"].server.Clients(), 3)
	require.Len(t, s.nodes["d"].server.Subscriptions(), len(all))
	for _, n := range s.nodes["d"].net.take() {
		require.Equal(t, "busy", n.shown(t).blustar, "nobody is signed out")
	}
}
