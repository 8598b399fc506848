package presence

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/presence/publication"
)

// inherits notes that a node has died.
func (c *cluster) inherits(dead string, its heir) {
	c.mu.Lock()
	if c.heirs[dead] == its {
		c.mu.Unlock()
		return // it was read again
	}
	if c.heirs[dead] = its; len(c.heirs) > maxHeirs {
		oldest := slices.SortedFunc(maps.Keys(c.heirs), func(a, b string) int { return cmp.Compare(c.heirs[a].revision, c.heirs[b].revision) })
		for _, node := range oldest[:maxHeirs/2] {
			delete(c.heirs, node)
			delete(c.adopted, node)
		}
	}
	for p := range c.passes {
		if p.node == dead {
			p.cancel()
		}
	}
	mine := c.holderLocked(dead) == c.node
	if mine {
		c.taking++
	}
	c.mu.Unlock()
	if mine {
		c.server.start(c.adopt)
		c.server.start(c.abandoned)
	} else {
		c.server.start(c.outlived)
	}
	c.succeeded(dead)
}

// settling is the time that an heir has to write what it has taken over.
const settling = 10 * time.Second

// outlived ends copies that belonged to dead nodes, have expired, and were not taken over: an
// heir that began after they had left the store never heard of them.
func (c *cluster) outlived() {
	if backoff.Sleep(c.server.ctx, settling) != nil {
		return
	}
	for _, e := range c.refs(func(r *replica) bool {
		_, dead := c.heirs[r.node]
		return dead && expired(r.expires)
	}) {
		c.own(e)
	}
}

// own has this node expire what was a copy.
func (c *cluster) own(e ref) *publication.Contribution {
	s := c.server
	switch e := e.(type) {
	case publicationRef:
		return s.publications.Own(e.presentity, e.number)
	case sourceRef:
		s.sources[e.kind].Own(e.key)
	}
	return nil
}

// adopt takes over what belonged to the nodes whose heir is this one.
func (c *cluster) adopt() {
	defer func() {
		c.mu.Lock()
		c.taking--
		c.mu.Unlock()
	}()
	s := c.server
	var pause backoff.Backoff
	for s.ctx.Err() == nil {
		in := newInventory(s)
		err := c.inherit(&in)
		if err == nil {
			s.start(in.resume)
			return
		}
		s.cfg.Logger.Error("what was another node's cannot be taken over", "error", err)
		if backoff.Sleep(s.ctx, pause.Next()) != nil {
			return
		}
	}
}

// inherit takes over what belonged to the nodes that are dead now. For those that die meanwhile
// there is another adoption: so everything of a node is read at once, and once.
func (c *cluster) inherit(in *inventory) error {
	c.reading <- struct{}{}
	defer func() { <-c.reading }()
	s := c.server
	dead, mine := c.leftHere()
	left := make(map[string]bool)
	owners := make(map[string]string) // of dialogs, by the key of their records
	if err := s.cfg.Store.Load(s.ctx, func(r Record) error {
		switch r.Kind {
		case kindLeft:
			left[r.Key] = true
		case kindDialog, kindTurn:
			if mine[r.Node] {
				owners[r.Key] = r.Node
				return in.take(r)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	refs := c.refs(func(r *replica) bool { return dead[r.node] })
	if len(refs)+len(in.dialogs)+len(in.turns) == 0 {
		return nil // the dead write nothing more
	}
	if err := c.begin(s.ctx, in); err != nil {
		return err
	}
	c.mu.Lock()
	maps.Copy(c.adopted, mine)
	c.mu.Unlock()
	for _, e := range refs {
		switch e := e.(type) {
		case publicationRef:
			if now := c.own(e); now != nil {
				in.publications = append(in.publications, *now)
			}
			continue // writing it would make the next change by its entity-tag fail
		case clientRef:
			if now := s.clients.adopt(e); now != nil {
				in.adopted = append(in.adopted, now)
			}
		case sourceRef:
			c.own(e)
		case sessionRef, countRef, askedRef:
			continue // it ends by itself, or later
		}
		s.journal.mark(e)
	}
	in.restoreDialogs()
	for _, d := range in.restored {
		s.journal.dialog(d, true, true)
		if !left[owners[serialKey(d.Serial())]] { // nobody knows what its watcher has acknowledged last
			d.ShowAgain(d.Watches()...)
		}
	}
	in.warn()
	for number := range in.bundles { // the dialogs are written anew, before these go
		in.lost = append(in.lost, recordKey{kindTurn, serialKey(number)})
	}
	s.journal.bury(in.lost)
	s.cfg.Logger.Info("taken over from another node", "publications", len(in.publications), "clients", len(in.adopted),
		"subscriptions", len(in.restored), "left out", in.bad)
	return nil
}

// leave tells the heir that this node has written everything.
func (c *cluster) leave(ctx context.Context) error {
	if c == nil {
		return nil
	}
	_, err := c.store.Apply(ctx, []Write{{
		Kind: kindLeft, Key: c.node, Value: []byte{1}, Expires: time.Now().Add(c.server.cfg.MaxSubscribeExpires),
	}})
	return err
}

// adopt makes a client belong to this node.
func (cs *clients) adopt(e clientRef) *client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.m[e.key]
	if c == nil || c.since != e.since || c.node == "" {
		return nil
	}
	c.node = ""
	return c
}
