package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Count is what all nodes have counted under one key, as the store has it that they share.
type Count struct {
	// Key is 22 characters of the URL-safe base64 alphabet: of a hash of an account, or of an
	// account and where it is tried from, or of a source.
	Key string
	// Value is a few hundred bytes of JSON with a version in it, and nothing of the credentials;
	// nil: the record is deleted, or is to be.
	Value []byte
	// Expires is when the record ceases to be.
	Expires time.Time
	// Revision is that of the record; where it is to be written, the one that it must have
	// then, and 0 where there must be none.
	Revision uint64
}

// countVersion tells the values of this version of the package from those of others.
const countVersion = 1

type storedCount struct {
	Version int                 `json:"v"`
	Owner   []byte              `json:"owner"`           // the source that began it, hashed
	Locks   bool                `json:"locks,omitempty"` // it is of an account that a directory may lock
	Last    int64               `json:"last,omitempty"`  // milliseconds since 1970
	Names   []uint64            `json:"names,omitempty"`
	Under   map[string][]uint64 `json:"under,omitempty"`
}

// ledger counts attempts over several nodes: under each key there is a record in the store
// that they share. An attempt has its place there before a verifier hears of it, and keeps it
// until the record says how it ended; so the limits hold for all nodes together, whatever they
// do at the same moment. Each write names the revision that it is made on, and of two the first
// counts: who was not is told the other's, and tries again. The place of a node that dies in
// the middle is a failure: what it asked the directory is not known.
//
// The tables of the throttle are what is known of the records.
type ledger struct {
	throttle *throttle
	nodes    Nodes
	wake     chan struct{}

	// Guarded by throttle.mu.
	pages map[recordKey]*page
	ended bool
}

// page is a key for which there is something to be written, or under which this node has
// attempts under way.
type page struct {
	owner  recordKey
	locks  bool     // in throttle.lockable
	places []uint64 // that this node has, as far as it knows: the names of the attempts
	todo   []*entry
	check  bool // the store may have other places of this node
	beaten bool // another node was faster: its record comes
	told   int  // how often a record came
}

// entry is a change of a page.
type entry struct {
	claim bool // a place, if there is one below max
	max   int
	gone  bool       // nobody waits for it any more
	done  chan error // of a claim, with room for one

	leave  bool // a place, of names[0]
	add    bool // a failure
	forget bool // those of the account
	names  []uint64
	at     time.Time
}

// claim takes the attempt's places, one after the other, and always in the same order. It waits
// for those of other attempts. After an error, settle gives back those that it has.
func (l *ledger) claim(ctx context.Context, a *attempt) error {
	if l == nil || l.needless(a) {
		return nil
	}
	t := l.throttle
	for _, limit := range t.limits(a) {
		if limit.max == math.MaxInt {
			continue
		}
		t.mu.Lock()
		if l.ended {
			t.mu.Unlock()
			return ErrUnavailable
		}
		if !t.of(a, limit.key).room(limit.key, a.owner, len(l.pages), a.known) {
			t.mu.Unlock()
			return ErrBusy
		}
		e := &entry{claim: true, max: limit.max, names: a.names, done: make(chan error, 1)}
		l.enter(a, limit.key, e)
		t.mu.Unlock()
		var err error
		select {
		case err = <-e.done:
		case <-ctx.Done():
			t.mu.Lock()
			select {
			case err = <-e.done:
			default:
				e.gone, err = true, context.Cause(ctx)
			}
			t.mu.Unlock()
		}
		if err != nil {
			return err
		}
		a.places = append(a.places, limit.key)
	}
	return nil
}

// needless reports whether an attempt needs no place: that of a user who is known there, at an
// account that no directory locks, as long as nothing has failed. Digest has an attempt for
// each request; its failures are told once they are there.
func (l *ledger) needless(a *attempt) bool {
	if a.locks || !a.known {
		return false
	}
	return !slices.ContainsFunc(l.throttle.limits(a), func(limit limit) bool {
		_, failed := l.throttle.failures.get(limit.key)
		return failed && limit.max < math.MaxInt
	})
}

// settle gives the places of an attempt back, and says how it ended. throttle.mu is held.
func (l *ledger) settle(a *attempt) {
	if l == nil || l.ended {
		return
	}
	t := l.throttle
	for _, limit := range append(t.limits(a), limit{key: a.client}) {
		e := &entry{leave: slices.Contains(a.places, limit.key), names: a.names, at: time.Now()}
		e.add = a.failed && limit.max > 0 // a.client is not counted under by itself
		f, _ := t.of(a, limit.key).get(limit.key)
		e.forget = a.succeeded && (e.leave || // it is written in any case, and others may have failed meanwhile
			slices.ContainsFunc(f.names, func(n uint64) bool { return slices.Contains(a.names, n) }))
		if e.leave || e.add || e.forget {
			a.places = slices.DeleteFunc(a.places, func(k recordKey) bool { return k == limit.key })
			l.enter(a, limit.key, e)
		}
	}
}

