package presence

import (
	"sync"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence/source"
)

// presentities are those in memory. A presentity stays while anything refers to it. That
// is not counted: whenever something has ended, forgetIfIdle looks.
type presentities struct {
	server *Server
	mu     sync.Mutex
	m      map[string]*presentity
}

// pin returns the presentity of an entry, with what the directory says now. It stays
// in memory until unpin.
func (ps *presentities) pin(entry directory.Entry) *presentity {
	ps.mu.Lock()
	p := ps.m[entry.ID]
	if p == nil {
		p = &presentity{server: ps.server, id: entry.ID}
		p.watchers.of = p
		ps.m[entry.ID] = p
	}
	p.pins.Add(1)
	ps.mu.Unlock()
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

// unpin undoes pin. A nil presentity is nothing.
func (ps *presentities) unpin(p *presentity) {
	if p == nil || p.pins.Add(-1) > 0 {
		return
	}
	p.mu.Lock()
	idle := p.idle()
	p.mu.Unlock()
	if idle { // seldom: all requests have to do with ps.mu
		ps.mu.Lock()
		defer ps.mu.Unlock()
		ps.forgetIfIdle(p)
	}
}

// find returns a presentity that is in memory, or nil.
func (ps *presentities) find(id string) *presentity {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.m[id]
}

// mayBeIdle has somebody see whether anything still refers to p.
func (p *presentity) mayBeIdle() {
	p.server.deadlines.Set(&p.idleness, (*idling)(p), time.Now())
}

// idling is a presentity that perhaps nobody needs any more.
type idling presentity

// Expired implements [deadline.Expirer].
func (i *idling) Expired() {
	p := (*presentity)(i)
	p.server.presentities.mu.Lock()
	defer p.server.presentities.mu.Unlock()
	p.server.presentities.forgetIfIdle(p)
}

// forgetIfIdle drops a presentity that nothing refers to. ps.mu is held.
func (ps *presentities) forgetIfIdle(p *presentity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pins.Load() > 0 || ps.m[p.id] != p || !p.idle() {
		return
	}
	if p.renewal { // it is looked at again
		p.server.deadlines.Set(&p.idleness, (*idling)(p), time.Now().Add(time.Second))
		return
	}
	delete(ps.m, p.id)
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
	case p.server.publications.Has(p.id), p.server.clients.has(p.id):
		return false
	}
	return p.server.cfg.Hooks.Changed == nil || !p.fed()
}

// fed reports whether a source has a value that the host set: with a hook for
// changes, it hears of them though nobody watches. p.mu is held.
func (p *presentity) fed() bool {
	for _, src := range p.lines {
		if isFed(src) {
			return true
		}
	}
	return p.calendar != nil && isFed(p.calendar) || p.external != nil && isFed(p.external)
}

func isFed[V any](src *source.Source[V]) bool {
	v, known := src.Read()
	return known && v.Owner == source.Feed
}
