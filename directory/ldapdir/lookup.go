package ldapdir

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
)

const (
	// chunk is how many addresses one search asks for. Measured against OpenLDAP
	// with 100,000 users; see the benchmark.
	chunk = 50
	// patience is how long a caller for whom there is an outdated entry waits for
	// a fresh one.
	patience = 250 * time.Millisecond
)

// A flight is the search for one address, on behalf of all who asked for it
// meanwhile. It goes on when they have given up.
type flight struct {
	address directory.Address
	done    chan struct{}    // closed when result is set
	result  directory.Result // shared, hence not to be changed
}

// Lookup returns the entry of an address. It waits for no server while the answer
// is in the cache; and while the servers fail, it returns quickly with an
// [ErrUnavailable], but for the one caller in a while that tries them again.
// Entries past their lifetime are returned while there is no better answer, see
// StaleLifetime of [Config].
func (d *Directory) Lookup(ctx context.Context, a directory.Address) (directory.Entry, error) {
	r := d.LookupAll(ctx, []directory.Address{a})[0]
	return r.Entry, r.Err
}

// LookupAll is Lookup for many addresses, with one search for some fifty of those
// that are not in the cache.
func (d *Directory) LookupAll(ctx context.Context, as []directory.Address) []directory.Result {
	results := make([]directory.Result, len(as))
	waits := d.begin(as, results)
	if waits == nil {
		return results
	}
	// Who has an outdated entry waits only so long.
	outdated := make(chan struct{})
	timer := time.AfterFunc(patience, func() { close(outdated) })
	defer timer.Stop()
	for i, w := range waits {
		if w.flight == nil {
			continue
		}
		results[i] = d.await(ctx, w, outdated)
	}
	return results
}

// A wait is for the answer of a flight, with an outdated one at hand or not.
type wait struct {
	flight   *flight
	stale    directory.Result
	hasStale bool
}

// begin answers what can be answered at once, and starts searches for the rest. It
// returns nil if there is nothing to wait for.
func (d *Directory) begin(as []directory.Address, results []directory.Result) []wait {
	now := time.Now()
	var waits []wait
	var started []*flight
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, a := range as {
		if len(d.mapping.attributes(a.Scheme)) == 0 || a.Value == "" {
			results[i].Err = directory.ErrNotFound
			continue
		}
		r, ok, fresh := d.recall(a, now)
		if fresh {
			d.counts.hits.Add(1)
			results[i] = r
			continue
		}
		f := d.flights[a]
		switch {
		case f != nil:
			d.counts.shared.Add(1)
		case d.closed:
			results[i].Err = ErrClosed
			continue
		case len(d.flights) >= d.cfg.MaxPending:
			results[i].Err = fmt.Errorf("%w: %d addresses are being looked up", ErrUnavailable, len(d.flights))
			continue
		default:
			d.counts.misses.Add(1)
			f = &flight{address: a, done: make(chan struct{})}
			d.flights[a] = f
			started = append(started, f)
		}
		if waits == nil {
			waits = make([]wait, len(as))
		}
		waits[i] = wait{f, r, ok}
	}
	for part := range slices.Chunk(started, chunk) {
		d.work.Go(func() { d.fly(part) })
	}
	return waits
}

func (d *Directory) await(ctx context.Context, w wait, outdated <-chan struct{}) directory.Result {
	if !w.hasStale {
		outdated = nil
	}
	// What is there already counts even if the context has ended.
	select {
	case <-w.flight.done:
		return d.prefer(w)
	default:
	}
	select {
	case <-w.flight.done:
		return d.prefer(w)
	case <-outdated:
		d.counts.stale.Add(1)
		return w.stale
	case <-ctx.Done():
		if w.hasStale {
			d.counts.stale.Add(1)
			return w.stale
		}
		return directory.Result{Err: fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))}
	}
}

// prefer returns the flight's result, or the outdated one if that is no answer.
func (d *Directory) prefer(w wait) directory.Result {
	if r := w.flight.result; r.Err == nil || isStatement(r.Err) || !w.hasStale {
		return r
	}
	d.counts.stale.Add(1)
	return w.stale
}

// fly searches for the addresses of flights, and lands them.
func (d *Directory) fly(fs []*flight) {
	// Twice, so that there is time for a second server after the first one hung.
	ctx, cancel := context.WithTimeout(d.ctx, 2*d.hosts.timeout)
	defer cancel()
	as := make([]directory.Address, len(fs))
	for i, f := range fs {
		as[i] = f.address
	}
	results := d.searchAll(ctx, as)

	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for i, f := range fs {
		f.result = results[i]
		d.remember(f.address, f.result, now)
		delete(d.flights, f.address)
		close(f.done)
	}
}

