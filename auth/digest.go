package auth

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/openblustar/blustar/auth/internal/authorization"
)

// Algorithm is a Digest algorithm (RFC 8760).
type Algorithm string

// The algorithms that are known.
const (
	SHA256 Algorithm = authorization.SHA256
	MD5    Algorithm = authorization.MD5
)

// HA1 returns the Digest secret of an account: the hash of
// username:realm:password in hexadecimal (RFC 7616 §3.4.2). Who has it can sign
// in as the account; keep it like a password.
func HA1(a Algorithm, username, realm string, password []byte) string {
	return authorization.Hash(string(a), username+":"+realm+":"+string(password))
}

// DigestQuery asks for the secret of an account.
type DigestQuery struct {
	// Username is as the client sent it; it went into the secret so.
	Username, Realm string
	Algorithm       Algorithm
	// AMCC is as in Credentials.
	AMCC bool
}

// DigestAccount is the answer to a DigestQuery.
type DigestAccount struct {
	HA1      Secret // see HA1
	Identity Identity
}

// DigestAccounts knows the secrets of the accounts that may authenticate by Digest.
//
// DigestAccount returns an error that wraps [ErrBadCredentials] for an unknown account, and for
// one that has no secret for this realm and algorithm ([ErrNoDigest]): clients are told the
// same. Any other error says that it cannot tell. It is called by several goroutines at once,
// and must answer without delay: there is no time-out of its own.
//
// It may have two more methods, Realms() []string and Algorithms() []Algorithm, which
// return what there are secrets for; see [Config]. They are called once.
type DigestAccounts interface {
	DigestAccount(ctx context.Context, q DigestQuery) (DigestAccount, error)
}

// digestChallenge offers all algorithms: a client takes the first that it knows
// (RFC 8760 §2.3). They share a nonce.
func (g *Guard) digestChallenge(r *Request, stale bool) []HeaderField {
	nonce := g.newNonce(r)
	fields := make([]HeaderField, 0, 2)
	for _, a := range g.cfg.Algorithms {
		v := fmt.Sprintf(`Digest realm="%s", nonce="%s", algorithm=%s, qop="auth"`, g.cfg.Realm, nonce, a)
		if stale {
			v += ", stale=true"
		}
		fields = append(fields, HeaderField{"WWW-Authenticate", v})
	}
	return fields
}

// checkDigest takes an `Authorization: Digest`. It opens no session: each
// request carries its own proof.
func (g *Guard) checkDigest(ctx context.Context, r *Request) outcome {
	d, err := g.findDigest(r)
	if err != nil {
		return outcome{verdict: Challenge, reason: err}
	}
	name, err := ParseName(d.Username)
	if err != nil {
		return outcome{verdict: Challenge, reason: err}
	}
	o := outcome{account: name.Account(), via: ViaDigest, verdict: Challenge}
	n, ok := g.findNonce(ctx, r, d.Nonce)
	if !ok {
		o.reason = ErrStale
		return o
	}
	if !d.IsFor(r.URI) {
		o.reason = fmt.Errorf("%w: Digest for another Request-URI", ErrMalformed)
		return o
	}
	a := g.attempt(r, "digest", name.bare(), name, false)
	if !g.digests.take(a.source, a.account) {
		return outcome{verdict: Unavailable, reason: ErrBusy, account: o.account, via: ViaDigest}
	}
	defer g.digests.leave(a.source, a.account)
	if err := g.throttle.begin(ctx, a); errors.Is(err, ErrThrottled) {
		o.verdict, o.reason = Forbid, err
		return o
	} else if err != nil {
		return unavailable(err)
	}
	defer g.throttle.end(a)
	account, err := g.digestAccount(ctx, r, &d)
	if err != nil && !errors.Is(err, ErrBadCredentials) {
		return unavailable(err)
	}
	// Computed for unknown accounts, too, so that they take the same time.
	want := d.Expected(string(account.HA1.Reveal()), r.Method, r.Body)
	if subtle.ConstantTimeCompare([]byte(want), []byte(d.Response)) != 1 && err == nil {
		err = ErrBadPassword
	}
	switch {
	case err != nil:
		g.throttle.failed(a)
		o.reason = err
	case !g.useNonce(ctx, r, n, account.Identity.Account, d.Count):
		o.reason = ErrStale
	default:
		g.throttle.succeeded(a, account.Identity)
		o.verdict, o.identity = Accept, account.Identity
	}
	return o
}

// findDigest returns the response for our realm.
func (g *Guard) findDigest(r *Request) (authorization.Digest, error) {
	found := ErrNoCredentials
	for _, h := range r.Authorization {
		params, ok := authorization.Cut(h, "Digest")
		if !ok {
			continue
		}
		d, err := authorization.ParseDigest(params)
		switch {
		case err != nil:
			found = fmt.Errorf("%w: %w", ErrMalformed, err)
		case d.Realm != g.cfg.Realm:
		case !slices.Contains(g.cfg.Algorithms, Algorithm(d.Algorithm)):
			found = fmt.Errorf("%w: Digest algorithm that was not offered", ErrMalformed)
		case d.Old && !(d.Algorithm == authorization.MD5 && g.cfg.OldDigest.has(r.Secure)):
			found = fmt.Errorf("%w: Digest without qop", ErrMalformed)
		default:
			return d, nil
		}
	}
	return authorization.Digest{}, found
}

// digestAccount looks the secret up. With ErrBadCredentials it returns one that
// nobody knows: whether an account exists, and has a secret, is not told.
func (g *Guard) digestAccount(ctx context.Context, r *Request, d *authorization.Digest) (DigestAccount, error) {
	account, err := g.cfg.Digest.DigestAccount(ctx, DigestQuery{d.Username, d.Realm, Algorithm(d.Algorithm), r.AMCC})
	if err == nil && account.HA1.Len() == 0 {
		err = ErrNoDigest
	}
	if errors.Is(err, ErrBadCredentials) {
		mac := g.mac("unknown", []byte(d.Username))
		return DigestAccount{HA1: NewSecret([]byte(hex.EncodeToString(mac[:])))}, err
	}
	account.Identity.Account, account.Identity.AMCC = fold(account.Identity.Account), r.AMCC
	return account, err
}
