package auth

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
)

// The header fields of §2.10.
const (
	// HeaderAuth carries the challenge in a 401.
	HeaderAuth = "X-BSS-auth"
	// HeaderRauth carries the encrypted credentials in a request.
	HeaderRauth = "X-BSS-rauth"
)

// Guard decides whether requests come from whom they should. Make one with
// [New]. It is safe for concurrent use, and has goroutines only while a
// [Verifier] is being asked.
type Guard struct {
	cfg        Config
	algorithms []Algorithm // of Digest, in the order offered
	secret     []byte
	throttle   *throttle
	nonces     *nonceTable
	counters   counters
	// Verifications of users and of mobile client controllers.
	users, controllers flights
}

// New makes a guard of a configuration. The error names every field that is
// wrong.
func New(cfg Config) (*Guard, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	secret := append([]byte(nil), cfg.Secret.Reveal()...)
	if len(secret) == 0 {
		secret = make([]byte, 32)
		_, _ = rand.Read(secret) // never fails, see crypto/rand
	}
	cfg.Secret = Secret{}
	g := &Guard{
		cfg:        cfg,
		algorithms: []Algorithm{SHA256, MD5},
		secret:     secret,
		throttle:   newThrottle(cfg),
		nonces:     newNonceTable(cfg.MaxNonces),
	}
	if d, ok := cfg.Digest.(interface{ Algorithms() []Algorithm }); ok {
		if g.algorithms = d.Algorithms(); len(g.algorithms) == 0 {
			g.cfg.Digest = nil
		}
	}
	g.users.slots = make(chan struct{}, cfg.MaxVerifications)
	g.controllers.slots = make(chan struct{}, cfg.MaxVerifications)
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
	if !hasRauth && (g.cfg.Basic == BasicInsecure || g.cfg.Basic == BasicTLS && r.Secure) {
		basic, hasBasic = findScheme(r.Authorization, "Basic")
	}
	hasDigest := false
	if !hasRauth && !hasBasic && r.Digest && g.cfg.Digest != nil {
		_, hasDigest = findScheme(r.Authorization, "Digest")
	}
	secure := r.Secure || !g.cfg.RequireTLS

	if !hasRauth && !hasBasic && !hasDigest {
		if secure {
			if s, err := g.session(ctx, g.clientKey(r)); err == nil {
				return outcome{verdict: Accept, identity: s.identity, via: ViaSession}
			} else if !errors.Is(err, ErrNotFound) {
				return unavailable(err)
			}
		}
		if g.cfg.Mode == ModeOptional && !g.capable(r.UserAgent) {
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

func (g *Guard) capable(userAgent string) bool {
	for _, p := range g.cfg.Capable {
		if p.Matches(userAgent) {
			return true
		}
	}
	return false
}

// checkRauth takes X-BSS-rauth: the session's own first, then by the current key
// (BSP-2.10-6, BSP-2.10-8).
func (g *Guard) checkRauth(ctx context.Context, r *Request) outcome {
	sealed, err := decodeRauth(r.Rauth)
	if err != nil {
		return outcome{verdict: Challenge, reason: err}
	}
	client := g.clientKey(r)
	proof := g.mac("rauth", []byte(client), sealed)
	if o, done := g.checkProof(ctx, client, proof); done {
		return o
	}
	challenge, err := g.cfg.Store.Get(ctx, KindChallenge, client)
	if errors.Is(err, ErrNotFound) {
		return outcome{verdict: Challenge, reason: ErrWrongKey}
	} else if err != nil {
		return unavailable(err)
	}
	c, err := g.decryptWith(keyring(challenge.Value), sealed)
	if err != nil {
		return outcome{verdict: Challenge, reason: err}
	}
	defer c.Wipe()
	return g.checkCredentials(ctx, r, client, c, proof)
}

// checkBasic takes credentials in the clear (BSP-4.3-7).
func (g *Guard) checkBasic(ctx context.Context, r *Request, params string) outcome {
	client := g.clientKey(r)
	proof := g.mac("basic", []byte(client), []byte(params))
	if o, done := g.checkProof(ctx, client, proof); done {
		return o
	}
	c, err := parseBasic(params)
	if err != nil {
		return outcome{verdict: Challenge, reason: err}
	}
	defer c.Wipe()
	return g.checkCredentials(ctx, r, client, c, proof)
}

// checkProof accepts what the client's session was opened with. done is false
// where there is no session or it was opened with something else.
func (g *Guard) checkProof(ctx context.Context, client string, proof [sha256.Size]byte) (o outcome, done bool) {
	s, err := g.session(ctx, client)
	switch {
	case err == nil:
		if hmac.Equal([]byte(s.proof), proof[:]) {
			return outcome{verdict: Accept, identity: s.identity, via: ViaProof}, true
		}
		return outcome{}, false
	case errors.Is(err, ErrNotFound):
		return outcome{}, false
	}
	return unavailable(err), true
}

// checkCredentials asks the verifier, and opens a session where it agrees.
func (g *Guard) checkCredentials(ctx context.Context, r *Request, client string, c Credentials, proof [sha256.Size]byte) outcome {
	c.AMCC = r.AMCC
	o := outcome{account: c.Name.Account(), via: ViaCredentials}
	identity, err := g.verify(ctx, r, c)
	switch {
	case err == nil:
	case errors.Is(err, ErrBadCredentials):
		o.verdict, o.reason = Challenge, err
		return o
	case errors.Is(err, ErrThrottled):
		o.verdict, o.reason = Forbid, err
		return o
	default:
		o.verdict, o.reason = Unavailable, err
		return o
	}
	if err := g.openSession(ctx, client, identity, proof); err != nil {
		return unavailable(err)
	}
	o.verdict, o.identity = Accept, identity
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
	if o.verdict == Challenge {
		if header, err := g.challenge(ctx, r, o); err == nil {
			g.report(ctx, r, o)
			return Decision{Verdict: Challenge, Header: header, Reason: o.reason}
		} else {
			o = unavailable(err)
		}
	}
	g.report(ctx, r, o)
	d := Decision{Verdict: o.verdict, Identity: o.identity, Reason: o.reason}
	switch o.verdict {
	case Unavailable:
		d.RetryAfter = g.cfg.RetryAfter
	case Forbid:
		d.Header = warning(o.reason)
	}
	return d
}

// warning tells the user behind a 403 what could help (RFC 3261 §20.43).
func warning(reason error) []HeaderField {
	text := ""
	switch {
	case errors.Is(reason, ErrTLSRequired):
		text = "Credentials are accepted over TLS only"
	case errors.Is(reason, ErrThrottled):
		text = "Too many failed attempts, try again later"
	case errors.Is(reason, ErrNoDigest):
		text = "This account cannot authenticate by Digest"
	default:
		return nil
	}
	return []HeaderField{{"Warning", `399 blustar "` + text + `"`}}
}

func (g *Guard) report(ctx context.Context, r *Request, o outcome) {
	hook, level, count := g.cfg.Hooks.Accepted, slog.LevelDebug, &g.counters.accepted
	switch {
	case o.verdict == Accept:
	case o.verdict == Unavailable:
		hook, level, count = g.cfg.Hooks.Unavailable, slog.LevelWarn, &g.counters.unavailable
	case errors.Is(o.reason, ErrThrottled):
		hook, level, count = g.cfg.Hooks.Throttled, slog.LevelWarn, &g.counters.throttled
	case o.verdict == Challenge && !errors.Is(o.reason, ErrBadCredentials):
		hook, count = g.cfg.Hooks.Challenged, &g.counters.challenged
	default:
		hook, level, count = g.cfg.Hooks.Refused, slog.LevelInfo, &g.counters.refused
	}
	count.Add(1)
	if hook == nil && !g.cfg.Logger.Enabled(ctx, level) {
		return
	}
	e := Event{
		Client: r.Client, Method: r.Method, Account: cmp.Or(o.account, o.identity.Account), AMCC: r.AMCC,
		Source: r.Source, Via: o.via, Reason: o.reason,
	}
	if hook != nil {
		hook(e)
	}
	attrs := []slog.Attr{
		slog.String("verdict", o.verdict.String()), slog.String("client", e.Client), slog.String("method", e.Method),
		slog.String("account", e.Account), slog.Any("source", e.Source), slog.String("via", string(e.Via)),
	}
	if e.Reason != nil {
		attrs = append(attrs, slog.String("reason", Reason(e.Reason)), slog.String("error", e.Reason.Error()))
	}
	g.cfg.Logger.LogAttrs(ctx, level, "authentication", attrs...)
}

// clientKey is the key of a client's challenge and session.
func (g *Guard) clientKey(r *Request) string {
	var buf [256]byte // keeps the usual client off the heap
	b := buf[:0]
	if !g.cfg.AnySource {
		source := r.Source.As16()
		b = append(b, source[:]...)
	}
	if r.AMCC {
		b = append(b, 'a')
	} else {
		b = append(b, 'u')
	}
	b = append(b, r.Client...)
	return hashKey(b)
}

// hashKey makes a key of fixed length of any text, so that a store neither
// holds names nor must bound them. 144 bits of SHA-256 do not collide.
func hashKey(text []byte) string {
	sum := sha256.Sum256(text)
	var out [24]byte
	base64.RawURLEncoding.Encode(out[:], sum[:18])
	return string(out[:])
}

// mac is a keyed digest of several texts, for one purpose.
func (g *Guard) mac(purpose string, parts ...[]byte) (out [sha256.Size]byte) {
	h := hmac.New(sha256.New, g.secret)
	h.Write([]byte(purpose))
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	h.Sum(out[:0])
	return out
}
