package presence_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

// hub is what several nodes share: records in the order of their revisions.
type hub struct {
	mu       sync.Mutex
	records  map[[2]string]presence.Record
	log      []presence.Record // all writes
	revision uint64
	nodes    map[string]*nodeStore
	changed  chan struct{} // closed by the next write
	delay    time.Duration // until a write is seen by others
	calls    []string
	stray    []string // who has deleted publications of others that were there
}

func newHub() *hub {
	return &hub{records: make(map[[2]string]presence.Record), nodes: make(map[string]*nodeStore), changed: make(chan struct{})}
}

// nodeStore is the store as one node has it.
type nodeStore struct {
	*hub
	name   string
	dead   bool
	away   bool                  // the store cannot be reached
	silent time.Time             // until when that was so
	loses  bool                  // its writes are done, but it hears of an error
	gate   chan struct{}         // its writes wait until it is closed; nil: they do not
	reads  func(presence.Record) // is told of each record that Load reads; may be nil
	seen   atomic.Uint64         // the last revision that Watch has told
	lag    time.Duration         // that its writes take
	answer func(ctx context.Context, message []byte) []byte
}

var errDead = errors.New("another node has taken its place")

func (n *nodeStore) Node() string { return n.name }

func (n *nodeStore) AliveSince(then time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.away && !n.dead && !then.Before(n.silent)
}

func (n *nodeStore) Living() (names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, node := range n.nodes {
		if !node.dead {
			names = append(names, name)
		}
	}
	return names
}

// leave has nodes not reach the store, and reach it again.
func (h *hub) leave(is bool, names ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range names {
		if h.nodes[name].away = is; !is {
			h.nodes[name].silent = time.Now()
		}
	}
	close(h.changed) // watches end
	h.changed = make(chan struct{})
}

