package auth

import (
	"net/netip"
	"strings"
	"time"
)

// Request is what the guard needs to know of a SIP request. The host fills it
// in; the guard keeps no reference to it after [Guard.Check] returned.
type Request struct {
	// Client tells clients apart and is opaque to the guard: From address and
	// Contact (§2.10, §2.11). Each has a challenge and a session of its own.
	Client string
	// From is the address of record in From. The guard knows a user by it and the
	// source again who comes back with another Contact, since a client over TCP has
	// a new port with each connection.
	From string
	// Source is the address that the request came from. The zero value means
	// unknown; then failures are not counted by source.
	Source netip.Addr
	// Secure says that the request came over TLS or WSS.
	Secure bool
	// Connection tells the connections of the host apart, of TCP, TLS and
	// WebSocket. 0 is for a datagram, whose source may be forged. A session that was
	// opened over TLS or WSS is good over that connection alone.
	Connection uint64
	// UserAgent is the header of that name; it decides in [ModeOptional].
	UserAgent string
	// Method, URI and Body enter the Digest computation (RFC 7616 §3.4).
	Method string
	URI    string
	Body   []byte
	// Rauth is the value of X-BSS-rauth, "" where there is none. Line folds
	// and spaces inside are tolerated.
	Rauth string
	// Authorization are the values of the headers of that name.
	Authorization []string
	// AMCC says that the client is an Aastra Mobile Client Controller (Contact
	// user "fmc"): its account is one of the server's own (§2.11).
	AMCC bool
	// Digest says that nothing marks the client as one of BluStar, so that it may
	// authenticate by Digest (RFC 3261 §22). It is offered both, since there are
	// networks that strip User-Agent, and a Rauth is honored all the same.
	Digest bool
}

func (r *Request) hasRauth() bool { return strings.TrimSpace(r.Rauth) != "" }

// Identity is who a client turned out to be. The zero Identity is that of a
// client which was accepted without being asked.
type Identity struct {
	// Account is normalized for comparison: "domain\user", "user@domain" or
	// "user", in lower case.
	Account string
	// ID is the identifier of the account's directory entry (AD: objectGUID)
	// and DN its distinguished name, where the verifier knows them.
	ID string
	DN string
	// AMCC says that the account is that of a mobile client controller, which
	// acts for its users (§2.4).
	AMCC bool
	// Stamp changes with the password, and nothing of it can be learned from it: the salt of
	// a hash, or when it was set. It is kept with a session, for [Guard.EndSessions], and is
	// "" in a Decision and where the verifier cannot tell.
	Stamp string
}

// IsZero reports whether nobody was identified.
func (i Identity) IsZero() bool { return i == Identity{} }

// SameAccount reports whether an authenticated identity is the account of a directory entry
// (§2.4): the identifiers are equal, or the accounts are, whatever their case. Where the
// entry's account names no domain, only the user part is compared. Empty values equal nothing.
func SameAccount(identity Identity, account, entryID string) bool {
	if identity.ID != "" && strings.EqualFold(identity.ID, entryID) {
		return true
	}
	want, err := ParseName(account)
	have, other := ParseName(identity.Account)
	if err != nil || other != nil {
		return false
	}
	if want.Domain == "" {
		return have.key().User == want.key().User
	}
	return have.key() == want.key()
}

// Verdict is what to do with a request. Its zero value is none of them, so that
// a forgotten Decision lets nobody in.
type Verdict int

// The verdicts.
const (
	// Accept: go on, for Decision.Identity.
	Accept Verdict = iota + 1
	// Challenge: answer 401 with Decision.Header.
	Challenge
	// Forbid: answer 403. The credentials were not looked at, or can never
	// do; asking the user again is of no use now.
	Forbid
	// Unavailable: answer 503 with Retry-After: nobody could tell.
	Unavailable
)

// verdicts are the name and the SIP status of each; the first is what none of them has.
var verdicts = [...]struct {
	name   string
	status int
}{{"none", 403}, {"accept", 0}, {"challenge", 401}, {"forbid", 403}, {"unavailable", 503}}

func (v Verdict) known() Verdict {
	if v < 0 || int(v) >= len(verdicts) {
		return 0
	}
	return v
}

// String names the verdict in lower case.
func (v Verdict) String() string { return verdicts[v.known()].name }

// StatusCode returns the SIP status of the answer: 401, 403, 503, and 0 for Accept, whose
// answer is the host's.
func (v Verdict) StatusCode() int { return verdicts[v.known()].status }

// HeaderField is one header field of an answer.
type HeaderField struct{ Name, Value string }

// Decision is the answer of the guard.
type Decision struct {
	Verdict Verdict
	// Identity is set with Accept; it is zero where the mode let the client in unauthenticated.
	Identity Identity
	// Header is to be put into the answer: X-BSS-auth or WWW-Authenticate in a
	// 401, a Warning that the client may show in a 403.
	Header []HeaderField
	// Phrase is a reason phrase for a 403, which clients show; "" leaves it to the host.
	Phrase string
	// RetryAfter is set with Unavailable, and with Forbid after too many failures.
	RetryAfter time.Duration
	// Reason says why, for logs: never for the peer, never with a secret in
	// it, nil with Accept. [Reason] makes a metrics label of it.
	Reason error
}