// The methods below expect throttle.mu held, but for run.

func (l *ledger) enter(a *attempt, key recordKey, e *entry) {
	p := l.pages[key]
	if p == nil {
		p = &page{owner: a.owner, locks: a.locks && key == a.account}
		l.pages[key] = p
	}
	p.todo = append(p.todo, e)
	l.hurry()
}

func (l *ledger) hurry() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *ledger) table(locks bool) *table[failures] {
	if locks {
		return l.throttle.lockable
	}
	return l.throttle.failures
}

// Between tries of what the store did not take, and of what another node was faster with,
// whose record may have expired there a little earlier than here.
const ledgerRetry = 250 * time.Millisecond

// run writes what there is to be written until ctx ends.
func (l *ledger) run(ctx context.Context) {
	retry := time.NewTimer(ledgerRetry)
	defer retry.Stop()
	for ctx.Err() == nil {
		living := append(l.nodes.Others(), l.nodes.Node())
		l.throttle.mu.Lock()
		w := l.plan(living)
		left := len(l.pages) > 0
		l.throttle.mu.Unlock()
		var err error
		if len(w.counts) > 0 {
			var revisions []uint64
			revisions, err = l.nodes.Write(ctx, w.counts)
			l.throttle.mu.Lock()
			l.wrote(w, revisions, err)
			l.throttle.mu.Unlock()
			if err == nil {
				continue
			}
		}
		wake, again := l.wake, (<-chan time.Time)(nil)
		if left {
			retry.Reset(ledgerRetry)
			again = retry.C
		}
		if err != nil {
			wake = nil
		}
		select {
		case <-wake:
		case <-again:
			l.throttle.mu.Lock()
			for _, p := range l.pages {
				p.beaten = false
			}
			l.throttle.mu.Unlock()
		case <-ctx.Done():
		}
	}
	l.throttle.mu.Lock()
	defer l.throttle.mu.Unlock()
	l.ended = true
	for _, p := range l.pages {
		p.refuse(ErrUnavailable)
	}
	clear(l.pages)
}

// refuse ends the claims that wait.
func (p *page) refuse(err error) {
	p.todo = slices.DeleteFunc(p.todo, func(e *entry) bool {
		if e.claim {
			e.done <- err
		}
		return e.claim
	})
}

// writing is what is on its way to the store.
type writing struct {
	counts []Count
	drafts []draft
}

// draft is a page as it is to be.
type draft struct {
	key    recordKey
	page   *page
	told   int
	is     failures
	places []uint64
	taken  []*entry
}

// plan takes what can be written now.
func (l *ledger) plan(living []string) (w writing) {
	now := time.Now()
	for key, p := range l.pages {
		if p.beaten {
			continue
		}
		f := l.throttle.count(l.table(p.locks), key)
		d := draft{key: key, page: p, told: p.told, is: f, places: slices.Clone(p.places)}
		dead := l.bury(&d, living, now)
		l.fill(&d, now)
		wrong := p.check && len(f.under[l.nodes.Node()]) != len(p.places)
		p.check = false
		switch {
		case len(d.taken) == 0 && !wrong && !dead:
		case d.is.revision == 0 && len(d.is.names)+len(d.places) == 0: // and there is nothing
			l.done(d)
		default:
			delete(d.is.under, l.nodes.Node())
			if len(d.places) > 0 {
				d.is.under[l.nodes.Node()] = d.places
			}
			w.counts = append(w.counts, l.count(d, now))
			w.drafts = append(w.drafts, d)
			continue
		}
		if len(p.todo)+len(p.places) == 0 {
			delete(l.pages, key)
		}
	}
	return w
}

// bury makes the places of dead nodes failures. It reports false where there are none.
func (l *ledger) bury(d *draft, living []string, now time.Time) (dead bool) {
	under := make(map[string][]uint64, len(d.is.under)+1)
	for node, names := range d.is.under {
		if slices.Contains(living, node) {
			under[node] = names
			continue
		}
		dead = true
		for _, name := range names {
			d.is.add(name, now, l.throttle.max[1])
		}
	}
	d.is.under = under
	return dead
}

// fill takes the changes that can be made, and ends those that cannot be.
func (l *ledger) fill(d *draft, now time.Time) {
	others := 0
	for node, names := range d.is.under {
		if node != l.nodes.Node() {
			others += len(names)
		}
	}
	p := d.page
	p.todo = slices.DeleteFunc(p.todo, func(e *entry) bool {
		switch {
		case e.claim && e.gone:
			return true
		case e.claim && len(d.is.names) >= e.max:
			e.done <- l.throttle.held(d.is)
			return true
		case e.claim && len(d.is.names)+others+len(d.places) >= e.max:
			return false
		case e.claim:
			d.places = append(d.places, e.names[0])
		default:
			if i := slices.Index(d.places, e.names[0]); e.leave && i >= 0 {
				d.places = slices.Delete(d.places, i, i+1)
			}
			if e.add && now.Sub(e.at) < l.throttle.window {
				d.is.add(e.names[0], e.at, l.throttle.max[1])
			}
			if e.forget {
				d.is.forget(e.names)
			}
		}
		d.taken = append(d.taken, e)
		return true
	})
}

