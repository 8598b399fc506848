package presence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
)

// Shared is a [Store] that several servers use at the same time, each of them a node: a
// [Server] whose Config.Store is one shares its state with the others. Each node composes
// its documents from what all have been told. A dialog belongs to the node that opened
// it, and so does a client to that of its newest subscription to its own address; what
// belongs to a node that has died goes on at the one that the store names its heir.
//
// The store lets a node write as long as nobody else has taken its place, and never
// after that; the same holds for what the node sends, which is the host's to see to.
type Shared interface {
	Store

	// Node names this node among all that use the store, or ever did: at most 32 letters
	// and digits. Records that it wrote have it as their [Record.Node].
	Node() string

	// Living returns the nodes that live, in any order and this one among them, as far as is known
	// here: one may have died, or joined, up to a lease ago. It does not block.
	Living() []string

	// AliveSince reports whether this node could speak, and write, all the time since then.
	// A store that cannot be reached, so that another node may be taking this one's place,
	// says no; it says yes again once it is certain that nobody has. It does not block.
	AliveSince(then time.Time) bool

	// Watch calls f with each change of a record of one of these kinds, whoever made it,
	// in the order of revisions, from the first above after on. A Value that is nil tells
	// that the record was deleted. What expires is not told, nor what is written over before
	// it was told. Watch returns when ctx has ended, or with the error that keeps it from
	// going on, or because of which something may have been missed: everything is read again
	// then. The record is f's.
	Watch(ctx context.Context, after uint64, kinds []string, f func(Record)) error

	// Call has another node answer a message, as it does by Answer. It waits until ctx
	// ends. The error is [ErrNoNode] where the store knows of no such node, alive or dead.
	Call(ctx context.Context, node string, message []byte) ([]byte, error)

	// Answer has f answer the calls of other nodes until the store is closed. f is called
	// by several goroutines at once. It is called once.
	Answer(f func(ctx context.Context, message []byte) []byte)
}

// ErrNoNode is what [Shared.Call] returns for a node that there never was, or that is
// forgotten.
var ErrNoNode = errors.New("presence: there is no such node")

// KindHeir is the kind of the records by which a [Shared] store tells that a node, the
// key, has died, and which one has its heritage now, the value. It is written when
// nothing can be written by the dead any more.
const KindHeir = "heir"

// sharedKinds are the records that every node has in memory. Of dialogs a node knows its
// own, until it is an heir.
var sharedKinds = []string{kindAsked, kindPublication, kindClient, kindLine, kindCalendar, kindExternal, kindSession, kindFailures, KindHeir}

// cluster is what a server knows of the others that share its store. What one of them
// writes is applied as if it had happened here, but it is not written again, and does
// not expire by itself: that is for the node whose it is.
//
// Of two writes to a record that one counts which is later in the store. While something
// that has changed here is not in the store yet, what comes from there is older, or will
// be overwritten: it is held until that is known.
type cluster struct {
	server *Server
	store  Shared
	node   string

	reading chan struct{} // holds one while the store is read, which takes its time

	applying sync.Mutex               // one record at a time; above all locks of what is applied
	changed  map[*presentity]struct{} // while the store is read: who has changed

	mu      sync.Mutex // below the locks of what is applied, above that of the journal
	records map[recordKey]*replica
	gone    [maxGone]recordKey // the last records that were deleted, as a ring
	next    int                // of gone
	noted   int                // since sessions were last swept from records
	held    map[entry]Record
	lost    map[entry]chan struct{}  // another node was faster; closed once its record is here
	asked   map[sourceEntry][]string // by which nodes: somebody watches it there
	heirs   map[string]heir          // of dead nodes, at most maxHeirs
	adopted map[string]bool          // of nodes, that this one is the heir of: their dialogs are here
	read    time.Time                // when the store was last read whole
	reread  context.CancelFunc       // has it be read again
	passes  map[*pass]struct{}       // under way
	taking  int                      // adoptions that have not ended
	queue   []Record                 // that were held, to be applied
	running bool                     // somebody does so
}

// replica is what is known of a record.
type replica struct {
	entry    entry
	node     string // who has written it
	revision uint64
	expires  time.Time
	gone     bool
	unsure   bool // a later write of this node may have gone through
}

// maxGone is how many deleted records are remembered, so that what is older than their
// deletion does not bring them back.
const maxGone = 1 << 12

func newCluster(s *Server) *cluster {
	store, ok := s.cfg.Store.(Shared)
	if !ok {
		return nil
	}
	return &cluster{
		server: s, store: store, node: store.Node(), reading: make(chan struct{}, 1), reread: func() {},
		records: make(map[recordKey]*replica), held: make(map[entry]Record),
		lost: make(map[entry]chan struct{}), passes: make(map[*pass]struct{}),
		asked: make(map[sourceEntry][]string), heirs: make(map[string]heir), adopted: make(map[string]bool),
	}
}

// name is that of the node; "" where there is one server.
func (c *cluster) name() string {
	if c == nil {
		return ""
	}
	return c.node
}