func (n *nodeStore) Load(ctx context.Context, f func(presence.Record) error) error {
	n.mu.Lock()
	if n.away {
		n.mu.Unlock()
		return errDead
	}
	all := slices.Collect(maps.Values(n.records))
	n.mu.Unlock()
	slices.SortFunc(all, func(a, b presence.Record) int { return int(a.Revision) - int(b.Revision) })
	for _, r := range all {
		if !r.Expires.IsZero() && !r.Expires.After(time.Now()) {
			continue
		}
		if n.reads != nil {
			n.reads(r)
		}
		if err := f(r); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (n *nodeStore) Apply(ctx context.Context, batch []presence.Write) ([]uint64, error) {
	n.mu.Lock()
	gate, lag := n.gate, n.lag
	n.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if lag > 0 {
		select {
		case <-time.After(lag):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead || n.away {
		return nil, errDead
	}
	revisions := n.write(n.name, batch)
	if n.loses {
		return nil, errors.New("no answer")
	}
	return revisions, ctx.Err()
}

func (h *hub) write(node string, batch []presence.Write) []uint64 {
	revisions := make([]uint64, len(batch))
	for i, w := range batch {
		key := [2]string{w.Kind, w.Key}
		old := h.records[key]
		if !old.Expires.IsZero() && !old.Expires.After(time.Now()) {
			old.Revision = 0
		}
		if w.Conditional && old.Revision != w.Revision {
			continue
		}
		if w.Kind == "publication" && w.Value == nil && old.Node != "" && old.Node != node {
			// Of what has expired while both were away either may say so.
			last := h.nodes[old.Node]
			if silent := max(last.silent.Unix(), h.nodes[node].silent.Unix()); !last.dead && !last.away && time.Now().Unix() > silent+15 {
				h.stray = append(h.stray, node)
			}
		}
		h.revision++
		revisions[i] = h.revision
		r := presence.Record{Kind: w.Kind, Key: w.Key, Value: slices.Clone(w.Value), Expires: w.Expires, Revision: h.revision, Node: node}
		if h.log = append(h.log, r); len(h.log) > 50_000 {
			panic("the nodes write without end")
		}
		if h.records[key] = r; w.Value == nil {
			delete(h.records, key)
		}
	}
	close(h.changed)
	h.changed = make(chan struct{})
	return revisions
}

func (n *nodeStore) Watch(ctx context.Context, after uint64, kinds []string, f func(presence.Record)) error {
	began := time.Now()
	for {
		n.mu.Lock()
		if n.away || n.silent.After(began) {
			n.mu.Unlock()
			return errors.New("something was missed")
		}
		changed, delay := n.changed, n.delay
		i := int(after)
		list := slices.Clone(n.log[i:])
		n.mu.Unlock()
		if delay > 0 {
			select {
			case <-time.After(delay): // of the bubble
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for _, r := range list {
			if after = r.Revision; slices.Contains(kinds, r.Kind) {
				f(r)
			}
			n.seen.Store(after)
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *nodeStore) Call(ctx context.Context, node string, message []byte) ([]byte, error) {
	n.mu.Lock()
	n.calls = append(n.calls, string(message))
	other := n.nodes[node]
	n.mu.Unlock()
	if other == nil {
		return nil, presence.ErrNoNode
	}
	if other.dead || other.away || n.away || other.answer == nil {
		return nil, errors.New("nobody there")
	}
	return other.answer(ctx, message), nil
}

func (n *nodeStore) Answer(f func(ctx context.Context, message []byte) []byte) { n.answer = f }

// site is several nodes that share a hub. Each is a world of its own; a watcher is what
// is told by all of them.
type site struct {
	*testing.T
	hub   *hub
	nodes map[string]*world
	board *switchboard // whose lines they watch
	lines []string     // of the user pool
}

func newSite(t *testing.T, names ...string) *site {
	s := &site{T: t, hub: newHub(), nodes: make(map[string]*world), board: newSwitchboard()}
	for _, name := range names {
		s.start(name)
	}
	return s
}

// watch has the nodes that start from now on watch the lines of the exchange, all of
// which the user pool has.
func (s *site) watch(lines int) {
	s.lines = pool(lines).Lines
	for _, dn := range s.lines {
		s.board.change(dn)
	}
}

func (s *site) start(name string, configure ...func(*presence.Config)) *world {
	s.Helper()
	store := &nodeStore{hub: s.hub, name: name}
	s.hub.nodes[name] = store
	configure = append(configure, func(c *presence.Config) {
		c.Store, c.MaxSubscribeExpires = store, time.Hour
		if s.lines != nil {
			c.Lines = lineMonitor{s.board, name}
			all, err := directory.NewMemory(append(slices.Clone(users), pool(len(s.lines))))
			require.NoError(s, err)
			c.Directory = all
		}
	})
	w := newWorld(s.T, configure...)
	w.n = 1000 * len(s.nodes) // Call-IDs of its own
	require.NoError(s, w.server.Restore(s.Context()))
	s.nodes[name] = w
	settle()
	return w
}

// kill ends a node as kill -9 does; once its lease is over, heir takes its place.
func (s *site) kill(name string) {
	s.hub.mu.Lock()
	s.hub.nodes[name].dead = true
	s.hub.mu.Unlock()
	w := s.nodes[name]
	w.net.answering(func(*sipx.Request) (*sipx.Response, error) { return nil, sipx.ErrStackClosed })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = w.server.Shutdown(ctx)
	settle()
	w.net.take()
}

func (s *site) inherit(dead, heir string) {
	s.hub.mu.Lock()
	s.hub.write(heir, []presence.Write{{Kind: presence.KindHeir, Key: dead, Value: []byte(heir)}})
	s.hub.mu.Unlock()
	settle()
}

// What is published at one node is told to watchers at another, and is gone everywhere
// when its client ends; only then is the user signed out (BSX-12).
func TestClusterReplicates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, "a", "b", "c")
		a, b, c := s.nodes["a"], s.nodes["b"], s.nodes["c"]
		watch, res := b.client("ann", "192.0.2.8").subscribe("sip:tom@example.com")
		require.Equal(t, 200, res.Status)
		require.Equal(t, "signed out", watch.one().shown(t).blustar)

		tom := a.client("tom", "192.0.2.7")
		own, _ := tom.subscribe("sip:tom@example.com")
		require.Equal(t, 200, tom.status("", "busy", "in a meeting").Status)
		sent := b.net.take()
		require.Equal(t, "busy", sent[len(sent)-1].shown(t).blustar)
		require.Equal(t, "in a meeting", sent[len(sent)-1].shown(t).note)
		for _, w := range s.nodes {
			require.Len(t, w.server.Publications(), 1)
			require.Len(t, w.server.Clients(), 1)
		}

		// a second client, elsewhere: its first status is ignored, and it keeps the user
		second := c.client("tom", "192.0.2.99")
		owns, _ := second.subscribe("sip:tom@example.com")
		require.Equal(t, 200, second.status("", "available", "").Status)
		require.Equal(t, 200, own.end().Status)
		settle()
		for _, n := range b.net.take() {
			require.Equal(t, "busy", n.shown(t).blustar, "what it says stays")
		}
		require.Equal(t, 200, owns.end().Status)
		require.Equal(t, "signed out", watch.one().shown(t).blustar)
		for name, w := range s.nodes {
			require.Empty(t, w.server.Publications(), name)
			require.Empty(t, w.server.Clients(), name)
		}
	})
}

// A publication by its entity-tag is refreshed, replaced and ended at any node, and
// expires once, at the node that had it last (BSX-12).
func TestClusterEntityTags(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, "a", "b")
		a, b := s.nodes["a"], s.nodes["b"]
		watch, _ := a.client("ann", "192.0.2.8").subscribe("sip:bob@example.com")
		watch.one()
		const open = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com"><tuple id="t"><status><basic>open</basic></status></tuple></presence>`
		first := etag(a.standard("bob", "192.0.2.9").publish("", open))
		require.Equal(t, "available", watch.one().shown(t).blustar)
		at := b.standard("bob", "192.0.2.9")
		second := at.publish(first, "", "Expires: 100")
		require.Equal(t, 200, second.Status)
		settle()
		require.Equal(t, 412, a.standard("bob", "192.0.2.9").publish(first, "").Status)
		time.Sleep(99 * time.Second)
		require.Len(t, a.server.Publications(), 1)
		require.Empty(t, a.net.take())
		time.Sleep(2 * time.Second)
		require.Equal(t, "signed out", watch.one().shown(t).blustar)
		require.Empty(t, b.server.Publications())
	})
}

// What the host feeds one node is shown by all, and cleared everywhere (BSX-12).
func TestClusterFeeds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, "a", "b")
		a, b := s.nodes["a"], s.nodes["b"]
		tom, _ := b.client("tom", "192.0.2.7").subscribe("sip:tom@example.com")
		b.net.take()
		require.NoError(t, a.server.Feed().SetLine(t.Context(), "2719", presence.LineState{State: aa.LineBusy, Lifetime: time.Minute}))
		require.Contains(t, tom.one().shown(t).activity, "busy")
		v, known := b.server.Feed().Line("2719")
		require.True(t, known)
		require.Equal(t, aa.LineBusy, v.Value.State)
		time.Sleep(61 * time.Second)
		tom.one()
		_, known = b.server.Feed().Line("2719")
		require.False(t, known, "the node that was fed has it fade")
	})
}

