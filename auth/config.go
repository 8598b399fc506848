package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Mode says who must authenticate.
type Mode string

// The modes (§2.10).
const (
	// ModeRequired: everybody.
	ModeRequired Mode = "required"
	// ModeOptional: the clients whose User-Agent says that they can
	// ([Config.Capable]), and whoever brings credentials. Others are accepted
	// without an identity.
	ModeOptional Mode = "optional"
	// ModeOff: nobody. Everything is accepted without an identity, also with
	// credentials, which are not looked at.
	ModeOff Mode = "off"
)

// Basic says where credentials in the clear, `Authorization: Basic realm="",
// uri="…",username="domain\user:password"`, are accepted (§4.3).
type Basic string

// The values of [Config.Basic].
const (
	// BasicOff: nowhere. The header is ignored. This is the default.
	BasicOff Basic = ""
	// BasicTLS: over TLS and WSS.
	BasicTLS Basic = "tls"
	// BasicInsecure: on every transport, where everybody on the way can read
	// them. [Config.RequireTLS] still wins.
	BasicInsecure Basic = "insecure"
)

// OldDigest says where Digest without qop is accepted, as RFC 2069 had it and old
// telephones and Pidgin still have it: MD5, without a count and without a nonce of the
// client. Each of our nonces is good for one such request, so that nobody can send it
// again; but who can change messages on the way can have any client answer so.
type OldDigest string

// The values of [Config.OldDigest].
const (
	// OldDigestOff: nowhere. This is the default.
	OldDigestOff OldDigest = ""
	// OldDigestTLS: over TLS and WSS.
	OldDigestTLS OldDigest = "tls"
	// OldDigestInsecure: on every transport. [Config.RequireTLS] still wins.
	OldDigestInsecure OldDigest = "insecure"
)

// Config is what a [Guard] is made of. Its zero value, with a Verifier, is good
// to run. Durations and bounds below zero are refused, but for MaxFailures. A
// Guard keeps a copy.
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
	// Algorithms are those that Digest is offered with, in this order; others are not
	// taken. Default: SHA-256 and MD5, as RFC 8760 §2.3 wants it. There are clients that
	// give up where one of them is unknown to them. Those for which there is no
	// secret are left out.
	Algorithms []Algorithm
	// OldDigest is off by default. It needs MD5 among Algorithms.
	OldDigest OldDigest
	// Cipher of X-BSS-rauth. Default Tuz.
	Cipher Cipher
	// Realm of Digest challenges. Default: the realm of the Digest accounts,
	// where they have exactly one and say so (Realms() []string), else
	// "blustar". Accounts of other realms cannot authenticate by Digest.
	Realm string
	// Capable says by the User-Agent whether a client can authenticate, for
	// ModeOptional. Default: DefaultCapable.
	Capable func(userAgent string) bool
	// RequireTLS accepts credentials, and asks for them, over TLS and WSS
	// only; a client elsewhere gets a 403 with a Warning that says so, before
	// it has sent anything. Where it is off, that is logged as a warning once.
	RequireTLS bool
	// Basic is off by default.
	Basic Basic

	// ChallengeLifetime is how long a key or a nonce can be answered.
	// Default 5 minutes.
	ChallengeLifetime time.Duration
	// SessionLifetime is how long a success lasts. Default 8 hours.
	SessionLifetime time.Duration
	// AnySource lets a session be used from other addresses and connections than
	// those that opened it, for a proxy with several of them. Failures are then not
	// counted by source. Off by default, so that knowing a client's From and Contact
	// is not enough to use its session, or to replace its key.
	AnySource bool

	// MaxFailures of an account, after which its next attempt is forbidden. Keep it
	// below the lock-out threshold of the directory. Default 4, at most 100;
	// negative means no throttling.
	MaxFailures int
	// MaxSourceFailures of a source, likewise. Several users of one address may
	// mistype. Default 5 times MaxFailures, at most 1000.
	MaxSourceFailures int
	// FailureWindow is how long after the last failure they are forgotten.
	// Keep it at or above the directory's reset time ("reset account lockout
	// counter after"). Default 15 minutes.
	FailureWindow time.Duration
	// SharedSources are networks from which many users come behind one address
	// (an SBC, a NAT). Failures are not counted by source there, only by
	// account. An IPv6 source is its /64 otherwise.
	SharedSources []netip.Prefix
	// KnownLifetime is how long a user stays known to an account at a source after a
	// success. Default 7 days; see the package documentation on throttling.
	KnownLifetime time.Duration

	// VerifyTimeout bounds one call of a verifier. Default 10 seconds.
	VerifyTimeout time.Duration
	// MaxVerifications bounds the calls of verifiers that are under way at the same
	// time, MaxPending the requests that wait for one. Whoever is beyond them is told
	// to try again. Each holds for users, for mobile client controllers, and for
	// Digest. No account and no source has more than a quarter of MaxPending, but
	// for controllers. Keep MaxPending below the number of requests that the host
	// handles at a time, since each holds up one. Both are 128 by default.
	MaxVerifications int
	MaxPending       int
	// RetryAfter of the Decision where nobody could tell. Default 5 seconds.
	RetryAfter time.Duration

	// MaxRecords bounds what the guard remembers: challenges, sessions, failures,
	// known users, and Digest nonces that were used, each. No source has more than a
	// sixteenth of the challenges and failures, and no account of the sessions.
	// Default 100,000, which take some 100 MB when all are full.
	MaxRecords int
	// KeepSession, if it is not nil, is called for each session that begins or ends
	// early, but for those of TLS and WSS, which end with their connection. A host that stores the records
	// gives them back by [Guard.RestoreSession] after a restart. It is called by
	// several goroutines at once, within [Guard.Check], and so must not block.
	KeepSession func(SessionRecord)

	// Logger gets sign-ins and refusals at info, throttling and failures of the
	// verifier at warn, the rest at debug level. Of the refusals of one source for
	// one reason, it gets the first of each minute and then how many there were. nil
	// is silent. A slow handler holds up nothing: lines that it cannot take in time are
	// dropped, and counted in Stats.
	Logger *slog.Logger
	// OnDecision, if it is not nil, is called for each decision, for metrics and
	// audit: within [Guard.Check], by several goroutines at once, and so must be
	// quick.
	OnDecision func(Event)
}

