package auth

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/conf"
)

// Mode says who must authenticate.
type Mode string

// The modes (§2.10).
const (
	// ModeRequired: everybody.
	ModeRequired Mode = "required"
	// ModeOptional: the clients whose User-Agent says that they can ([Config.Capable]), and
	// whoever brings credentials. Others are accepted without an identity.
	ModeOptional Mode = "optional"
	// ModeOff: nobody. Everything is accepted without an identity, also with
	// credentials, which are not looked at.
	ModeOff Mode = "off"
)

// Where says on which transports something is accepted.
type Where string

// The values of Where.
const (
	Nowhere  Where = ""         // the default
	OverTLS  Where = "tls"      // over TLS and WSS
	Anywhere Where = "insecure" // on every transport; [Config.RequireTLS] still wins
)

func (w Where) has(secure bool) bool { return w == Anywhere || w == OverTLS && secure }

// Config is what a [Guard] is made of. Its zero value, with a Verifier, is good to run.
// Durations and bounds below zero are refused, but for MaxFailures. A Guard keeps a copy.
type Config struct {
	// Mode is who must authenticate. Default ModeRequired.
	Mode Mode
	// Verifier checks the credentials of users. Required, unless Mode is off.
	Verifier Verifier
	// AMCC checks the credentials of mobile client controllers (§2.11): local
	// accounts, never a directory. nil refuses them all.
	AMCC Verifier
	// Digest has the secrets of the accounts that may authenticate by Digest. nil, or
	// no secret for any of Algorithms, where it says so (Algorithms() []Algorithm),
	// means none: Digest is neither offered nor looked at.
	Digest DigestAccounts
	// Algorithms are those that Digest is offered with, in this order; others are not taken.
	// Default: SHA-256 and MD5, as RFC 8760 §2.3 wants it. There are clients that give up where
	// one of them is unknown to them. Those for which there is no secret are left out.
	Algorithms []Algorithm
	// OldDigest accepts Digest without qop, as RFC 2069 had it and old telephones and Pidgin
	// still have it: MD5, without a count and without a nonce of the client. Each of our nonces
	// is good for one such request, so that nobody can send it again; but who can change
	// messages on the way can have any client answer so. It needs MD5 among Algorithms.
	OldDigest Where
	// Cipher of X-BSS-rauth. Default Tuz.
	Cipher Cipher
	// Realm of Digest challenges. Default: that of the Digest accounts, where they have exactly
	// one and say so (Realms() []string), else "blustar". Accounts of others have no Digest.
	Realm string
	// Capable tells clients that can authenticate, for ModeOptional. Default: DefaultCapable.
	Capable func(userAgent string) bool
	// RequireTLS accepts credentials, and asks for them, over TLS and WSS only. A client
	// elsewhere gets a 403 with a Warning that says so. Off, it is a warning in the log.
	RequireTLS bool
	// Basic accepts credentials in the clear, `Authorization: Basic realm="",
	// uri="…",username="domain\user:password"` (§4.3), which everybody on the way can read
	// where it is not TLS.
	Basic Where

	// ChallengeLifetime is how long a key or a nonce can be answered. Default 5 minutes.
	ChallengeLifetime time.Duration
	// SessionLifetime is how long a success lasts. Default 8 hours.
	SessionLifetime time.Duration
	// AnySource lets a session be used from other addresses and connections than those that
	// opened it, for a proxy with several of them. Failures are then not counted by source, and
	// who knows a client's From and Contact can use its session, or replace its key.
	AnySource bool

	// MaxFailures of an account, after which its next attempt is forbidden. Keep it below the
	// lock-out threshold of the directory. Default 4, at most 100; negative: no throttling.
	MaxFailures int
	// MaxSourceFailures of a source, likewise. Several users of one address may
	// mistype. Default 5 times MaxFailures, at most 1000.
	MaxSourceFailures int
	// FailureWindow is how long after the last failure they are forgotten. Keep it at or above
	// the directory's reset time ("reset account lockout counter after"). Default 15 minutes.
	FailureWindow time.Duration
	// SharedSources are networks from which many users come behind one address (an SBC, a
	// NAT). Failures are counted by account alone there.
	SharedSources []netip.Prefix
	// KnownLifetime is how long a user stays known to an account at a source after a
	// success. Default 7 days; see the package documentation on throttling.
	KnownLifetime time.Duration

	// VerifyTimeout bounds one call of a verifier. Default 10 seconds.
	VerifyTimeout time.Duration
	// MaxVerifications bounds the calls of verifiers under way, MaxPending the requests that
	// wait for one; whoever is beyond them is told to try again. Each holds for users, for
	// mobile client controllers, and for Digest. No account and no source has more than a
	// quarter of MaxPending, but for controllers. Keep it below the requests that the host
	// handles at a time, each of which it holds up. Both are 128 by default.
	MaxVerifications int
	MaxPending       int
	// RetryAfter of the Decision where nobody could tell. Default 5 seconds.
	RetryAfter time.Duration

	// MaxRecords bounds what the guard remembers: challenges, sessions, failures, known users,
	// and Digest nonces, each. No source has more than a sixteenth of the challenges and failures,
	// no account of the sessions. Default 100,000, which take some 100 MB when all are full.
	MaxRecords int
	// KeepSession, if it is not nil, is called for each session that begins or ends early, but
	// those of TLS and WSS, and for each user who is known at a source. A host that stores the records gives them back by
	// [Guard.RestoreSession] after a restart. Called as OnDecision is.
	KeepSession func(SessionRecord)

	// Logger gets sign-ins and refusals at info, throttling and failures of the verifier at warn,
	// the rest at debug level; of the refusals of one source for one reason the first of each
	// minute, and a count. nil is silent. Lines that a slow handler cannot take are dropped.
	Logger *slog.Logger
	// OnDecision, if it is not nil, is called for each decision, for metrics and audit: within
	// [Guard.Check], by several goroutines at once, and so must be quick.
	OnDecision func(Event)
}

