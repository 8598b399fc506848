package presence

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// party is an account, or else a source (IPv6: /64). Each has its share of the bounds. The
// zero party is the server itself.
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

// byID begins the name of an identity that has no account: a colon is in no account.
const byID = "id:"

// whoIs names an identity, in any case; "" where nobody was identified.
func whoIs(id auth.Identity) string {
	if id.Account == "" && id.ID != "" {
		return byID + id.ID
	}
	return id.Account
}

// identityNamed returns the identity that whoIs names so.
func identityNamed(who string) auth.Identity {
	if id, ok := strings.CutPrefix(who, byID); ok {
		return auth.Identity{ID: id}
	}
	return auth.Identity{Account: who}
}

// clientKey tells clients apart: a name, a space, and the Contact. The name is the
// authenticated account. It is the address in From for an AMCC, which has one Contact for
// many users (§2.11), and where nobody was authenticated.
type clientKey string

func (k clientKey) contact() string { return string(k[strings.LastIndexByte(string(k), ' ')+1:]) }

// mayActFor reports whether an identity may act for the user of an entry. The account of
// the entry may, and so may an AMCC (BSP-2.4-7). Where nobody was authenticated, anybody
// may.
func mayActFor(id auth.Identity, entry *directory.Entry) bool {
	return id.IsZero() || id.AMCC || auth.SameAccount(id, entry.Account, entry.ID)
}

// bareURI writes an address as documents show it: without port and parameters.
func bareURI(u sipx.URI) string {
	var buffer [128]byte
	return string(appendBare(buffer[:0], u))
}

func appendBare(dst []byte, u sipx.URI) []byte {
	u.Params, u.Headers, u.Port = "", "", 0
	return u.AppendTo(dst)
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

func watchKey(uri string) string {
	if a, err := directory.ParseAddress(uri); err == nil {
		return a.String()
	}
	return uri
}

// amccUser is the user part of the Contact of an AMCC (§2.11).
const amccUser = "fmc"

// contactKey writes a Contact for comparison. Parameters do not count: a client may add
// one.
func contactKey(u sipx.URI) string {
	var buffer [128]byte
	return string(appendContact(buffer[:0], u))
}

func appendContact(dst []byte, u sipx.URI) []byte {
	u.Params, u.Headers = "", ""
	return u.AppendTo(dst)
}
