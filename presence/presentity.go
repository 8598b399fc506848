package presence

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/internal/shard"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/source"
	"github.com/openblustar/blustar/presence/subscription"
)

// presentity is one directory entry in memory: whoever may be watched (RFC 2778
// §2.1). Its state is derived: from what was published, its clients, and the sources
// of its entry. It implements [subscription.Resource].
type presentity struct {
	server *Server
	id     string       // of the directory entry
	user   *userClients // its clients
	pins   atomic.Int32 // requests and calls that use it now; rises with its part of presentities locked
	once   sync.Once
	entry  atomic.Pointer[directory.Entry] // nobody changes it; nil until it is there; set with mu held

	mu       sync.Mutex
	address  string // the preferred one, as a URI
	watches  []*subscription.Watch
	watchers watchers // Event: presence.winfo
	lines    []*source.Source[LineState]
	calendar *source.Source[CalendarState]
	external *source.Source[ExternalState]

	dirty   bool     // something has changed since the newest snapshot was begun
	renewal bool     // a goroutine makes a snapshot
	then    []func() // to be called when the next snapshot is there

	current  atomic.Pointer[snapshot] // never nil once made
	watching atomic.Int32             // len(watches), for those who do not hold mu
	change   deadline.Item            // the next change that comes by itself
	idleness deadline.Item            // when to see whether anybody still needs it

	forwarding sync.Mutex // calls of the forwarding controller for this user come one at a time
}

// Current implements [subscription.Resource].
func (p *presentity) Current() subscription.State { return p.current.Load() }

// Joined implements [subscription.Resource].
func (p *presentity) Joined(w *subscription.Watch, _ subscription.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.Place = int32(len(p.watches))
	p.watches = append(p.watches, w)
	p.watching.Store(int32(len(p.watches)))
	if len(p.watches) == 1 {
		for _, src := range p.sources() {
			src.Watch()
		}
	}
	p.watchers.changed()
}

// Left implements [subscription.Resource].
func (p *presentity) Left(w *subscription.Watch, _ subscription.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.watches) - 1
	p.watches[last].Place = w.Place
	p.watches[w.Place] = p.watches[last]
	p.watches[last] = nil
	p.watches = p.watches[:last]
	p.watching.Store(int32(last))
	if last == 0 {
		for _, src := range p.sources() {
			src.Unwatch()
		}
		p.mayBeIdle()
	}
	p.watchers.changed()
}

// sources are those of the entry. p.mu is held.
func (p *presentity) sources() []source.Watched {
	list := make([]source.Watched, 0, len(p.lines)+2)
	for _, src := range p.lines {
		list = append(list, src)
	}
	if p.calendar != nil {
		list = append(list, p.calendar)
	}
	if p.external != nil {
		list = append(list, p.external)
	}
	return list
}

// setEntry takes over what the directory says now. It reports whether that is something else.
func (p *presentity) setEntry(entry *directory.Entry) bool {
	if now := p.entry.Load(); now != nil && sameEntry(now, entry) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.sources()
	p.entry.Store(new(*entry))
	p.address = addressOf(entry)
	p.joinSources(entry)
	if len(p.watches) > 0 {
		for _, src := range p.sources() {
			src.Watch()
		}
		for _, src := range left {
			src.Unwatch()
		}
	}
	for _, src := range left {
		src.Leave(p)
	}
	return true
}

func sameEntry(a, b *directory.Entry) bool {
	return a.Account == b.Account && a.DisplayName == b.DisplayName && a.Mail == b.Mail &&
		slices.Equal(a.Lines, b.Lines) && slices.Equal(a.SIP, b.SIP) && slices.Equal(a.Tel, b.Tel) &&
		slices.Equal(a.Groups, b.Groups)
}

// joinSources joins the sources of the entry. p.mu is held.
func (p *presentity) joinSources(entry *directory.Entry) {
	s := p.server
	p.lines, p.calendar, p.external = nil, nil, nil
	for _, dn := range entry.Lines {
		if src, err := s.lines.Join(lineKey(dn), p); err == nil {
			p.lines = append(p.lines, src)
		} else {
			s.cfg.Logger.Error("line is not supervised", "dn", dn, "error", err)
		}
	}
	var err error
	if entry.Mail != "" {
		if p.calendar, err = s.calendars.Join(mailKey(entry.Mail), p); err != nil {
			s.cfg.Logger.Error("calendar is not watched", "mail", entry.Mail, "error", err)
		}
	}
	if p.external, err = s.externals.Join(p.id, p); err != nil {
		s.cfg.Logger.Error("external presence is not watched", "presentity", p.id, "error", err)
	}
}

// Changed implements [source.Listener].
func (p *presentity) Changed() {
	p.update()
	if p.watching.Load() == 0 {
		p.mayBeIdle() // perhaps only that value kept it
	}
}

// update makes a new snapshot, and notifies the watchers who see something else in it.
func (p *presentity) update() { subscription.Notify(p.renew()) }