// withDefaults fills in the defaults and checks the rest.
func (c Config) withDefaults() (Config, error) {
	c.Mode = cmp.Or(c.Mode, ModeRequired)
	c.ChallengeLifetime = cmp.Or(c.ChallengeLifetime, 5*time.Minute)
	c.SessionLifetime = cmp.Or(c.SessionLifetime, 8*time.Hour)
	c.MaxFailures = cmp.Or(c.MaxFailures, 4)
	c.MaxSourceFailures = cmp.Or(c.MaxSourceFailures, 5*c.MaxFailures)
	c.FailureWindow = cmp.Or(c.FailureWindow, 15*time.Minute)
	c.KnownLifetime = cmp.Or(c.KnownLifetime, 7*24*time.Hour)
	c.VerifyTimeout = cmp.Or(c.VerifyTimeout, 10*time.Second)
	c.MaxVerifications = cmp.Or(c.MaxVerifications, 128)
	c.MaxPending = cmp.Or(c.MaxPending, 128)
	c.RetryAfter = cmp.Or(c.RetryAfter, 5*time.Second)
	c.MaxRecords = cmp.Or(c.MaxRecords, 100_000)
	if len(c.Algorithms) == 0 {
		c.Algorithms = []Algorithm{SHA256, MD5}
	}
	c.Algorithms = slices.Clone(c.Algorithms)
	if c.Cipher == nil {
		c.Cipher = Tuz{}
	}
	if c.Capable == nil {
		c.Capable = DefaultCapable
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.AMCC == nil {
		c.AMCC = VerifierFunc(func(context.Context, Credentials) (Identity, error) {
			return Identity{}, ErrUnknownAccount
		})
	}
	if c.Realm == "" {
		c.Realm = "blustar"
		if r, ok := c.Digest.(interface{ Realms() []string }); ok && len(r.Realms()) == 1 {
			c.Realm = r.Realms()[0]
		}
	}
	return c, c.check()
}

func (c Config) check() error {
	var errs []error
	switch c.Mode {
	case ModeRequired, ModeOptional:
		if c.Verifier == nil {
			errs = append(errs, fmt.Errorf("auth: mode %s needs a Verifier", c.Mode))
		}
	case ModeOff:
	default:
		errs = append(errs, fmt.Errorf("auth: unknown mode %q", c.Mode))
	}
	if c.Basic != BasicOff && c.Basic != BasicTLS && c.Basic != BasicInsecure {
		errs = append(errs, fmt.Errorf("auth: unknown value %q of Basic", c.Basic))
	}
	if c.OldDigest != OldDigestOff && c.OldDigest != OldDigestTLS && c.OldDigest != OldDigestInsecure {
		errs = append(errs, fmt.Errorf("auth: unknown value %q of OldDigest", c.OldDigest))
	}
	if c.OldDigest != OldDigestOff && !slices.Contains(c.Algorithms, MD5) {
		errs = append(errs, errors.New("auth: OldDigest needs MD5 among Algorithms"))
	}
	for i, a := range c.Algorithms {
		if a != SHA256 && a != MD5 {
			errs = append(errs, fmt.Errorf("auth: unknown algorithm %q in Algorithms", a))
		} else if slices.Contains(c.Algorithms[:i], a) {
			errs = append(errs, fmt.Errorf("auth: algorithm %s is twice in Algorithms", a))
		}
	}
	for name, d := range map[string]time.Duration{
		"ChallengeLifetime": c.ChallengeLifetime, "SessionLifetime": c.SessionLifetime, "FailureWindow": c.FailureWindow,
		"KnownLifetime": c.KnownLifetime, "VerifyTimeout": c.VerifyTimeout, "RetryAfter": c.RetryAfter,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("auth: %s is negative", name))
		}
	}
	if c.MaxVerifications < 0 || c.MaxPending < 0 || c.MaxRecords < 0 {
		errs = append(errs, errors.New("auth: MaxVerifications, MaxPending or MaxRecords is negative"))
	}
	if c.MaxFailures > 100 || c.MaxSourceFailures > 1000 {
		errs = append(errs, errors.New("auth: MaxFailures is above 100 or MaxSourceFailures above 1000"))
	}
	if c.MaxFailures > 0 && c.MaxSourceFailures < 0 {
		errs = append(errs, errors.New("auth: MaxSourceFailures is negative"))
	}
	if strings.ContainsAny(c.Realm, "\"\\\r\n") {
		errs = append(errs, errors.New("auth: Realm holds a quote, a backslash or a line end"))
	}
	return errors.Join(errs...)
}
