package auth

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// Via says what a decision rests on.
type Via string

// The values of [Event.Via].
const (
	ViaNothing     Via = ""            // no credentials and no session
	ViaSession     Via = "session"     // a session without new credentials
	ViaProof       Via = "proof"       // the credentials that the session was opened with
	ViaCredentials Via = "credentials" // credentials that the verifier was asked about
	ViaDigest      Via = "digest"      // a Digest response
)

// Event is a decision, as [Config.OnDecision] is told of it. It never holds a secret.
type Event struct {
	Verdict Verdict
	// Client and Method are those of the request.
	Client, Method string
	// Account is the account that signed in or tried to, normalized; "" where none is known.
	Account string
	AMCC    bool
	Source  netip.Addr
	Via     Via
	// Reason is that of the Decision; [Reason] makes a label of it.
	Reason error
}

// Stats is a snapshot of a guard: what it holds now, and how often what
// happened since it was made.
type Stats struct {
	// Held now.
	Challenges, Sessions, Failures, Known, Nonces int
	// Calls of verifiers under way, and requests that wait for a check.
	Verifying, Pending int
	// The most that there may be: of those two, and of each that is held.
	MaxVerifying, MaxPending, MaxRecords int

	// Decisions so far: accepted; 401 without a verifier having refused anything,
	// since there were no credentials, or a key or nonce that has gone; 401 or 403
	// because of the credentials; 403 because of earlier failures; and 503.
	Accepted, Challenged, Refused, Throttled, Unavailable uint64
	// Verifications is how often a verifier was asked, VerifyTime the sum of
	// the time that took.
	Verifications uint64
	VerifyTime    time.Duration
	LogDropped    uint64 // lines that the log could not take in time
}

// counters are the atomic part of Stats.
type counters struct {
	accepted, challenged, refused, throttled, unavailable atomic.Uint64
	verifications                                         atomic.Uint64
	verifyTime, verifying                                 atomic.Int64
}

// Stats returns a snapshot. It is cheap and safe for concurrent use.
func (g *Guard) Stats() Stats {
	return Stats{
		Challenges:    g.challenges.count(),
		Sessions:      g.sessions.count(),
		Failures:      g.throttle.lockable.count() + g.throttle.failures.count(),
		Known:         g.throttle.known.count(),
		Nonces:        g.nonces.count(),
		Verifying:     int(g.counters.verifying.Load()),
		MaxVerifying:  cap(g.users.slots) + cap(g.controllers.slots),
		MaxPending:    3 * g.cfg.MaxPending, // of users, controllers and Digest
		MaxRecords:    g.cfg.MaxRecords,
		Pending:       g.users.places.count() + g.controllers.places.count() + g.digests.count(),
		Accepted:      g.counters.accepted.Load(),
		Challenged:    g.counters.challenged.Load(),
		Refused:       g.counters.refused.Load(),
		Throttled:     g.counters.throttled.Load(),
		Unavailable:   g.counters.unavailable.Load(),
		Verifications: g.counters.verifications.Load(),
		VerifyTime:    time.Duration(g.counters.verifyTime.Load()),
		LogDropped:    uint64(g.lines.Dropped()),
	}
}
