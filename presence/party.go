package presence

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// party is whose part of the bounds a request takes: that of the account, else of the
// source (IPv6: /64). The zero party is the server itself.
type party struct {
	account string
	source  netip.Prefix
}

func partyOf(req *sipx.Request, id auth.Identity) party {
	if who := whoIs(id); who != "" {
		return party{account: strings.ToLower(who)}
	}
	return party{source: subscription.SourceOf(req.Flow)}
}

// whoIs names an identity, in any case; "" where nobody was identified.
func whoIs(id auth.Identity) string { return cmp.Or(id.Account, id.ID) }

// mayActFor reports whether the authenticated account is the entry's, or that of
// an AMCC, which acts for its users (BSP-2.4-7). Who was let in without
// credentials is taken at their word.
func mayActFor(id auth.Identity, entry *directory.Entry) bool {
	return id.IsZero() || id.AMCC || auth.SameAccount(id, entry.Account, entry.ID)
}