// join reads the store, and follows it from then on.
func (c *cluster) join(ctx context.Context) error {
	s := c.server
	if guard, ok := s.cfg.Guard.(sharingGuard); ok {
		run := guard.Join(c)
		s.start(func() { run(s.ctx) })
	}
	after, err := c.load(ctx)
	if err != nil {
		return fmt.Errorf("presence: restore: %w", err)
	}
	s.journal.begin()
	c.store.Answer(c.answer)
	s.start(func() { c.follow(after) })
	return nil
}

// load reads what all have written. What is written after the revision that it returns is
// to be told by Watch.
func (c *cluster) load(ctx context.Context) (after uint64, err error) {
	c.reading <- struct{}{}
	defer func() { <-c.reading }()
	began := time.Now()
	in := inventory{server: c.server}
	if err := c.begin(ctx, &in); err != nil {
		return 0, err
	}
	c.applying.Lock()
	c.changed = make(map[*presentity]struct{})
	c.applying.Unlock()
	defer c.show(ctx, began, &err)
	there := make(map[recordKey]struct{})
	if err := c.server.cfg.Store.Load(ctx, func(r Record) error {
		if slices.Contains(sharedKinds, r.Kind) {
			there[recordKey{r.Kind, r.Key}] = struct{}{}
			r.Value = bytes.Clone(r.Value)
			c.apply(r)
		}
		return nil
	}); err != nil {
		return 0, err
	}
	var gone []Record
	c.mu.Lock()
	for key, r := range c.records {
		if _, is := there[key]; is || r.gone || r.revision >= in.revision {
			continue
		}
		if c.holderLocked(r.node) != c.node || !expired(r.expires) { // else this node is about to say so
			gone = append(gone, Record{Kind: key.kind, Key: key.key, Revision: in.revision})
		}
	}
	c.mu.Unlock()
	for _, r := range gone {
		c.apply(r)
	}
	return in.revision, nil
}

// show composes anew what has changed while the store was read. This node may speak when
// that is done.
func (c *cluster) show(ctx context.Context, began time.Time, err *error) {
	c.applying.Lock()
	changed := c.changed
	c.changed = nil
	c.applying.Unlock()
	for p := range changed {
		done := make(chan struct{})
		p.renewThen(true, func() {
			p.mayBeIdle()
			close(done)
		})
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
	if *err == nil {
		c.mu.Lock()
		c.read = began
		c.mu.Unlock()
	}
}

// away reports whether this node may do nothing for others to take its place, or cannot:
// what comes in is refused then, before it changes anything. A dialog goes on, if it is
// still this node's, when the store is back.
func (c *cluster) away() bool {
	if c == nil {
		return false
	}
	_, _, failing := c.server.journal.stats()
	return failing || !c.maySpeak(time.Now())
}

// maySpeak reports whether this node could speak all the time since then, and knows what
// the others have written: it has read everything since it was last silent.
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

// mayExpire reports whether what has not been refreshed here may end. Another node may
// have heard a refresh while this one was silent.
func (c *cluster) mayExpire() bool { return c.maySpeak(time.Now()) }

// begin begins a new run: CSeqs, and numbers of dialogs and publications, that nobody
// else has. Another node may do so at the same time.
func (c *cluster) begin(ctx context.Context, in *inventory) error {
	s := c.server
	for {
		if err := s.cfg.Store.Load(ctx, func(r Record) error {
			if r.Kind == kindRun {
				return in.take(r)
			}
			return nil
		}); err != nil {
			return err
		}
		if err := s.countRun(ctx, in); !errors.Is(err, errOtherProcess) {
			if err == nil {
				first := uint64(s.run.Load()) << 32
				s.registry.CountFrom(first)
				s.publications.CountFrom(first)
			}
			return err
		}
	}
}

// follow applies what is written from now on.
func (c *cluster) follow(after uint64) {
	pause := backoff.Backoff{Max: 5 * time.Second}
	again := false
	for c.server.ctx.Err() == nil {
		if again {
			now, err := c.load(c.server.ctx)
			if err != nil {
				if backoff.Sleep(c.server.ctx, pause.Next()) != nil {
					return
				}
				continue
			}
			after = now
		}
		again = true
		ctx, cancel := context.WithCancel(c.server.ctx)
		c.mu.Lock()
		c.reread = cancel
		c.mu.Unlock()
		err := c.store.Watch(ctx, after, sharedKinds, func(r Record) {
			c.apply(r)
			pause.Reset()
		})
		cancel()
		if err != nil && c.server.ctx.Err() == nil {
			c.server.cfg.Logger.Warn("what other nodes write is read again", "error", err)
		}
		if backoff.Sleep(c.server.ctx, pause.Next()) != nil {
			return
		}
	}
}

func (c *cluster) work() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 || c.server.ctx.Err() != nil {
			c.queue, c.running = nil, false
			c.mu.Unlock()
			return
		}
		r := c.queue[0]
		c.queue = c.queue[1:]
		c.mu.Unlock()
		c.apply(r)
	}
}