// searchAll asks the server for these addresses, all at once. Where the answer is
// more than the server gives out, it asks for each half. No paged results (RFC
// 2696) are asked for: more than a handful of entries for an address are an error
// in any case, and the limit of some servers counts over all pages.
func (d *Directory) searchAll(ctx context.Context, as []directory.Address) []directory.Result {
	entries, err := d.search(ctx, as)
	code, _ := resultCode(err)
	cut := code == ldap.LDAPResultSizeLimitExceeded || code == ldap.LDAPResultAdminLimitExceeded
	if cut && len(as) > 1 {
		half := len(as) / 2
		return slices.Concat(d.searchAll(ctx, as[:half]), d.searchAll(ctx, as[half:]))
	}
	results := make([]directory.Result, len(as))
	found := d.mapping.assign(as, entries)
	for i, a := range as {
		switch es := found[a]; {
		case len(es) > 1 && (err == nil || cut):
			results[i].Err = d.ambiguous(a, es)
		case err != nil:
			results[i].Err = err
		case len(es) == 0:
			results[i].Err = directory.ErrNotFound
		default:
			results[i].Entry, results[i].Err = d.mapping.entry(es[0])
		}
	}
	return results
}

// LookupAccount implements [directory.Accounts], as Lookup does for addresses.
func (d *Directory) LookupAccount(ctx context.Context, account string) (directory.Entry, error) {
	name, err := auth.ParseName(account)
	if err != nil || !auth.SameAccount(auth.Identity{Account: account}, d.mapping.qualify(name.User), "") {
		return directory.Entry{}, directory.ErrNotFound // of another domain
	}
	return d.Lookup(ctx, accountAddress(name.User))
}

// HasAccount asks whether an entry has the account of an identity, now, with the password that
// it was verified with: nothing remembered counts. Where the directory does not show to both who
// verifies and who looks up when a password was set, it says nothing about passwords. The error
// is an [ErrUnavailable].
func (d *Directory) HasAccount(ctx context.Context, id auth.Identity) (bool, error) {
	name, err := auth.ParseName(id.Account)
	if err != nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.hosts.timeout)
	defer cancel()
	m := d.mapping
	res, err := d.pool.search(ctx, &ldap.SearchRequest{
		BaseDN: d.cfg.BaseDN, Scope: ldap.ScopeWholeSubtree, SizeLimit: 10,
		Filter:     fmt.Sprintf("(&%s(%s=%s))", m.filter, m.account, ldap.EscapeFilter(name.User)),
		Attributes: append([]string{m.account, m.id}, stampAttributes[:]...),
	})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(res.Entries, func(e *ldap.Entry) bool {
		entry, _ := entryID(e, m.id)
		return auth.SameAccount(id, m.qualify(value(e, m.account)), entry) && !hasChanged(id.Stamp, stamp(e))
	}), nil
}

// stampAttributes say when a password was set: in Active Directory, with a password policy of
// OpenLDAP or 389 Directory Server, and in FreeIPA.
var stampAttributes = [...]string{"pwdLastSet", "pwdChangedTime", "krbLastPwdChange"}

// noStamp is that of an entry that has none of them, or does not show it.
const noStamp = "none"

// stamp returns what [auth.Identity] calls a Stamp, for the account of an entry: attribute and value.
func stamp(e *ldap.Entry) string {
	for _, a := range stampAttributes {
		if v := e.GetEqualFoldAttributeValue(a); v != "" {
			return a + " " + v
		}
	}
	return noStamp
}

// hasChanged reports whether two stamps are of two passwords. OpenLDAP writes an attribute only
// with the first change, so that none before it is another. Stamps of two attributes come from two
// directories, and cannot be compared.
func hasChanged(was, now string) bool {
	before, _, _ := strings.Cut(was, " ")
	after, _, _ := strings.Cut(now, " ")
	return now != noStamp && was != now && (before == noStamp || before == after)
}

// search does one search. Entries may come with an error.
func (d *Directory) search(ctx context.Context, as []directory.Address) ([]*ldap.Entry, error) {
	start := time.Now()
	res, err := d.pool.search(ctx, &ldap.SearchRequest{
		BaseDN:       d.cfg.BaseDN,
		Scope:        ldap.ScopeWholeSubtree,
		DerefAliases: ldap.NeverDerefAliases,
		SizeLimit:    4*len(as) + 100,                      // of which 100 may share a number
		TimeLimit:    int(d.hosts.timeout/time.Second) + 1, // Samba counts whole seconds, the one that has begun included
		Filter:       d.mapping.build(as),
		Attributes:   d.mapping.requested(),
	})
	if d.ctx.Err() != nil && err != nil {
		err = ErrClosed
	}
	d.counts.searches.Add(1)
	if err != nil {
		d.counts.failures.Add(1)
	}
	var entries []*ldap.Entry
	if res != nil {
		entries = res.Entries // references to other servers, res.Referrals, are not followed
	}
	if d.cfg.Hooks.Search != nil {
		d.cfg.Hooks.Search(SearchInfo{Addresses: len(as), Entries: len(entries), Duration: time.Since(start), Err: err})
	}
	return entries, err
}

// ambiguous returns the error for an address that several entries have, and tells
// the administrator, who alone can mend it.
func (d *Directory) ambiguous(a directory.Address, es []*ldap.Entry) error {
	const most = 10 // a switchboard's number may be everybody's
	err := &directory.AmbiguousError{Address: a}
	for _, e := range es[:min(len(es), most)] {
		err.Entries = append(err.Entries, printable(e.DN))
	}
	d.log.Warn("several entries have an address", "address", a.String(), "entries", len(es), "dn", err.Entries)
	return err
}
