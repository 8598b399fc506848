package presence

import (
	"slices"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/shard"
	"github.com/openblustar/blustar/presence/source"
)

// presentities has the presentities in memory. One stays while anything refers to it, and a
// little longer. When something that referred to it has ended, forgetIfIdle looks whether
// anything is left.
type presentities struct {
	server *Server
	of     *shard.Map[*presentity] // by the ID of the entry
}

// pin returns the presentity of an entry, and takes over what has changed in the entry.
// The presentity stays in memory until unpin.
func (ps *presentities) pin(entry *directory.Entry) *presentity {
	part := ps.of.Lock(entry.ID)
	p := part.Of[entry.ID]
	if p == nil {
		p = &presentity{server: ps.server, id: entry.ID, user: ps.server.clients.user(entry.ID)}
		p.watchers.of = p
		part.Of[entry.ID] = p
	}
	p.pins.Add(1)
	part.Unlock()
	first := false
	p.once.Do(func() {
		first = true
		p.setEntry(entry)
		p.renew()
	})
	if !first && p.setEntry(entry) {
		p.update()
	}
	return p
}

// unpin undoes pin. p may be nil.
func (ps *presentities) unpin(p *presentity) {
	if p != nil && p.pins.Add(-1) == 0 && p.watching.Load() == 0 && !p.user.together().any {
		ps.forgetIfIdle(p)
	}
}

// find returns a presentity that is in memory, or nil.
func (ps *presentities) find(id string) *presentity { return ps.of.Get(id) }

// idleFor is how long a presentity stays in memory that nobody needs: the next one who
// needs it often comes soon.
const idleFor = time.Second

// mayBeIdle has forgetIfIdle called for p after a while, by the deadline queue. It does
// nothing while a client of the user is live: the end of the last one calls it again.
func (p *presentity) mayBeIdle() {
	if !p.user.together().any {
		p.server.deadlines.Set(&p.idleness, (*idling)(p), time.Now().Add(idleFor))
	}
}

// idling is a presentity to which perhaps nothing refers.
type idling presentity

// Expired implements [deadline.Expirer].
func (i *idling) Expired() {
	p := (*presentity)(i)
	p.server.presentities.forgetIfIdle(p)
}

// forgetIfIdle drops a presentity that nothing refers to.
func (ps *presentities) forgetIfIdle(p *presentity) {
	part := ps.of.Lock(p.id)
	defer part.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pins.Load() > 0 || part.Of[p.id] != p || !p.idle() {
		return
	}
	if p.renewal { // a snapshot is being made: look again later
		p.mayBeIdle()
		return
	}
	delete(part.Of, p.id)
	p.server.clients.forgetUser(p.id)
	for _, src := range p.sources() {
		src.Leave(p)
	}
	p.server.deadlines.Remove(&p.change)
	p.server.deadlines.Remove(&p.idleness)
	p.server.deadlines.Remove(&p.watchers.due)
}

// idle reports whether nothing but p.pins refers to p. p.mu is held.
func (p *presentity) idle() bool {
	switch {
	case len(p.watches) > 0, len(p.watchers.watches) > 0:
		return false
	case p.user.together().any, len(p.server.publications.Of(p.id)) > 0:
		return false
	}
	// With a hook for changes, whoever has a source that the host feeds stays, too.
	return p.server.cfg.Hooks.Changed == nil || !slices.ContainsFunc(p.sources(), source.Watched.Fed)
}
