package presence

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/directory"
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
	rest     *Own           // what remains said when no publication does: signed out
	forward  *forwarding
	lines    []*source[LineState]
	calendar *source[CalendarState]
	external *source[ExternalState]
	change   *time.Timer // the next change that comes by itself
	retry    *time.Timer // of the look-up

	current atomic.Pointer[snapshot] // never nil once made
}

type presentityKind int

const (
	resolved   presentityKind = iota // the directory has an entry
	nobody                           // it has none (BSP-2.1-5)
	unresolved                       // it could not be asked (BSP-2.1-8)
)

// presentities is the registry of those in memory. A presentity stays while
// something refers to it: a watch, a publication, a status left behind, a
// request being served.
type presentities struct {
	server *Server
	mu     sync.Mutex
	m      map[string]*presentity
}

// of returns the presentity for a look-up's result, referred to once more; the
// caller releases it.
func (ps *presentities) of(a directory.Address, r directory.Result) *presentity {
	switch {
	case r.Err == nil:
		return ps.acquire(r.Entry.ID, resolved, r.Entry)
	case errors.Is(r.Err, directory.ErrNotFound), errors.Is(r.Err, directory.ErrAmbiguous):
		return ps.acquire("?"+a.String(), nobody, directory.Entry{})
	}
	return ps.acquire("?"+a.String(), unresolved, directory.Entry{})
}

func (ps *presentities) acquire(key string, kind presentityKind, entry directory.Entry) *presentity {
	ps.mu.Lock()
	p := ps.m[key]
	made := p == nil
	if made {
		p = &presentity{server: ps.server, key: key, kind: kind, entry: entry}
		p.mu.Lock() // until it has its sources; nobody else can hold it yet
		ps.m[key] = p
	}
	p.refs++
	ps.mu.Unlock()
	if made {
		p.attach()
		p.refresh()
		p.mu.Unlock()
	} else {
		ps.server.notify(p.renew(kind, entry))
	}
	return p
}

func (ps *presentities) retain(p *presentity) {
	ps.mu.Lock()
	p.refs++
	ps.mu.Unlock()
}

func (ps *presentities) release(p *presentity) {
	ps.mu.Lock()
	p.refs--
	gone := p.refs == 0
	if gone && ps.m[p.key] == p {
		delete(ps.m, p.key)
	}
	ps.mu.Unlock()
	if gone {
		p.mu.Lock()
		p.detach()
		stopTimer(&p.change)
		stopTimer(&p.retry)
		stopTimer(&p.winfo.timer)
		p.mu.Unlock()
	}
}

func (ps *presentities) releaseAny(p *presentity) {
	if p != nil {
		ps.release(p)
	}
}

func (ps *presentities) all() []*presentity {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	list := make([]*presentity, 0, len(ps.m))
	for _, p := range ps.m {
		list = append(list, p)
	}
	return list
}

func stopTimer(t **time.Timer) {
	if *t != nil {
		(*t).Stop()
		*t = nil
	}
}

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
	if last == 0 {
		p.unwatchSources()
	}
}

// retryLookup asks the directory again after d, and so on with back-off, until
// it answers. p.mu is held.
func (p *presentity) retryLookup(d time.Duration) {
	s := p.server
	if p.kind != unresolved {
		return
	}
	stopTimer(&p.retry)
	p.retry = s.after(jitter(d), func() {
		address, err := directory.ParseAddress(p.key[1:])
		if err != nil {
			return
		}
		result := s.lookup(s.ctx, []directory.Address{address})[0]
		if result.Err == nil {
			s.resolve(p, result.Entry)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.retry = nil
		if result.Err == nil {
			return
		}
		if errors.Is(result.Err, directory.ErrNotFound) || errors.Is(result.Err, directory.ErrAmbiguous) {
			p.kind = nobody
			return
		}
		if len(p.watches) > 0 {
			p.retryLookup(min(2*d, 60*s.cfg.LookupRetry))
		}
	})
}

// resolve moves all that watch an address to the entry that it turned out to
// have.
func (s *Server) resolve(from *presentity, entry directory.Entry) {
	to := s.presentities.acquire(entry.ID, resolved, entry)
	defer s.presentities.release(to)
	if to == from {
		return // somebody else was faster
	}
	var moved []*watch
	for watches := from.watched(); len(watches) > 0; watches = from.watched() {
		for _, w := range watches { // and those that come meanwhile
			s.move(w, from, to)
		}
		moved = append(moved, watches...)
	}
	impostors := s.clients.rekey(from, to, &entry)
	s.update(to) // the clients that came along open its services
	s.notify(moved)
	for _, c := range impostors {
		s.endClient(c, "it is not of this user")
	}
}

func (p *presentity) kindNow() presentityKind {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kind
}

func (p *presentity) entryNow() directory.Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.entry
}

// watched returns a copy of the watches.
func (p *presentity) watched() []*watch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.watches)
}

// move makes w watch another presentity.
func (s *Server) move(w *watch, from, to *presentity) {
	s.membership.Lock()
	defer s.membership.Unlock()
	if w.presentity != from || !w.linked || w.gone {
		return
	}
	from.removeWatch(w)
	s.presentities.retain(to)
	to.addWatch(w)
	w.dialog.mu.Lock()
	w.presentity = to
	w.dialog.mu.Unlock()
	s.presentities.release(from)
}

// lookup asks the directory, bounded in time and number.
func (s *Server) lookup(ctx context.Context, as []directory.Address) []directory.Result {
	select {
	case s.lookups <- struct{}{}:
		defer func() { <-s.lookups }()
	default:
		results := make([]directory.Result, len(as))
		for i := range results {
			results[i].Err = errBusy
		}
		return results
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LookupTimeout)
	defer cancel()
	results := directory.LookupAll(ctx, s.cfg.Directory, as)
	for i, r := range results {
		if r.Err != nil && !errors.Is(r.Err, directory.ErrNotFound) {
			s.cfg.Logger.Warn("directory look-up", "address", as[i].String(), "error", r.Err)
		}
	}
	return results
}

var errBusy = errors.New("presence: too many directory look-ups under way")

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
	next := newSnapshot(p.address(), before, p.pubs, &state, result, now)
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
	if hook := p.server.cfg.Observer.Changed; hook != nil {
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

// state gathers what the sources say. p.mu is held.
func (p *presentity) state(now time.Time) State {
	st := State{Services: p.server.clients.services(p)}
	if p.kind != resolved {
		return State{}
	}
	shared := false
	for i := len(p.pubs) - 1; i >= 0; i-- {
		pub := p.pubs[i]
		own := pub.Own
		own.Expires = pub.Expires
		st.Own = append(st.Own, own)
		if pub.Dialect == bluStar.Name {
			shared = true
		} else {
			st.Services = st.Services.or(pub.services)
		}
	}
	if p.rest != nil && !shared {
		st.Own = append(st.Own, *p.rest)
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
