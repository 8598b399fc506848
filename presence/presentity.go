package presence

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
)

// presentity is one directory entry in memory (BSP-2.1-7), or an address that
// has none. Everything that changes it or its document is serialized on mu;
// different presentities never wait for each other.
//
// Lock order, here and everywhere: publishing, then Server.membership, then
// presentity.mu, then one of the leaves (a source, the clients, a snapshot).
// dialog.mu is never held together with presentity.mu, and no lock but
// publishing is held during a call to the host.
type presentity struct {
	server *Server
	key    string // ID of the entry, or "?" and the address
	refs   int    // guarded by the registry

	publishing sync.Mutex // serializes its publications, the store's calls included

	mu       sync.Mutex
	kind     presentityKind
	entry    directory.Entry
	watches  []*watch
	winfo    winfo
	pubs     []*publication // live ones, the oldest first
	numbered uint64         // the newest Standard one
	out      time.Time      // since when no client has been live, nor a publication; zero while one is
	forward  *forwarding
	lines    []*source[LineState]
	calendar *source[CalendarState]
	external *source[ExternalState]
	change   *time.Timer // the next change that comes by itself
	retry    *time.Timer // of the look-up

	current  atomic.Pointer[snapshot] // never nil once made
	watching atomic.Int32             // len(watches), for those who do not hold mu
}

type presentityKind int

const (
	resolved   presentityKind = iota // the directory has an entry
	nobody                           // it has none (BSP-2.1-5)
	unresolved                       // it could not be asked (BSP-2.1-8)
)

// renew takes what a later look-up said, and returns whom to notify.
func (p *presentity) renew(kind presentityKind, entry directory.Entry) []*watch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kind == resolved && !sameEntry(&p.entry, &entry) {
		p.entry = entry
		watched := len(p.watches) > 0
		if watched {
			p.unwatchSources()
		}
		lines, calendar := p.lines, p.calendar
		p.lines, p.calendar, p.external = nil, nil, nil
		p.attach()
		if watched {
			p.watchSources()
		}
		releaseUnless(lines, p.lines, p)
		releaseUnless(one(calendar), one(p.calendar), p)
		return p.refresh()
	}
	switch {
	case p.kind == unresolved && kind == nobody:
		p.kind = nobody
		stopTimer(&p.retry)
	case p.kind == nobody && kind == unresolved:
		p.kind = unresolved // the directory is down: it may have an entry by now
		if len(p.watches) > 0 {
			p.retryLookup(p.server.cfg.LookupRetry)
		}
	}
	return nil
}

func one[V any](src *source[V]) []*source[V] {
	if src == nil {
		return nil
	}
	return []*source[V]{src}
}

func releaseUnless[V any](old, kept []*source[V], p *presentity) {
	for _, src := range old {
		if !slices.Contains(kept, src) {
			src.release(p)
		}
	}
}

func sameEntry(a, b *directory.Entry) bool {
	return a.Account == b.Account && a.DisplayName == b.DisplayName && a.Mail == b.Mail &&
		slices.Equal(a.Lines, b.Lines) && slices.Equal(a.SIP, b.SIP) && slices.Equal(a.Tel, b.Tel)
}

// attach connects p to the sources of its entry. p.mu is held.
func (p *presentity) attach() {
	if p.kind != resolved {
		return
	}
	s := p.server
	for _, dn := range p.entry.Lines {
		if src, err := s.lines.get(lineKey(dn), p); err == nil {
			p.lines = append(p.lines, src)
		} else {
			s.cfg.Logger.Error("line is not supervised", "dn", dn, "error", err)
		}
	}
	if p.entry.Mail != "" {
		src, err := s.calendars.get(mailKey(p.entry.Mail), p)
		if err != nil {
			s.cfg.Logger.Error("calendar is not watched", "mail", p.entry.Mail, "error", err)
		}
		p.calendar = src
	}
	src, err := s.externals.get(p.key, p)
	if err != nil {
		s.cfg.Logger.Error("external presence is not watched", "presentity", p.key, "error", err)
	}
	p.external = src
}

func (p *presentity) detach() {
	for _, src := range p.lines {
		src.release(p)
	}
	if p.calendar != nil {
		p.calendar.release(p)
	}
	if p.external != nil {
		p.external.release(p)
	}
	p.lines, p.calendar, p.external = nil, nil, nil
}

// watchSources starts the monitors, unwatchSources lets them end (BSP-2.1-6).
func (p *presentity) watchSources() {
	for _, src := range p.lines {
		src.watch(p.entry)
	}
	if p.calendar != nil {
		p.calendar.watch(p.entry)
	}
	if p.external != nil {
		p.external.watch(p.entry)
	}
}

