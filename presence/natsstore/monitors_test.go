package natsstore_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/natsstore"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// Three nodes over a real NATS have watchers of the same lines. Each line is watched at one of
// them, and all show what that says. Once a node has ended, its lines are watched at the others,
// whose own have not moved; and no line was unknown meanwhile (BSX-12).
func TestMonitors(t *testing.T) {
	t.Parallel()
	nats := start(t)
	entry := directory.Entry{ID: "pool", SIP: []string{"pool@example.com"}}
	for i := range 20 {
		entry.Lines = append(entry.Lines, fmt.Sprint(300+i))
	}
	dir, err := directory.NewMemory([]directory.Entry{entry})
	require.NoError(t, err)
	b := &board{watching: make(map[string]map[int]chan string)}
	var servers []*presence.Server
	var stores []*natsstore.Store
	for i := range 3 {
		store := open(t, natsstore.Config{Conn: connect(t, nats), Node: fmt.Sprint("node ", i), Lease: natsstore.MaxLease})
		server, err := presence.New(presence.Config{
			Sender: taker{}, Directory: dir, Store: store, Domains: []string{"example.com"}, Lines: nodeLines{b, i},
		})
		require.NoError(t, err)
		t.Cleanup(func() { _ = server.Shutdown(context.Background()) })
		require.NoError(t, server.Restore(t.Context()))
		servers, stores = append(servers, server), append(stores, store)
		req := sipxtest.NewRequest(fmt.Sprintf(strings.Join([]string{
			"SUBSCRIBE sip:192.0.2.1 SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK%[1]d", "From: <sip:ann@example.com>;tag=%[1]d",
			"To: <sip:pool@example.com>", "Call-ID: %[1]d", "CSeq: 1 SUBSCRIBE", "Contact: <sip:ann@192.0.2.7>", "Event: presence",
			"Expires: 3600", "", ""}, "\n"), i))
		req.Flow = sipx.Flow{Transport: "udp", Remote: netip.MustParseAddrPort("192.0.2.7:5060")}
		rec := &sipxtest.Recorder{}
		server.ServeSIP(t.Context(), rec, req)
		require.Equal(t, 200, rec.Response().Status)
	}
	// steady waits until all of these nodes show a text, and returns who watches what.
	steady := func(text string, nodes ...int) (owners map[string]int) {
		t.Helper()
		known := make(map[string]bool)
		require.Eventually(t, func() bool {
			owners = b.owners()
			for _, dn := range entry.Lines {
				for _, n := range nodes {
					v, is := servers[n].Feed().Line(dn)
					key := fmt.Sprint(dn, " at ", n)
					assert.False(t, known[key] && !is, "%s is unknown", key)
					if known[key] = is; v.Value.Forward != text {
						return false
					}
				}
			}
			return len(owners) == len(entry.Lines)
		}, time.Minute, 5*time.Millisecond)
		return owners
	}
	b.say("one")
	steady("one", 0, 1, 2)
	b.say("two")
	three := steady("two", 0, 1, 2)
	require.Len(t, slices.Compact(slices.Sorted(maps.Values(three))), 3, "each has some")

	require.NoError(t, servers[0].Shutdown(t.Context()))
	require.NoError(t, stores[0].Close(t.Context()))
	for dn, owner := range steady("two", 1, 2) {
		if three[dn] != 0 {
			require.Equal(t, three[dn], owner, "line %s need not move", dn)
		}
	}
	b.say("three")
	steady("three", 1, 2)
}

// taker takes all that is sent.
type taker struct{}

func (taker) Send(req *sipx.Request, done sipx.ResponseHandler) {
	done.HandleResponse(req, sipx.NewResponse(200), nil)
}
func (taker) Contact(sipx.Flow) string { return "" }

// board is a telephone exchange, of which all lines say the same.
type board struct {
	mu       sync.Mutex
	text     string
	watching map[string]map[int]chan string // by line and node
}

func (b *board) say(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = text
	for _, nodes := range b.watching {
		for _, says := range nodes {
			says <- text
		}
	}
}

// owners are the nodes of those lines that one node watches.
func (b *board) owners() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	owners := make(map[string]int)
	for dn, nodes := range b.watching {
		for node := range nodes {
			if len(nodes) == 1 {
				owners[dn] = node
			}
		}
	}
	return owners
}

type nodeLines struct {
	*board
	node int
}

func (m nodeLines) MonitorLine(ctx context.Context, dn string, update func(presence.LineState)) error {
	says := make(chan string, 8)
	m.mu.Lock()
	says <- m.text
	if m.watching[dn] == nil {
		m.watching[dn] = make(map[int]chan string)
	}
	m.watching[dn][m.node] = says
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watching[dn], m.node)
	}()
	for {
		select {
		case text := <-says:
			update(presence.LineState{State: "busy", Forward: text})
		case <-ctx.Done():
			return nil
		}
	}
}
