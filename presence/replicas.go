package presence

import (
	"context"
	"errors"
	"maps"
	"time"
)

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
