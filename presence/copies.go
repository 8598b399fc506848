package presence

import (
	"time"

	"github.com/openblustar/blustar/auth"
)

// These functions apply what another node has written, one for each kind of records.

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
	switch r.Kind {
	case KindHeir:
		c.inherits(r.Key, heir{string(r.Value), r.Revision})
	case kindPublication:
		err = c.publication(r, e)
	case kindClient:
		err = c.client(r, e)
	case kindAsked:
		err = c.askedElsewhere(r, e)
	case kindLine, kindCalendar, kindExternal:
		err = c.server.sources[r.Kind].copied(r, func() bool { return c.keeps(r, sourceRef{r.Kind, r.Key}) })
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

func (c *cluster) publication(r Record, e ref) error {
	s := c.server
	of, _ := e.(publicationRef)
	if r.Value == nil {
		if e != nil && s.publications.RemoveCopy(of.presentity, of.number, func() bool { return c.keeps(r, e) }) {
			c.refresh(of.presentity)
		}
		return nil
	}
	v, err := readFlat[publicationRecord](r.Value)
	if err != nil {
		return err
	}
	of = publicationRef{v.Presentity, v.Number}
	if s.publications.Copy(v.Contribution, func() bool { return c.keeps(r, of) }) {
		c.refresh(of.presentity)
	}
	return nil
}

// refresh tells the watchers of a user what another node has changed.
func (c *cluster) refresh(id string) {
	p := c.server.presentities.find(id)
	switch {
	case p == nil:
	case c.changed != nil:
		c.changed[p] = struct{}{}
	default:
		p.renewThen(true, p.mayBeIdle)
	}
}

func (c *cluster) session(r Record) error {
	guard, ok := c.server.cfg.Guard.(sessionRestorer)
	if !ok || c.keeps(r, sessionRef(r.Key)) {
		return nil
	}
	if r.Value == nil {
		r.Expires = time.Time{}
	}
	return guard.RestoreSession(auth.SessionRecord{Key: r.Key, Value: r.Value, Expires: r.Expires})
}

// client applies the record of a client, which belongs to that node from now on.
func (c *cluster) client(r Record, e ref) error {
	s, cs := c.server, &c.server.clients
	if r.Value == nil {
		of, ok := e.(clientRef)
		if !ok {
			return nil
		}
		if ended := cs.endedElsewhere(of, func() bool { return c.keeps(r, e) }); ended != nil {
			s.takeOut(ended, "it ended at another node", nil).announce(true)
		}
		return nil
	}
	v, err := readFlat[clientRecord](r.Value)
	if err != nil {
		return err
	}
	was, is := cs.copied(v.client(), r.Node, func() bool { return c.keeps(r, clientRef{v.key, v.since.UnixNano()}) })
	for _, id := range []string{was, is} {
		if id != "" {
			c.refresh(id)
		}
	}
	return nil
}

// copied takes over what another node says of a client. It returns the user that the client had
// before, and the one that it has now.
func (cs *clients) copied(v *client, node string, keeps func() bool) (was, is string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.m[v.key]
	if keeps() || c != nil && c.outlasts(v) {
		return "", ""
	}
	if c == nil {
		c = v
		cs.m[v.key] = c
	} else {
		was = c.user
		if c.node == "" && c.since != v.since {
			cs.mark(c) // the record of its former life is deleted
		}
		if c.expiry != nil {
			cs.server.deadlines.Remove(&c.expiry.Item)
		}
		cs.leaveUserLocked(c)
		c.user, c.id, c.amcc, c.userAgent, c.since, c.published = v.user, v.id, v.amcc, v.userAgent, v.since, v.published
		c.services, c.out, c.spoken, c.generation = v.services, v.out, v.spoken, v.generation
	}
	c.node = node
	if c.user != "" {
		cs.joinUserLocked(c)
	}
	return was, c.user
}

// outlasts reports whether c counts, rather than v. Both are the same client, which began at two
// nodes before they heard of each other. One that is signed in counts more than one that only
// watches; else the newer one counts.
func (c *client) outlasts(v *client) bool {
	if in := c.user != ""; in != (v.user != "") {
		return in
	}
	return c.since > v.since
}

// endedElsewhere returns a client that has ended at the node that it belonged to. One that only
// watches, and does so here too, belongs to this node from now on.
func (cs *clients) endedElsewhere(of clientRef, keeps func() bool) *client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.m[of.key]
	switch {
	case keeps(), c == nil, c.since != of.since, c.node == "":
		return nil
	case c.user != "":
		return c
	case len(c.dialogs) > 0:
		c.node = ""
		cs.mark(c)
	default:
		delete(cs.m, c.key)
	}
	return nil
}

// nodeOf returns the other node that a client belongs to; "" for this one.
func (cs *clients) nodeOf(c *client) string {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.node == "" {
		return ""
	}
	if node := cs.server.cluster.holder(c.node); node != cs.server.cluster.node {
		return node
	}
	return "" // this node is about to take it over
}