// A node dies. Its heir goes on with its dialogs, with CSeqs above all before, has its
// publications and clients expire, and nobody notices (BSX-12).
func TestClusterHeir(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, "a", "b", "c")
		a, b, c := s.nodes["a"], s.nodes["b"], s.nodes["c"]
		tom := a.client("tom", "192.0.2.7")
		own, _ := tom.subscribe("sip:tom@example.com")
		require.Equal(t, 200, tom.status("", "busy", "in a meeting").Status)
		watch, _ := a.client("ann", "192.0.2.8").subscribe("sip:tom@example.com")
		settle()
		other, _ := c.client("bob", "192.0.2.9").subscribe("sip:tom@example.com")
		settle()
		last := uint32(0)
		for _, n := range watch.of(a.net.take()) {
			last = n.CSeq
		}
		other.one()

		s.kill("a")
		time.Sleep(10 * time.Second)
		require.Empty(t, c.net.take(), "nobody is signed out")
		s.inherit("a", "b")
		time.Sleep(2 * presence.ResumeSpread)
		for _, n := range b.net.take() {
			require.Equal(t, "busy", n.shown(t).blustar, "what the dead may not have told")
			if n.CallID == watch.callID {
				require.Greater(t, n.CSeq, last)
				last = n.CSeq
			}
		}
		require.Empty(t, c.net.take(), "nobody else is told anything")
		require.Len(t, b.server.Subscriptions(), 2)

		for _, sub := range []*sub{own, watch} { // the way that their requests take now
			sub.e.w = b
		}
		tom.w = b
		require.Equal(t, 200, tom.status("", "available", "back").Status)
		n := watch.one()
		require.Greater(t, n.CSeq, last)
		require.Equal(t, "available", n.shown(t).blustar)
		require.Equal(t, "available", other.one().shown(t).blustar)
		require.Equal(t, 200, watch.refresh().Status)
		require.Equal(t, 200, own.refresh().Status)
		b.net.take()

		// the heir dies in its turn, and nobody refreshes: it all ends in time
		s.kill("b")
		s.inherit("b", "c")
		require.Len(t, c.server.Subscriptions(), 3)
		time.Sleep(301 * time.Second)
		require.Empty(t, c.server.Subscriptions())
		time.Sleep(time.Hour)
		require.Empty(t, c.server.Clients())
		require.Empty(t, c.server.Publications())
	})
}

