package presence

import (
	"context"
	"maps"
	"sync"
	"time"
)

// cluster is what a server knows of the other nodes that share its store. What another node
// writes is applied as if it had happened here. It is not written again, and it does not expire
// by itself: the node that it belongs to has it expire.
//
// Of two writes to a record the later one in the store counts. While a change of this node is
// not in the store yet, a record that comes from there is older, or will be overwritten. It is
// held until that is known.
type cluster struct {
	server *Server
	store  Shared
	node   string

	reading chan struct{} // holds one while the store is read, which takes its time

	applying sync.Mutex               // one record at a time; above all locks of what is applied
	changed  map[*presentity]struct{} // who has changed while the store is read

	mu      sync.Mutex // below the locks of what is applied, above that of the journal
	records map[recordKey]*replica
	gone    [maxGone]recordKey // the last records that were deleted, as a ring
	next    int                // of gone
	noted   int                // since sessions were last swept from records
	held    map[ref]Record
	lost    map[ref]chan struct{}  // another node was faster; closed when its record is here
	asked   map[sourceRef][]string // the nodes at which somebody watches the source
	heirs   map[string]heir        // of dead nodes, at most maxHeirs
	adopted map[string]bool        // dead nodes whose dialogs are here
	read    time.Time              // when the store was last read whole
	reread  context.CancelFunc     // has the store read again
	passes  map[*pass]struct{}     // under way
	taking  int                    // adoptions that have not ended
	queue   []Record               // were held, and are to be applied
	running bool                   // a goroutine applies them
}

func newCluster(s *Server) *cluster {
	store, ok := s.cfg.Store.(Shared)
	if !ok {
		return nil
	}
	return &cluster{
		server: s, store: store, node: store.Node(), reading: make(chan struct{}, 1), reread: func() {},
		records: make(map[recordKey]*replica), held: make(map[ref]Record),
		lost: make(map[ref]chan struct{}), passes: make(map[*pass]struct{}),
		asked: make(map[sourceRef][]string), heirs: make(map[string]heir), adopted: make(map[string]bool),
	}
}

// name is the name of the node; "" for a server that is alone.
func (c *cluster) name() string {
	if c == nil {
		return ""
	}
	return c.node
}

// away reports whether another node may take the place of this one, or the store fails. Requests
// are refused then, before they change anything. When the store is back, the dialogs that still
// belong to this node go on.
func (c *cluster) away() bool {
	if c == nil {
		return false
	}
	_, _, failing := c.server.journal.stats()
	return failing || !c.maySpeak(time.Now())
}

// maySpeak reports whether this node could speak all the time since then, and has read the whole
// store since it was last silent: so it knows what the others have written.
func (c *cluster) maySpeak(since time.Time) bool {
	if !c.store.AliveSince(since) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store.AliveSince(c.read) {
		return true
	}
	c.reread()
	return false
}

// mayExpire reports whether what was not refreshed here may end. While this node was silent,
// another one may have got the refresh.
func (c *cluster) mayExpire() bool { return c.maySpeak(time.Now()) }

// replica is what this node knows of a record.
type replica struct {
	ref      ref
	node     string // that has written it
	revision uint64
	expires  time.Time
	gone     bool
	unsure   bool // a later write of this node may be in the store
}

// maxGone is how many deletions are remembered: a record that is older than its deletion must not
// come back.
const maxGone = 1 << 12

// keeps reports whether the state that is here stays, because it has changed and is not in the
// store yet. Otherwise r counts from now on. It is called with what e names locked.
func (c *cluster) keeps(r Record, e ref) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.journal.has(e) {
		c.held[e] = r
		return true
	}
	key := recordKey{r.Kind, r.Key}
	if old := c.records[key]; old != nil && r.Revision <= old.revision { // the change is in the store now
		return true
	}
	c.noteLocked(key, replica{ref: e, node: r.Node, revision: r.Revision, expires: r.Expires, gone: r.Value == nil})
	return false
}

func (c *cluster) noteLocked(key recordKey, is replica) {
	if old := c.records[key]; is.gone && (old == nil || !old.gone) {
		if last := c.gone[c.next]; c.records[last] != nil && c.records[last].gone {
			delete(c.records, last)
		}
		c.gone[c.next] = key
		c.next = (c.next + 1) % maxGone
	}
	c.records[key] = &is
	if c.noted++; c.noted > len(c.records) && c.noted > maxGone { // nobody tells when a session expires
		c.noted = 0
		maps.DeleteFunc(c.records, func(key recordKey, r *replica) bool {
			return (key.kind == kindSession || key.kind == kindFailures) && !r.gone && time.Until(r.expires) < 0
		})
	}
}

