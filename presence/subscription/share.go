package subscription

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/openblustar/blustar/sipx"
)

// Errors of [Registry.Open] and [Dialog.SetItems].
var (
	ErrFull  = errors.New("subscription: too many are watched") // to be tried again later: 503
	ErrShare = errors.New("subscription: too many are watched by one account")
)

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

// shares counts what is watched: by all, by each account and by each source. It is not safe for
// concurrent use.
type shares struct {
	most, ofAccount, ofSource int
	shared                    []netip.Prefix // sources without a share
	watches                   int
	parties                   map[partyKey]*party
}

// party is an account or a source. It lives while a dialog refers to it.
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

// parties are whom a dialog counts for: its account, nil where nobody was authenticated, and its
// source, nil where that has no share.
type parties struct{ account, source *party }

// count counts n more watches, if the bounds allow it, or -n less. The error is [ErrFull] or
// [ErrShare].
func (s *shares) count(p parties, n int) error {
	switch {
	case n <= 0:
	case p.account != nil && p.account.watches+n > s.ofAccount:
		return ErrShare
	case s.watches+n > s.most, p.source != nil && p.source.watches+n > s.ofSource:
		return ErrFull
	}
	s.watches += n
	if p.account != nil {
		p.account.watches += n
	}
	if p.source != nil {
		p.source.watches += n
	}
	return nil
}

// enter finds or makes the parties of a new dialog.
func (s *shares) enter(account string, source netip.Prefix) (p parties) {
	if account != "" {
		p.account = s.party(partyKey{account: strings.ToLower(account)}, account)
	}
	if source.IsValid() && !slices.ContainsFunc(s.shared, func(p netip.Prefix) bool { return p.Contains(source.Addr()) }) {
		p.source = s.party(partyKey{source: source}, "")
	}
	return p
}

func (s *shares) party(key partyKey, name string) *party {
	p := s.parties[key]
	if p == nil {
		p = &party{name: strings.Clone(name), key: key}
		p.key.account = strings.ToLower(p.name)
		s.parties[p.key] = p
	}
	p.dialogs++
	return p
}

// exit releases the parties of a dialog that has ended.
func (s *shares) exit(of parties) {
	for _, p := range []*party{of.account, of.source} {
		if p == nil {
			continue
		}
		if p.dialogs--; p.dialogs == 0 {
			delete(s.parties, p.key)
		}
	}
}