// apply does what a record of another node says.
func (c *cluster) apply(r Record) {
	c.applying.Lock()
	defer c.applying.Unlock()
	key := recordKey{r.Kind, r.Key}
	c.mu.Lock()
	old := c.records[key]
	stale, own := old != nil && r.Revision <= old.revision, r.Node == c.node && r.Kind != KindHeir && r.Kind != kindFailures
	if own && old != nil && !stale { // its answer was lost, or comes yet
		old.revision, old.gone, old.unsure = r.Revision, r.Value == nil, false
	}
	c.mu.Unlock()
	if stale || own {
		return
	}
	var e entry
	if old != nil {
		e = old.entry
	}
	var err error
	switch s := c.server; r.Kind {
	case KindHeir:
		c.inherits(r.Key, heir{string(r.Value), r.Revision})
	case kindPublication:
		err = c.publication(r, e)
	case kindClient:
		err = c.client(r, e)
	case kindAsked:
		err = c.askedElsewhere(r, e)
	case kindLine:
		err = copied(c, r, s.lines)
	case kindCalendar:
		err = copied(c, r, s.calendars)
	case kindExternal:
		err = copied(c, r, s.externals)
	case kindSession:
		err = c.session(r)
	case kindFailures:
		err = c.counted(r)
	}
	c.mu.Lock()
	if now := c.records[key]; now != nil && now.revision == r.Revision && c.lost[now.entry] != nil {
		close(c.lost[now.entry])
		delete(c.lost, now.entry)
	}
	c.mu.Unlock()
	if err != nil {
		c.server.cfg.Logger.Warn("a record of another node is left out", "kind", r.Kind, "key", r.Key, "node", r.Node, "error", err)
	}
}

// keeps reports whether what is here of a record stays, because it has changed and is not
// in the store yet. Else r counts from now on. It is called with what e names locked.
func (c *cluster) keeps(r Record, e entry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.journal.has(e) {
		c.held[e] = r
		return true
	}
	key := recordKey{r.Kind, r.Key}
	if old := c.records[key]; old != nil && r.Revision <= old.revision { // what was here is in the store now
		return true
	}
	c.noteLocked(key, replica{entry: e, node: r.Node, revision: r.Revision, expires: r.Expires, gone: r.Value == nil})
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
	if c.noted++; c.noted > len(c.records) && c.noted > maxGone { // nobody says so when a session expires
		c.noted = 0
		maps.DeleteFunc(c.records, func(key recordKey, r *replica) bool {
			return (key.kind == kindSession || key.kind == kindFailures) && !r.gone && time.Until(r.expires) < 0
		})
	}
}

// claims reports whether a write is this node's to make: an empty one is not, nor is the
// deletion of a record that was never there.
//
// What has a condition is written only over what is known here.
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

// wrote notes what is in the store now, or what may be: a write whose answer was lost may
// have gone through, and its deletion is claimed. Where a condition did not hold, another
// node's record counts, which comes by Watch. It reports false where the record may as
// well be that of a write whose answer was lost.
func (c *cluster) wrote(writes []Write, revisions []uint64, entries map[recordKey]entry) (sure bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sure = true
	for i, w := range writes {
		key := recordKey{w.Kind, w.Key}
		if w.Kind == kindDialog || w.Kind == kindTurn {
			continue
		}
		is := replica{entry: entries[key], node: c.node, expires: w.Expires, gone: w.Value == nil}
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
			switch _, known := c.held[is.entry]; {
			case old == nil || known:
				c.lost[is.entry] = make(chan struct{})
			case is.gone && old.revision != 0 && expired(old.expires): // in the store, too: others are to hear of it
				old.revision, sure = 0, false
			case old.unsure:
				sure = false
			default:
				c.lost[is.entry] = make(chan struct{})
			}
			continue
		default:
			is.revision = revisions[i]
		}
		c.noteLocked(key, is)
	}
	return sure
}

// errNotSure has a write tried again: the record that it was to replace may be this node's.
var errNotSure = errors.New("presence: an answer of the store was lost")

// beaten reports whether another node has changed a publication first, by the entity-tag
// that it had: ours, with the tag that it has now, or "" where it was ended, is not the
// one that counts then (RFC 3903 §6.2). It waits for the store.
func (c *cluster) beaten(e publicationEntry, etag string) bool {
	if c == nil || c.server.journal.wait(c.server.ctx) != nil { // else the answer tells
		return false
	}
	c.mu.Lock()
	lost := c.lost[e]
	c.mu.Unlock()
	if lost != nil {
		ctx, cancel := context.WithTimeout(c.server.ctx, passTimeout)
		defer cancel()
		select {
		case <-lost: // what counts is here
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

// release has applied what was held because of entries that have been written, or had
// nothing to be written. What has changed again is held again.
func (c *cluster) release(entries map[entry]struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.held) > 0 {
		for e := range entries {
			if r, ok := c.held[e]; ok {
				delete(c.held, e)
				c.queue = append(c.queue, r)
			}
		}
	}
	if len(c.queue) > 0 && !c.running {
		c.running = true
		c.server.start(c.work)
	}
}