// withDefaults fills in the defaults and checks the rest.
func (c Config) withDefaults() (Config, error) {
	check := conf.Of("auth: Config")
	conf.Or(&c.Mode, ModeRequired)
	conf.OneOf(check, "Mode", c.Mode, ModeRequired, ModeOptional, ModeOff)
	check.Require("Verifier", c.Verifier != nil || c.Mode == ModeOff)
	conf.OneOf(check, "Basic", c.Basic, Nowhere, OverTLS, Anywhere)
	conf.OneOf(check, "OldDigest", c.OldDigest, Nowhere, OverTLS, Anywhere)
	conf.Default(check, "ChallengeLifetime", &c.ChallengeLifetime, 5*time.Minute)
	conf.Default(check, "SessionLifetime", &c.SessionLifetime, 8*time.Hour)
	conf.Or(&c.MaxFailures, 4)
	conf.Or(&c.MaxSourceFailures, 5*c.MaxFailures)
	if c.MaxFailures > 0 {
		conf.Within(check, "MaxFailures", c.MaxFailures, 1, 100)
		conf.Within(check, "MaxSourceFailures", c.MaxSourceFailures, 1, 1000)
	}
	conf.Default(check, "FailureWindow", &c.FailureWindow, 15*time.Minute)
	conf.Default(check, "KnownLifetime", &c.KnownLifetime, 7*24*time.Hour)
	conf.Default(check, "VerifyTimeout", &c.VerifyTimeout, 10*time.Second)
	conf.Default(check, "MaxVerifications", &c.MaxVerifications, 128)
	conf.Default(check, "MaxPending", &c.MaxPending, 128)
	conf.Default(check, "RetryAfter", &c.RetryAfter, 5*time.Second)
	conf.Default(check, "MaxRecords", &c.MaxRecords, 100_000)
	c.Algorithms = slices.Clone(c.Algorithms)
	if len(c.Algorithms) == 0 {
		c.Algorithms = []Algorithm{SHA256, MD5}
	}
	for i, a := range c.Algorithms {
		conf.OneOf(check, "Algorithms", a, SHA256, MD5)
		if slices.Contains(c.Algorithms[:i], a) {
			check.Failf("Algorithms", "%s twice", a)
		}
	}
	if c.OldDigest != Nowhere && !slices.Contains(c.Algorithms, MD5) {
		check.Failf("OldDigest", "needs MD5 among Algorithms")
	}
	conf.Or(&c.Cipher, Cipher(Tuz{}))
	conf.Or(&c.Logger, slog.New(slog.DiscardHandler))
	if c.Capable == nil {
		c.Capable = DefaultCapable
	}
	conf.Or(&c.AMCC, Verifier(VerifierFunc(func(context.Context, Credentials) (Identity, error) {
		return Identity{}, ErrUnknownAccount
	})))
	if c.Realm == "" {
		c.Realm = "blustar"
		if r, ok := c.Digest.(interface{ Realms() []string }); ok && len(r.Realms()) == 1 {
			c.Realm = r.Realms()[0]
		}
	}
	if strings.ContainsAny(c.Realm, "\"\\\r\n") {
		check.Failf("Realm", "%q holds a quote, a backslash or a line end", c.Realm)
	}
	return c, check.Err()
}
