package presence_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

const openBob = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com"><tuple id="t"><status><basic>open</basic></status></tuple></presence>`
const closedBob = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com"><tuple id="t"><status><basic>closed</basic></status></tuple></presence>`

// Two nodes are told something else of one publication by the same entity-tag, before
// either has heard of the other: one is answered 200, the other 412, and all watchers are
// shown what the first said (RFC 3903 §6.2; BSX-12).
func TestClusterOneWinner(t *testing.T) {
	ends := []string{"Expires: 0"}
	for name, c := range map[string]struct {
		body    string // of the second; the first says "closed"
		headers []string
	}{
		"status":  {openBob, nil},
		"refresh": {"", nil},
		"end":     {"", ends},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newSite(t, "a", "b", "c")
				a, b := s.nodes["a"], s.nodes["b"]
				tag := etag(a.standard("bob", "192.0.2.9").publish("", openBob))
				settle()
				var watches []*sub
				for i, w := range []*world{a, b, s.nodes["c"]} {
					watch, _ := w.client("ann", []string{"192.0.2.21", "192.0.2.22", "192.0.2.23"}[i]).subscribe("sip:bob@example.com")
					require.Equal(t, "available", watch.one().shown(t).blustar)
					watches = append(watches, watch)
				}
				s.hub.mu.Lock()
				s.hub.delay = 50 * time.Millisecond
				s.hub.nodes["b"].gate = make(chan struct{}) // it is the second to write
				s.hub.mu.Unlock()
				var second *sipx.Response
				var done sync.WaitGroup
				done.Go(func() { second = b.standard("bob", "192.0.2.9").publish(tag, c.body, c.headers...) })
				settle()
				first := a.standard("bob", "192.0.2.9").publish(tag, closedBob)
				require.Equal(t, 200, first.Status)
				close(s.hub.nodes["b"].gate)
				done.Wait()
				require.Equal(t, 412, second.Status)
				time.Sleep(time.Second)
				for i, w := range watches {
					sent := w.of(w.e.w.net.take())
					require.NotEmpty(t, sent)
					require.Equal(t, "signed out", sent[len(sent)-1].shown(t).blustar, i)
				}
				require.Equal(t, 412, b.standard("bob", "192.0.2.9").publish(etag(second), openBob, "SIP-If-Match: "+tag).Status)
				require.Equal(t, 200, b.standard("bob", "192.0.2.9").publish(etag(first), openBob).Status, "the winner's tag is good everywhere")
				for _, w := range s.nodes {
					settle()
					require.Len(t, w.server.Publications(), 1)
				}
			})
		})
	}
}

// A store that has taken a change, and whose answer was lost, is asked again: what this
// node itself wrote beats nobody. What was answered 503 has not been, whatever the store has
// taken of it (BSX-12).
func TestClusterOwnWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, "a", "b")
		a, b := s.nodes["a"], s.nodes["b"]
		tag := etag(a.standard("bob", "192.0.2.9").publish("", openBob))
		settle()
		loses := func(is bool) {
			s.hub.mu.Lock()
			defer s.hub.mu.Unlock()
			s.hub.nodes["a"].loses = is
		}
		loses(true)
		require.Equal(t, 503, a.standard("bob", "192.0.2.9").publish(tag, closedBob).Status)
		time.Sleep(time.Second)
		loses(false)
		time.Sleep(time.Minute)
		require.False(t, a.server.Stats().StoreFailing)
		watch, _ := b.client("ann", "192.0.2.8").subscribe("sip:bob@example.com")
		require.Equal(t, "available", watch.one().shown(t).blustar)
		require.Equal(t, 200, a.standard("bob", "192.0.2.9").publish(tag, closedBob).Status, "the tag is good still")
		settle()
		require.Equal(t, "signed out", watch.one().shown(t).blustar)
		time.Sleep(2 * time.Hour)
		for _, w := range s.nodes {
			require.Empty(t, w.server.Publications())
		}
	})
}

// A client signs in at one node, and watches somebody at another that has not heard of it
// yet: it is one client, signed in, whichever began later (BSX-12).
func TestClusterWatchesBeforeItIsKnown(t *testing.T) {
	for name, later := range map[string]bool{"signs in first": false, "watches first": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newSite(t, "a", "b", "c")
				a, b, c := s.nodes["a"], s.nodes["b"], s.nodes["c"]
				watch, _ := c.client("ann", "192.0.2.8").subscribe("sip:tom@example.com")
				require.Equal(t, "signed out", watch.one().shown(t).blustar)
				s.hub.mu.Lock()
				s.hub.delay = 50 * time.Millisecond
				s.hub.mu.Unlock()

				tom := a.client("tom", "192.0.2.7")
				signIn := func() {
					_, res := tom.subscribe("sip:tom@example.com")
					require.Equal(t, 200, res.Status)
					require.Equal(t, 200, tom.status("", "busy", "in a meeting").Status)
				}
				if !later {
					signIn()
					time.Sleep(time.Millisecond)
				}
				list, res := b.client("tom", "192.0.2.7").subscribe("sip:bob@example.com")
				require.Equal(t, 200, res.Status)
				if later {
					time.Sleep(time.Millisecond)
					signIn()
				}
				time.Sleep(time.Second)
				sent := watch.of(c.net.take())
				require.NotEmpty(t, sent)
				require.Equal(t, "busy", sent[len(sent)-1].shown(t).blustar)
				for name, w := range s.nodes {
					require.Len(t, w.server.Clients(), 1, name)
				}

				require.Equal(t, 200, tom.publish("", "", "Expires: 0").Status) // it signs out, and with it all that it had
				time.Sleep(time.Second)
				require.Equal(t, "signed out", watch.one().shown(t).blustar)
				require.Equal(t, 481, list.refresh().Status)
			})
		})
	}
}
