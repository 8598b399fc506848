package auth

import (
	"context"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// throttle counts refused credentials, and holds back whoever had too many. The
// package documentation has the rule.
//
// An attempt is let through only where its failure, and that of all others under
// way, would not exceed a limit, since otherwise parallel attempts would pass before
// the first of them is counted. Those in excess wait for the others to end.
type throttle struct {
	max    [2]int // of an account or a party, and of a source
	window time.Duration
	shared []netip.Prefix
	// known are accounts, with how long they are known, and accounts with a source and a From,
	// with how long they are known to others.
	known    *table[time.Time]
	lifetime time.Duration       // of known
	keep     func(SessionRecord) // tells others, and a later process; may be nil

	mu sync.Mutex
	// lockable are the failures of accounts that a directory may lock. None makes room for
	// another: who can fail often enough must not make the guard forget an account's.
	lockable *table[failures]
	failures *table[failures] // of the rest
	underway map[recordKey]*gate
	locking  int     // attempts under way at accounts that a directory may lock
	ledger   *ledger // counts over several nodes; nil for one
}

// gate is a key with attempts under way.
type gate struct {
	attempts int
	wake     chan struct{} // closed when an attempt ends
}

// failures of an account, a party or a source.
type failures struct {
	last time.Time
	// names has a hash of the account for each, as it was typed.
	names []uint64

	// Of several nodes: the revision of their record, and by node the names of its attempts
	// under way.
	revision uint64
	under    map[string][]uint64
}

// add counts a refusal. No limit is above most.
func (f *failures) add(name uint64, now time.Time, most int) {
	f.last, f.names = now, append(slices.Clone(f.names[max(0, len(f.names)-most):]), name)
}

// forget takes out those with the names of one account.
func (f *failures) forget(names []uint64) {
	f.names = slices.DeleteFunc(slices.Clone(f.names), func(n uint64) bool { return slices.Contains(names, n) })
}

// attempt is whom credentials count against.
type attempt struct {
	account recordKey
	// source is zero where failures are not counted by source. owner is the source in any case.
	source, owner recordKey
	// client is the account at this source with this From.
	client recordKey
	// party is the account at this source, and client where that is known.
	party recordKey
	known bool
	// locks says that a directory may lock the account.
	locks bool
	// names are hashes of the account as typed and, after a success, as it is.
	names []uint64

	// Of several nodes: the keys that the attempt has a place under, and how it ended.
	places            []recordKey
	failed, succeeded bool
}

// slowDown is how long the attempts of strangers wait where an account had too many
// failures, if no directory locks it.
const slowDown = time.Second

// attempt describes one try at an account. The lane is the kind of check: a user's,
// a controller's or Digest. What fails in one has no part in the others.
func (g *Guard) attempt(r *Request, lane, account string, n Name, locks bool) *attempt {
	t := g.throttle
	source, from := text(sourceNet(r.Source)), r.From
	if r.AMCC {
		from = "" // one controller signs in many users (§2.11)
	}
	a := &attempt{
		account: keyOf("account", lane, account),
		client:  keyOf("client", lane, account, source, from),
		party:   keyOf("party", lane, account, source),
		owner:   keyOf("source", source),
		locks:   locks,
		names:   []uint64{nameHash(n.Account())},
	}
	shares := func(p netip.Prefix) bool { return p.Contains(r.Source.Unmap().WithZone("")) }
	if r.Source.IsValid() && !g.cfg.AnySource && !slices.ContainsFunc(t.shared, shares) {
		a.source = a.owner
	}
	if _, a.known = t.known.get(a.client); a.known {
		a.party = a.client
	}
	return a
}

func nameHash(name string) uint64 {
	k := keyOf("name", name)
	return binary.BigEndian.Uint64(k[:])
}

// sourceNet is the unit that a source is counted by: who has a /64 of IPv6 has all
// its addresses.
func sourceNet(source netip.Addr) netip.Addr {
	source = source.Unmap().WithZone("")
	if source.Is6() {
		p, _ := source.Prefix(64) // a length that every IPv6 address has
		source = p.Addr()
	}
	return source
}

// text is a part of a key.
func text(source netip.Addr) string {
	b := source.As16()
	return string(b[:])
}

// limit is how many failures a key may have.
type limit struct {
	key recordKey
	max int
}

// limits returns what the attempt is counted under, and how many failures hold it back.
func (t *throttle) limits(a *attempt) []limit {
	all := make([]limit, 0, 4)
	if a.source != (recordKey{}) {
		all = append(all, limit{a.source, t.max[1]})
	}
	if !a.locks {
		return append(all, limit{a.party, t.max[0]}, limit{a.account, math.MaxInt})
	}
	most := t.max[0]
	if _, ok := t.known.get(a.account); ok && !a.known && most > 1 {
		most-- // the last one is for those from where the account signed in before
	}
	return append(all, limit{a.account, most})
}

// begin lets an attempt through, or returns a heldError, or the error of ctx. After
// nil, end must be called.
func (t *throttle) begin(ctx context.Context, a *attempt) error {
	if t.max[0] < 0 {
		return nil
	}
	for {
		wait, err := t.enter(a)
		if err != nil {
			return err
		}
		if wait == nil {
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if err := t.ledger.claim(ctx, a); err != nil {
		t.end(a)
		return err
	}
	if f := t.count(t.of(a, a.account), a.account); a.known || a.locks || len(f.names) < t.max[0] {
		return nil
	}
	slow := time.NewTimer(slowDown)
	defer slow.Stop()
	select {
	case <-slow.C:
		return nil
	case <-ctx.Done():
		t.end(a)
		return context.Cause(ctx)
	}
}

// enter takes a place, or returns what to wait for before trying again.
func (t *throttle) enter(a *attempt) (wait <-chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	limits := t.limits(a)
	for _, l := range limits {
		f := t.count(t.of(a, l.key), l.key)
		if len(f.names) >= l.max {
			return nil, t.held(f)
		}
		if g := t.underway[l.key]; g != nil && g.attempts+len(f.names) >= l.max {
			wait = g.wake
		}
	}
	if wait != nil {
		return wait, nil
	}
	if a.locks {
		if !t.lockable.room(a.account, a.owner, t.locking, a.known) {
			return nil, ErrBusy
		}
		t.locking++
	}
	for _, l := range limits {
		g := t.underway[l.key]
		if g == nil {
			g = &gate{wake: make(chan struct{})}
			t.underway[l.key] = g
		}
		g.attempts++
	}
	return nil, nil
}

// held is the error of an attempt after too many failures.
func (t *throttle) held(f failures) error {
	return &heldError{min(t.window, t.window-time.Since(f.last))}
}

// count returns the failures of a key that count now.
func (t *throttle) count(in *table[failures], key recordKey) failures {
	f, _ := in.get(key)
	if time.Since(f.last) >= t.window { // an attempt under way keeps the record
		f.names = nil
	}
	return f
}

// of is where the failures of a key are.
func (t *throttle) of(a *attempt, key recordKey) *table[failures] {
	if a.locks && key == a.account {
		return t.lockable
	}
	return t.failures
}

// end gives the place back, after the result was counted.
func (t *throttle) end(a *attempt) {
	if t.max[0] < 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.locks {
		t.locking--
	}
	t.ledger.settle(a)
	for _, l := range t.limits(a) {
		g := t.underway[l.key]
		close(g.wake)
		g.wake = make(chan struct{})
		if g.attempts--; g.attempts == 0 {
			delete(t.underway, l.key)
		}
	}
}

// failed counts a refusal.
func (t *throttle) failed(a *attempt) {
	if t.max[0] < 0 {
		return
	}
	if a.failed = true; t.ledger != nil {
		return // end says so to all nodes
	}
	now := time.Now()
	for _, l := range t.limits(a) {
		t.of(a, l.key).update(l.key, a.owner, now.Add(t.window), func(f failures, _ bool) (failures, bool) {
			f.add(a.names[0], now, t.max[1])
			return f, true
		})
	}
}

// succeeded makes the client known, and forgets the failures that were with this
// account: who has one good account must not be able to wipe out guesses at others,
// though the names may count as one.
func (t *throttle) succeeded(a *attempt, id Identity) {
	if t.max[0] < 0 {
		return
	}
	now := time.Now()
	a.names = append(a.names, nameHash(id.Account))
	a.succeeded = true
	for _, l := range append(t.limits(a), limit{key: a.client}) {
		f, found := t.of(a, l.key).get(l.key)
		if !found || t.ledger != nil { // end says so to all nodes
			continue
		}
		t.of(a, l.key).update(l.key, a.owner, f.last.Add(t.window), func(f failures, _ bool) (failures, bool) {
			f.forget(a.names)
			return f, len(f.names) > 0
		})
	}
	until := now.Add(t.lifetime)
	told, _ := t.known.get(a.client)
	if tell := t.keep != nil && until.Sub(told) > t.lifetime/7; tell {
		t.keep(knownRecord(a.client, a.account, until))
		told = until
	}
	t.knows(a.client, a.account, told, until)
}

// knows makes an account known, at a source with a From.
func (t *throttle) knows(client, account recordKey, told, until time.Time) {
	t.known.put(client, account, told, until)
	if already, _ := t.known.get(account); already.After(until) {
		until = already
	}
	t.known.put(account, account, until, until)
}

// heldError is ErrThrottled for a time.
type heldError struct{ wait time.Duration }

func (e *heldError) Error() string { return ErrThrottled.Error() }
func (e *heldError) Unwrap() error { return ErrThrottled }
