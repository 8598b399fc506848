package presence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
)

// sharedKinds are the kinds of records that every node has in memory. A node knows only its own
// dialogs, until it becomes the heir of another node.
var sharedKinds = []string{kindAsked, kindPublication, kindClient, kindLine, kindCalendar, kindExternal, kindSession, kindFailures, KindHeir}

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

// load reads what all nodes have written. Watch tells what is written after the revision that
// load returns.
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
		if c.holderLocked(r.node) != c.node || !expired(r.expires) { // else this node is about to delete it
			gone = append(gone, Record{Kind: key.kind, Key: key.key, Revision: in.revision})
		}
	}
	c.mu.Unlock()
	for _, r := range gone {
		c.apply(r)
	}
	return in.revision, nil
}

// show composes the users who have changed while the store was read. After that this node may
// speak.
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

// begin begins a new run, with CSeqs, and numbers of dialogs and publications, that no other run
// has. Another node may do so at the same time.
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

// aliveTick is how often a silent node looks whether it has its place again.
const aliveTick = 100 * time.Millisecond

// follow applies what other nodes write from now on.
func (c *cluster) follow(after uint64) {
	pause := backoff.Backoff{Max: 5 * time.Second}
	again := false
	for c.server.ctx.Err() == nil {
		if again {
			for !c.store.AliveSince(time.Now()) { // it cannot be read
				if backoff.Sleep(c.server.ctx, aliveTick) != nil {
					return
				}
			}
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
