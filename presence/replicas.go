package presence

import (
	"context"
	"errors"
	"maps"
	"time"
)

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

// apply applies a record of another node.
func (c *cluster) apply(r Record) {
	c.applying.Lock()
	defer c.applying.Unlock()
	key := recordKey{r.Kind, r.Key}
	c.mu.Lock()
	old := c.records[key]
	stale, own := old != nil && r.Revision <= old.revision, r.Node == c.node && r.Kind != KindHeir && r.Kind != kindFailures
	if own && old != nil && !stale { // the answer to the write was lost, or is to come
		old.revision, old.gone, old.unsure = r.Revision, r.Value == nil, false
	}
	c.mu.Unlock()
	if stale || own {
		return
	}
	var e ref
	if old != nil {
		e = old.ref
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
	if now := c.records[key]; now != nil && now.revision == r.Revision && c.lost[now.ref] != nil {
		close(c.lost[now.ref])
		delete(c.lost, now.ref)
	}
	c.mu.Unlock()
	if err != nil {
		c.server.cfg.Logger.Warn("a record of another node is left out", "kind", r.Kind, "key", r.Key, "node", r.Node, "error", err)
	}
}

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

// errNotSure has a write tried again: perhaps it failed because of another write of this node.
var errNotSure = errors.New("presence: an answer of the store was lost")

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
		ctx, cancel := context.WithTimeout(c.server.ctx, passTimeout)
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

// release applies the records that were held because of these refs, which have been written
// now. If one has changed again, its record is held again.
func (c *cluster) release(refs map[ref]struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.held) > 0 {
		for e := range refs {
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
