package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/auth/internal/authorization"
	"github.com/openblustar/blustar/internal/logqueue"
)

// The header fields of §2.10.
const (
	HeaderAuth  = "X-BSS-auth"  // the challenge in a 401
	HeaderRauth = "X-BSS-rauth" // the encrypted credentials in a request
)

// Guard decides whether requests come from whom they should. Make one with [New]. It is safe
// for concurrent use, and has goroutines only while a [Verifier] is being asked.
type Guard struct {
	cfg        Config
	macs       sync.Pool // of *macer, keyed with a secret of this guard alone
	began      time.Time // with a monotonic clock reading: no change of the wall clock counts
	challenges *table[keyring]
	derived    atomic.Uint64 // challenges that were not kept
	sessions   *table[session]
	throttle   *throttle
	nodes      Nodes   // nil where there is one
	asks       *places // of other nodes
	nonces     *table[nonceUses]
	counters   counters
	lines      *logqueue.Queue // before Config.Logger
	refusals   logqueue.Repeats

	users, controllers *checks
	digests            *places
}

// New makes a guard of a configuration. The error names every field that is wrong.
func New(cfg Config) (*Guard, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	lines := logqueue.New(cfg.Logger)
	cfg.Logger = lines.Logger()
	g := &Guard{
		lines:      lines,
		cfg:        cfg,
		began:      time.Now(),
		challenges: newTable[keyring](cfg.MaxRecords),
		sessions:   newTable[session](cfg.MaxRecords),
		throttle: &throttle{
			max: [2]int{cfg.MaxFailures, cfg.MaxSourceFailures}, window: cfg.FailureWindow, shared: cfg.SharedSources,
			known: newTable[time.Time](cfg.MaxRecords), lifetime: cfg.KnownLifetime, keep: cfg.KeepSession,
			lockable: newTable[failures](cfg.MaxRecords), failures: newTable[failures](cfg.MaxRecords),
			underway: make(map[recordKey]*gate),
		},
		nonces:      newTable[nonceUses](cfg.MaxRecords),
		users:       newChecks("user", cfg.Verifier, cfg, cfg.MaxPending/4),
		controllers: newChecks("amcc", cfg.AMCC, cfg, cfg.MaxPending),
		asks:        newPlaces(maxAsks, maxAsks/4),
		digests:     newPlaces(cfg.MaxPending, cfg.MaxPending/4),
		refusals:    logqueue.Repeats{Logger: cfg.Logger, Message: "authentication refused again"},
	}
	g.challenges.keeps, g.throttle.lockable.keeps = true, true
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails, see crypto/rand
	g.macs.New = func() any { return &macer{Hash: hmac.New(sha256.New, secret[:]), text: make([]byte, 0, 2*maxRauth)} }
	if d, ok := cfg.Digest.(interface{ Algorithms() []Algorithm }); ok {
		have := d.Algorithms()
		g.cfg.Algorithms = slices.DeleteFunc(g.cfg.Algorithms, func(a Algorithm) bool { return !slices.Contains(have, a) })
	}
	if len(g.cfg.Algorithms) == 0 {
		g.cfg.Digest = nil
	}
	if cfg.Mode != ModeOff && !cfg.RequireTLS {
		cfg.Logger.Warn("credentials are accepted without TLS; X-BSS-auth and Digest do not protect them " +
			"from who can read the network (RequireTLS is off)")
	}
	return g, nil
}

// outcome is a decision in the making.
type outcome struct {
	verdict  Verdict
	identity Identity
	reason   error
	via      Via
	account  string // as tried, normalized
}

// Check decides one request. It blocks while a verifier is asked, no longer
// than [Config.VerifyTimeout] or ctx; everything else takes no time. Requests of
// clients with a session do not wait for those that are being verified.
func (g *Guard) Check(ctx context.Context, r Request) Decision {
	if g.cfg.Mode == ModeOff {
		return g.decision(ctx, &r, outcome{verdict: Accept})
	}
	return g.decision(ctx, &r, g.decide(ctx, &r))
}

func (g *Guard) decide(ctx context.Context, r *Request) outcome {
	hasRauth := r.hasRauth()
	basic, hasBasic := "", false
	if !hasRauth && g.cfg.Basic.has(r.Secure) {
		basic, hasBasic = authorization.Find(r.Authorization, "Basic")
	}
	hasDigest := false
	if !hasRauth && !hasBasic && r.Digest && g.cfg.Digest != nil {
		_, hasDigest = authorization.Find(r.Authorization, "Digest")
	}
	secure := r.Secure || !g.cfg.RequireTLS

	if !hasRauth && !hasBasic && !hasDigest {
		if secure {
			if s, ok := g.session(g.sessionKey(r), r); ok {
				return outcome{verdict: Accept, identity: s.identity, via: ViaSession}
			}
		}
		if g.cfg.Mode == ModeOptional && !g.cfg.Capable(r.UserAgent) {
			return outcome{verdict: Accept}
		}
	}
	switch {
	case !secure:
		// Before a challenge, not after it: its answer would be readable.
		return outcome{verdict: Forbid, reason: ErrTLSRequired}
	case hasRauth:
		return g.checkRauth(ctx, r)
	case hasBasic:
		return g.checkBasic(ctx, r, basic)
	case hasDigest:
		return g.checkDigest(ctx, r)
	}
	return outcome{verdict: Challenge, reason: ErrNoCredentials}
}