// count is a draft for the store.
func (l *ledger) count(d draft, now time.Time) Count {
	c := Count{Key: d.key.String(), Revision: d.is.revision, Expires: l.expires(d.is, now).Round(0)}
	if len(d.is.names)+len(d.is.under) > 0 {
		s := storedCount{Version: countVersion, Owner: d.page.owner[:], Locks: d.page.locks, Names: d.is.names,
			Under: d.is.under}
		if !d.is.last.IsZero() {
			s.Last = d.is.last.UnixMilli()
		}
		c.Value, _ = json.Marshal(s) // texts and numbers
	}
	return c
}

// expires is when a record is over: an attempt that is under way may fail yet.
func (l *ledger) expires(f failures, now time.Time) time.Time {
	if len(f.under) > 0 {
		return now.Add(l.throttle.window)
	}
	return f.last.Add(l.throttle.window)
}

// wrote notes what the store has taken.
func (l *ledger) wrote(w writing, revisions []uint64, err error) {
	now := time.Now()
	for i, d := range w.drafts {
		p := d.page
		switch {
		case err != nil: // it may have taken some of it
			p.todo = append(d.taken, p.todo...)
			p.refuse(fmt.Errorf("%w: %w", ErrUnavailable, err))
		case revisions[i] == 0:
			p.todo, p.beaten = append(d.taken, p.todo...), p.told == d.told
		default:
			d.is.revision = revisions[i]
			l.know(d.key, p.owner, p.locks, d.is, l.expires(d.is, now))
			l.done(d)
		}
		if len(p.todo)+len(p.places) == 0 && !p.check { // else its record came before this answer
			delete(l.pages, d.key)
		}
	}
}

// done tells those whose places are taken.
func (l *ledger) done(d draft) {
	p := d.page
	p.places = d.places
	for _, e := range d.taken {
		switch {
		case !e.claim:
		case e.gone:
			p.todo = append(p.todo, &entry{leave: true, names: e.names, at: time.Now()})
		default:
			e.done <- nil
		}
	}
}

// know enters a record as it is in the store, unless a later one is known. It reports false
// where there is no room.
func (l *ledger) know(key, owner recordKey, locks bool, is failures, expires time.Time) (room bool) {
	t, some := l.table(locks), len(is.names)+len(is.under) > 0
	if f, found := t.get(key); found && f.revision > is.revision {
		return true
	}
	return t.update(key, owner, expires, func(failures, bool) (failures, bool) { return is, some }) || !some
}

// Counted takes what a record of the store is now, whichever node wrote it: each one that there
// is, after [Guard.Join], and each change, in the order of revisions. It does not block. The error says
// that it is no count of this version of the package.
func (g *Guard) Counted(c Count) error {
	l := g.throttle.ledger
	if l == nil {
		return nil
	}
	key, err := parseKey(c.Key)
	if err != nil {
		return err
	}
	var s storedCount
	if c.Value != nil {
		if err := json.Unmarshal(c.Value, &s); err != nil || len(s.Owner) != len(recordKey{}) {
			return errors.New("auth: not a count")
		}
		if s.Version != countVersion {
			return fmt.Errorf("auth: count of version %d, want %d", s.Version, countVersion)
		}
	}
	now, window := time.Now(), l.throttle.window
	is := failures{names: s.Names, under: s.Under, revision: c.Revision}
	if s.Last != 0 { // by the clock of another machine
		is.last = now.Add(-min(window, max(0, time.Since(time.UnixMilli(s.Last)))))
	}
	expires := now.Add(min(window, time.Until(c.Expires)))
	l.throttle.mu.Lock()
	defer l.throttle.mu.Unlock()
	p := l.pages[key]
	if c.Value == nil {
		for _, locks := range []bool{false, true} {
			l.know(key, recordKey{}, locks, is, now)
		}
	} else if !l.know(key, recordKey(s.Owner), s.Locks, is, expires) && p != nil {
		p.refuse(ErrBusy)
	}
	if p == nil && len(s.Under[l.nodes.Node()]) > 0 { // the answer to a write was lost
		p = &page{owner: recordKey(s.Owner), locks: s.Locks}
		l.pages[key] = p
	}
	if p != nil {
		p.told++
		p.beaten, p.check = false, true
		l.hurry()
	}
	return nil
}