func (p *presentity) unwatchSources() {
	for _, src := range p.lines {
		src.unwatch()
	}
	if p.calendar != nil {
		p.calendar.unwatch()
	}
	if p.external != nil {
		p.external.unwatch()
	}
}

// addWatch adds a watch, for which the caller holds a reference to p.
func (p *presentity) addWatch(w *watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.watchers {
		p.winfo.watches = append(p.winfo.watches, w)
		return
	}
	defer p.watchersChanged()
	w.index = len(p.watches)
	p.watches = append(p.watches, w)
	p.watching.Store(int32(len(p.watches)))
	if len(p.watches) == 1 {
		p.watchSources()
	}
	if p.retry == nil {
		p.retryLookup(p.server.cfg.LookupRetry)
	}
}

// removeWatch takes a watch away.
func (p *presentity) removeWatch(w *watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.watchers {
		p.winfo.watches = slices.DeleteFunc(p.winfo.watches, func(other *watch) bool { return other == w })
		return
	}
	defer p.watchersChanged()
	last := len(p.watches) - 1
	p.watches[last].index = w.index
	p.watches[w.index] = p.watches[last]
	p.watches[last] = nil
	p.watches = p.watches[:last]
	p.watching.Store(int32(last))
	if last == 0 {
		p.unwatchSources()
	}
}

// update consolidates p anew and notifies its watchers of what changed.
func (s *Server) update(p *presentity) {
	p.mu.Lock()
	due := p.refresh()
	p.mu.Unlock()
	s.notify(due)
}

func (s *Server) updateAll(ps []*presentity) {
	for _, p := range ps {
		s.update(p)
	}
}

// refresh makes a new snapshot and returns the watches to notify, a copy; nil
// where nothing changed that they would see (BSP-2.5-2). p.mu is held.
func (p *presentity) refresh() []*watch {
	now := time.Now()
	state := p.state(now)
	result := Consolidate(p.server.cfg.Rules, &state, now)
	before := p.current.Load()
	next := newSnapshot(p.address(), p.server.cfg.Showing, before, p.pubs, &state, result, now)
	p.current.Store(next)

	stopTimer(&p.change)
	if at := state.nextChange(now); !at.IsZero() {
		p.change = p.server.after(at.Sub(now), func() { p.server.update(p) })
	}
	if before == nil || next.versions == before.versions {
		return nil
	}
	if before.result.Status != result.Status || before.result.Note != result.Note {
		p.changed(result, now)
	}
	return slices.Clone(p.watches)
}

func (p *presentity) changed(r Result, now time.Time) {
	if hook := p.server.cfg.Hooks.Changed; hook != nil {
		hook(Change{Entity: p.address(), Status: r.Status, Note: r.Note, Timestamp: now})
	}
	if log := p.server.cfg.Logger; log.Enabled(p.server.ctx, slog.LevelDebug) {
		log.Debug("presence changed", "presentity", p.key, "status", string(r.Status),
			"note", r.Note, "rule", r.Rule, "source", r.Winner.Source, "value", r.Winner.Value)
	}
}

// address is the preferred address of p as a URI.
func (p *presentity) address() string {
	switch {
	case p.kind != resolved:
		return p.key[1:]
	case len(p.entry.SIP) > 0:
		return "sip:" + p.entry.SIP[0]
	case len(p.entry.Tel) > 0:
		return "tel:" + p.entry.Tel[0]
	}
	return p.key
}

// signedOut is what is said of a user without a live client (BSP-2.4-8).
func signedOut(since time.Time) Own {
	return Own{
		Provenance: Provenance{Owner: "server", Received: since},
		Status:     pidf.StatusSignedOut,
		Timestamp:  since,
	}
}

// state gathers what the sources say. p.mu is held.
func (p *presentity) state(now time.Time) State {
	st := State{Services: p.server.clients.services(p)}
	if p.kind != resolved {
		return State{}
	}
	for i := len(p.pubs) - 1; i >= 0; i-- {
		pub := p.pubs[i]
		own := pub.Own
		own.Expires = pub.Expires
		st.Own = append(st.Own, own)
		if pub.Dialect != bluStar.Name {
			st.Services = st.Services.or(pub.services)
		}
	}
	switch out := len(p.pubs) == 0 && !p.server.clients.alive(p); {
	case !out:
		p.out = time.Time{}
	case p.out.IsZero():
		p.out = now
		fallthrough
	default:
		st.Own = []Own{signedOut(p.out)}
	}
	slices.SortStableFunc(st.Own, func(a, b Own) int { return b.Received.Compare(a.Received) })
	for _, src := range p.lines {
		st.Lines = append(st.Lines, lineOf(src))
	}
	if p.calendar != nil {
		st.Calendar = meetingsOf(p.calendar, now)
	}
	st.External = externalOf(p.external, p.forward)
	return st
}