// checkRauth takes X-BSS-rauth: the session's own first, then by the current key
// (BSP-2.10-6, BSP-2.10-8).
func (g *Guard) checkRauth(ctx context.Context, r *Request) outcome {
	sealed, err := decodeRauth(r.Rauth)
	if err != nil {
		return outcome{verdict: Challenge, reason: err}
	}
	client := g.sessionKey(r)
	proof := g.mac("rauth", client[:], sealed)
	if id, ok := g.checkProof(client, proof, r); ok {
		return outcome{verdict: Accept, identity: id, via: ViaProof}
	}
	c, key, err := g.decryptWith(g.keysOf(g.clientKey("challenge", r)), sealed)
	if g.nodes != nil && errors.Is(err, ErrWrongKey) {
		c, key, err = g.decryptWith(g.keysElsewhere(ctx, r), sealed)
	}
	if err != nil {
		return outcome{verdict: Challenge, reason: err}
	}
	defer c.Wipe()
	if g.nodes == nil {
		key = ""
	}
	return g.checkCredentials(ctx, r, client, c, session{proof: proof, key: key})
}

// checkBasic takes credentials in the clear (BSP-4.3-7).
func (g *Guard) checkBasic(ctx context.Context, r *Request, params string) outcome {
	client := g.sessionKey(r)
	proof := g.mac("basic", client[:], []byte(params))
	if id, ok := g.checkProof(client, proof, r); ok {
		return outcome{verdict: Accept, identity: id, via: ViaProof}
	}
	c, err := parseBasic(params)
	if err != nil {
		return outcome{verdict: Challenge, reason: err}
	}
	defer c.Wipe()
	if r.Connection == 0 && !r.Secure {
		unproven := *r // anybody can write any source into a datagram, and nothing was sent there
		unproven.Source = netip.Addr{}
		r = &unproven
	}
	return g.checkCredentials(ctx, r, client, c, session{proof: proof})
}

// checkProof accepts what the client's session was opened with, and binds the session
// to the connection that it came over.
func (g *Guard) checkProof(client recordKey, proof [sha256.Size]byte, r *Request) (Identity, bool) {
	s, ok := g.sessions.get(client)
	if !ok || !hmac.Equal(s.proof[:], proof[:]) {
		return Identity{}, false
	}
	if s.connection != r.boundTo() {
		g.sessions.change(client, func(s *session) { s.connection = r.boundTo() })
	}
	return s.identity, true
}

// checkCredentials asks the verifier, and opens the session where it agrees.
func (g *Guard) checkCredentials(ctx context.Context, r *Request, client recordKey, c Credentials, s session) outcome {
	c.AMCC = r.AMCC
	o := outcome{account: c.Name.Account(), via: ViaCredentials}
	o.identity, o.reason = g.verify(ctx, r, c)
	switch {
	case o.reason == nil:
		o.verdict = Accept
		s.identity, s.connection = o.identity, r.boundTo()
		g.openSession(client, s)
	case errors.Is(o.reason, ErrBadCredentials):
		o.verdict = Challenge
	case errors.Is(o.reason, ErrThrottled):
		o.verdict = Forbid
	default:
		o.verdict = Unavailable
	}
	return o
}

func unavailable(err error) outcome {
	if !errors.Is(err, ErrUnavailable) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return outcome{verdict: Unavailable, reason: err}
}

// decision turns an outcome into the answer, and tells everybody.
func (g *Guard) decision(ctx context.Context, r *Request, o outcome) Decision {
	g.report(ctx, r, o)
	d := Decision{Verdict: o.verdict, Identity: o.identity, Reason: o.reason}
	d.Identity.Stamp = ""
	switch o.verdict {
	case Challenge:
		d.Header = g.challenge(r, o)
	case Unavailable:
		d.RetryAfter = g.cfg.RetryAfter
	case Forbid:
		if d.Phrase = phrase(o.reason); d.Phrase != "" { // RFC 3261 §20.43
			d.Header = []HeaderField{{"Warning", `399 blustar "` + d.Phrase + `"`}}
		}
		if held, ok := errors.AsType[*heldError](o.reason); ok {
			d.RetryAfter = held.wait
		}
	}
	return d
}

// phrase tells the user behind a 403 what could help.
func phrase(reason error) string {
	switch {
	case errors.Is(reason, ErrTLSRequired):
		return "Credentials are accepted over TLS only"
	case errors.Is(reason, ErrThrottled):
		return "Too many failed attempts, try again later"
	}
	return ""
}

// sessionKey is the key of a client's session. That of a datagram is not good for a connection,
// nor the other way round: who forges a datagram could try all ports that a Contact may have.
func (g *Guard) sessionKey(r *Request) recordKey {
	switch {
	case r.Secure:
		return g.clientKey("secure session", r)
	case r.Connection != 0:
		return g.clientKey("session of a connection", r)
	}
	return g.clientKey("session", r)
}

func (g *Guard) clientKey(purpose string, r *Request) recordKey {
	source, who := "", "user"
	if !g.cfg.AnySource {
		source = text(r.Source)
	}
	if r.AMCC {
		who = "controller"
	}
	return keyOf(purpose, source, who, r.Client)
}

// mac is a keyed digest of several texts, for one purpose.
func (g *Guard) mac(purpose string, parts ...[]byte) (out [sha256.Size]byte) {
	m := g.macs.Get().(*macer)
	defer g.macs.Put(m)
	m.Reset()
	m.text = append(m.text[:0], purpose...)
	for _, p := range parts {
		m.text = append(binary.BigEndian.AppendUint64(m.text, uint64(len(p))), p...)
	}
	m.Write(m.text)
	clear(m.text) // one of them may be a password
	m.text = m.Sum(m.text[:0])
	copy(out[:], m.text)
	return out
}

// macer makes digests, with memory that is used again.
type macer struct {
	hash.Hash
	text []byte
}