// A request within a dialog, and the PUBLISH of a client, are answered by the node whose
// they are, wherever they come in, with who was let in there; a new subscription to its
// own address brings the client along (BSX-12).
func TestClusterPasses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t, "a", "b")
		a, b := s.nodes["a"], s.nodes["b"]
		tom := a.client("tom", "192.0.2.7")
		own, _ := tom.subscribe("sip:tom@example.com")
		watch, _ := a.standard("bob", "192.0.2.9").subscribe("sip:tom@example.com")
		settle()
		a.net.take()

		watch.e.w = b
		require.Equal(t, 200, watch.refresh().Status)
		require.Len(t, a.server.Subscriptions(), 2)
		require.Empty(t, b.server.Subscriptions())
		require.Empty(t, b.net.take())
		require.Len(t, watch.of(a.net.take()), 1, "the answer to the refresh, by its owner")

		at := *tom
		at.w = b
		res := at.status("", "busy", "over there")
		require.Equal(t, 200, res.Status)
		require.Equal(t, "busy", watch.of(a.net.take())[0].shown(t).blustar)
		require.Equal(t, 200, at.status(etag(res), "available", "").Status)
		a.net.take()
		for _, w := range s.nodes {
			require.Len(t, w.server.Clients(), 1)
		}

		// it subscribes again, at the other node: the old subscription says nothing more
		again, _ := at.subscribe("sip:tom@example.com")
		settle()
		require.Equal(t, 200, at.status(etag(res), "busy", "moved").Status)
		require.Equal(t, "moved", watch.of(a.net.take())[0].shown(t).note)
		own.cseq++
		require.Equal(t, 200, own.end().Status)
		settle()
		require.Empty(t, watch.of(a.net.take()), "nobody is signed out by it")
		require.Equal(t, 200, again.end().Status)
		require.Equal(t, "signed out", watch.of(a.net.take())[0].shown(t).blustar)

		// a dialog that has ended is unknown everywhere
		require.Equal(t, 200, watch.end().Status)
		res = watch.again("", "Expires: 300")
		require.Equal(t, 481, res.Status)
		s.kill("a")
		require.Equal(t, 503, watch.again("", "Expires: 300").Status, "until its lease is over")
		s.inherit("a", "b")
		require.Equal(t, 481, watch.again("", "Expires: 300").Status)
	})
}
