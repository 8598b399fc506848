package subscription

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/openblustar/blustar/sipx"
)

// party is an account or a source, and counts what it watches. It lives while a dialog refers to
// it. registry.mu guards it.
type party struct {
	name    string // of an account, as it was written first
	key     partyKey
	watches int
	dialogs int
}

// partyKey is an account, in lower case, or else a source.
type partyKey struct {
	account string
	source  netip.Prefix
}

// SourceOf returns the source of a request, for its share: the address; for IPv6 the /64, because a
// host can have any number of addresses in it.
func SourceOf(f sipx.Flow) netip.Prefix {
	addr := f.Remote.Addr().Unmap()
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.WithZone("").Prefix(bits)
	return p
}

// partiesOf finds or makes the parties of a new dialog. r.mu is held.
func (r *Registry) partiesOf(account string, prefix netip.Prefix) (of, source *party) {
	if account != "" {
		of = r.partyOf(partyKey{account: strings.ToLower(account)}, account)
	}
	shared := slices.ContainsFunc(r.cfg.SharedSources, func(p netip.Prefix) bool { return p.Contains(prefix.Addr()) })
	if prefix.IsValid() && !shared {
		source = r.partyOf(partyKey{source: prefix}, "")
	}
	return of, source
}

func (r *Registry) partyOf(key partyKey, name string) *party {
	p := r.parties[key]
	if p == nil {
		p = &party{name: strings.Clone(name), key: key}
		p.key.account = strings.ToLower(p.name)
		r.parties[p.key] = p
	}
	p.dialogs++
	return p
}

// forgetLocked releases the parties of d. r.mu is held.
func (r *Registry) forgetLocked(d *Dialog) {
	for _, p := range []*party{d.account, d.source} {
		if p == nil {
			continue
		}
		if p.dialogs--; p.dialogs == 0 {
			delete(r.parties, p.key)
		}
	}
}

// take counts n more watches of d, where the bounds allow it. release counts n less.
func (r *Registry) take(d *Dialog, n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takeLocked(d, n)
}

func (r *Registry) takeLocked(d *Dialog, n int) error {
	switch {
	case d.account != nil && d.account.watches+n > r.cfg.AccountShare:
		return ErrShare
	case r.watches+n > r.cfg.MaxWatches, d.source != nil && d.source.watches+n > r.cfg.SourceShare:
		return ErrFull
	}
	r.countLocked(d, n)
	return nil
}

func (r *Registry) release(d *Dialog, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.countLocked(d, -n)
}

func (r *Registry) countLocked(d *Dialog, n int) {
	r.watches += n
	if d.account != nil {
		d.account.watches += n
	}
	if d.source != nil {
		d.source.watches += n
	}
}