// refs returns what has a record for which is reports true. c.mu is held meanwhile.
func (c *cluster) refs(is func(*replica) bool) []ref {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []ref
	for _, r := range c.records {
		if !r.gone && is(r) {
			list = append(list, r.ref)
		}
	}
	return list
}

// claims reports whether this node is to make a write. It makes no empty one, and does not delete
// a record that was never there. A write with a condition replaces only what this node knows.
func (c *cluster) claims(w *Write) bool {
	if w.Kind == kindDialog || w.Kind == kindTurn {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.records[recordKey{w.Kind, w.Key}]
	if w.Conditional && old != nil && !old.gone {
		w.Revision = old.revision
	}
	return w.Value != nil || old != nil && !old.gone
}

// wrote notes what is in the store now, or may be there: after an answer was lost, a write may
// have gone through, and this node may have to delete it. If a condition did not hold, the record
// of another node counts, which Watch will tell. wrote reports false if the record may also be
// from a write of this node whose answer was lost.
func (c *cluster) wrote(writes []Write, revisions []uint64, refs map[recordKey]ref) (sure bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sure = true
	for i, w := range writes {
		key := recordKey{w.Kind, w.Key}
		if w.Kind == kindDialog || w.Kind == kindTurn {
			continue
		}
		is := replica{ref: refs[key], node: c.node, expires: w.Expires, gone: w.Value == nil}
		old := c.records[key]
		switch {
		case revisions == nil:
			is.unsure = true
			switch {
			case old != nil && !old.gone:
				old.unsure = true
				continue
			case is.gone:
				continue
			case old != nil:
				is.revision = old.revision
			}
		case w.Conditional && revisions[i] == 0:
			switch _, known := c.held[is.ref]; {
			case old == nil || known:
				c.lost[is.ref] = make(chan struct{})
			case is.gone && old.revision != 0 && expired(old.expires): // it has expired in the store; others are to hear of that
				old.revision, sure = 0, false
			case old.unsure:
				sure = false
			default:
				c.lost[is.ref] = make(chan struct{})
			}
			continue
		default:
			is.revision = revisions[i]
		}
		c.noteLocked(key, is)
	}
	return sure
}

// beaten reports whether another node has changed a publication first, by the same entity-tag:
// then the change of this node does not count (RFC 3903 §6.2). etag is the new tag, "" if the
// publication was ended here. beaten waits for the store.
func (c *cluster) beaten(e publicationRef, etag string) bool {
	if c == nil || c.server.journal.wait(c.server.ctx) != nil { // after an error the answer is a 503
		return false
	}
	c.mu.Lock()
	lost := c.lost[e]
	c.mu.Unlock()
	if lost != nil {
		ctx, cancel := context.WithTimeout(c.server.ctx, storeTimeout)
		defer cancel()
		select {
		case <-lost: // the record that counts is here
		case <-ctx.Done():
		}
		return true
	}
	now := ""
	for _, p := range c.server.publications.Of(e.presentity) {
		if p.Number == e.number {
			now = p.ETag
		}
	}
	return now != etag
}

// heir is the node that takes over what belonged to a dead one.
type heir struct {
	node     string
	revision uint64 // of the heir's record
}

// maxHeirs is how many deaths are remembered. Nothing is left of older ones.
const maxHeirs = 1 << 14

// holder returns the node that has now what belonged to a node: itself, or its heir.
func (c *cluster) holder(node string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holderLocked(node)
}

func (c *cluster) holderLocked(node string) string {
	for range len(c.heirs) {
		its, dead := c.heirs[node]
		if !dead {
			break
		}
		node = its.node
	}
	return node
}

// leftHere returns the dead nodes whose heir is this one, and those of them whose dialogs are not
// here yet.
func (c *cluster) leftHere() (dead, mine map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dead, mine = make(map[string]bool), make(map[string]bool)
	for node := range c.heirs {
		if node == c.node || c.holderLocked(node) != c.node {
			continue
		}
		dead[node] = true
		if !c.adopted[node] {
			mine[node] = true
		}
	}
	return dead, mine
}

// pass is a call under way.
type pass struct {
	node   string
	cancel context.CancelFunc
}

// passing has a call end when its node turns out to be dead.
func (c *cluster) passing(node string, cancel context.CancelFunc) (done func()) {
	p := &pass{node, cancel}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passes[p] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.passes, p)
	}
}