// renew makes a new snapshot. It returns the watches whose watchers see something else in it,
// for [subscription.Notify]. If another goroutine makes one, renew leaves the work to it, and
// that goroutine notifies. The rules of the host may take their time: renew asks them without
// a lock.
func (p *presentity) renew() []*subscription.Watch {
	p.mu.Lock()
	p.dirty = true
	if p.renewal {
		p.mu.Unlock()
		return nil
	}
	p.renewal = true
	var due []*subscription.Watch
	for p.dirty {
		p.dirty = false
		now := time.Now()
		next, then := p.gather(now), p.then
		p.then = nil
		p.mu.Unlock()

		before := p.current.Load()
		next.judge(before)
		if before != nil && p.watching.Load() > 0 && next.isUnsaved(before) {
			_ = p.server.journal.wait(p.server.ctx) // after an error it is shown all the same
		}
		p.current.Store(next)
		visible := before == nil || next.versions != before.versions
		if visible && before != nil && (before.result.Status != next.result.Status || before.result.Note != next.result.Note) {
			p.tell(next)
		}
		if at := next.state.NextChange(now); !at.IsZero() {
			p.server.deadlines.Set(&p.change, (*changing)(p), at)
		} else {
			p.server.deadlines.Remove(&p.change)
		}

		p.mu.Lock()
		if visible && len(p.watches) > 0 {
			due = append(due[:0], p.watches...)
		}
		if then != nil {
			p.mu.Unlock()
			subscription.Notify(due)
			due = nil
			for _, f := range then {
				f()
			}
			p.mu.Lock()
		}
	}
	p.renewal = false
	p.mu.Unlock()
	return due
}

// renewThen makes a new snapshot, notifies the watchers, and then calls then. With later a
// goroutine of its own does that: deadlines, and the ends of dialogs, cannot wait for the rules
// of a host.
func (p *presentity) renewThen(later bool, then func()) {
	p.mu.Lock()
	p.dirty = true
	p.then = append(p.then, then)
	busy := p.renewal
	p.mu.Unlock()
	switch {
	case busy:
	case later:
		p.server.start(p.update)
	default:
		p.update()
	}
}

// changing is a presentity whose state changes by itself.
type changing presentity

// Expired implements [deadline.Expirer].
func (c *changing) Expired() { p := (*presentity)(c); p.server.start(p.update) }

// tell tells the host and the log a new result.
func (p *presentity) tell(n *snapshot) {
	r := &n.result
	if hook := p.server.cfg.Hooks.Changed; hook != nil {
		hook(Change{Entity: n.entity, Status: r.Status, Note: r.Note, Timestamp: n.at})
	}
	if log := p.server.cfg.Logger; log.Enabled(p.server.ctx, slog.LevelDebug) {
		log.Debug("presence changed", "presentity", p.id, "status", string(r.Status), // without notes: users write them
			"rule", r.Rule, "source", r.Winner.Source)
	}
}

// addressOf is the preferred address of an entry as a URI.
func addressOf(entry *directory.Entry) string {
	switch {
	case len(entry.SIP) > 0:
		return "sip:" + entry.SIP[0]
	case len(entry.Tel) > 0:
		return "tel:" + entry.Tel[0]
	}
	return entry.ID
}

// gather makes a snapshot without a result. p.mu is held.
func (p *presentity) gather(now time.Time) *snapshot {
	of := p.user.together()
	n := &snapshot{server: p.server, watching: &p.watching, entity: p.address, at: now, said: p.server.publications.Of(p.id)}
	st := &n.state
	*st = consolidation.State{Entry: p.entry.Load(), Services: of.services, Live: of.in, Published: n.published[:0]}
	var forward *publication.Contribution
	for _, c := range n.said {
		said := consolidation.Published{
			Provenance: consolidation.Provenance{Owner: c.Owner, Received: c.Received, Expires: c.Expires},
			Status:     c.Status, Note: c.Note, Timestamp: c.Timestamp,
		}
		switch c.Rule {
		case publication.Forwarding:
			forward = c
			continue
		case publication.Shared:
			if !of.in && c.Status != aa.StatusSignedOut {
				continue // its clients have all signed out since
			}
		case publication.Separate:
			if o := originalOf(c); o != nil {
				said.Reading, st.Services = &o.Reading, st.Services.Or(o.services)
			}
		}
		st.Published = append(st.Published, said)
	}
	slices.Reverse(st.Published) // of equal times the last one is the newest
	slices.SortStableFunc(st.Published, func(a, b consolidation.Published) int { return b.Received.Compare(a.Received) })
	if !of.in && len(st.Published) == 0 { // a user without a client is signed out (§2.2)
		since := p.server.clients.since(p.user)
		st.Published = append(st.Published, consolidation.Published{
			Provenance: consolidation.Provenance{Owner: "server", Received: since},
			Status:     aa.StatusSignedOut, Timestamp: since,
		})
	}
	for _, src := range p.lines {
		st.Lines = append(st.Lines, lineOf(src))
	}
	if p.calendar != nil {
		st.Calendar = meetingsOf(p.calendar, now)
	}
	st.External = externalOf(p.external, forward)
	n.private = slices.ContainsFunc(st.Calendar, func(m consolidation.Meeting) bool {
		return m.Private && (m.Subject != "" || m.Location != "")
	})
	return n
}

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
