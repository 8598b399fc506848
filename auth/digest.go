package auth

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/openblustar/blustar/auth/internal/authorization"
)

// Algorithm is a Digest algorithm (RFC 8760).
type Algorithm string

// The algorithms that are known.
const (
	SHA256 Algorithm = "SHA-256"
	MD5    Algorithm = "MD5"
)

func (a Algorithm) hash(text string) string {
	if a == MD5 {
		sum := md5.Sum([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// HA1 returns the Digest secret of an account: the hash of
// username:realm:password in hexadecimal (RFC 7616 §3.4.2). Who has it can sign
// in as the account; keep it like a password.
func HA1(a Algorithm, username, realm string, password []byte) string {
	return a.hash(username + ":" + realm + ":" + string(password))
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

// digestResponse is a parsed `Authorization: Digest`.
type digestResponse struct {
	username, realm, nonce, uri, response, cnonce, nc, qop string
	algorithm                                              Algorithm
	count                                                  uint32
}

// parseDigest reads the parameters. Without qop, which we always offer, it is old: then
// there is no count that tells a replay (RFC 3261 §22.4 item 8, RFC 7616 §3.4), and the
// nonce counts as used for the first time.
func parseDigest(params string) (d digestResponse, err error) {
	p, err := authorization.Params(params)
	if err != nil {
		return d, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	d = digestResponse{
		username: p["username"], realm: p["realm"], nonce: p["nonce"], uri: p["uri"], response: strings.ToLower(p["response"]),
		cnonce: p["cnonce"], nc: p["nc"], qop: strings.ToLower(p["qop"]), algorithm: MD5,
	}
	switch {
	case strings.EqualFold(p["algorithm"], string(SHA256)):
		d.algorithm = SHA256
	case p["algorithm"] != "" && !strings.EqualFold(p["algorithm"], string(MD5)):
		return d, fmt.Errorf("%w: unknown Digest algorithm", ErrMalformed)
	}
	if d.uri == "" || d.nonce == "" {
		return d, fmt.Errorf("%w: Digest without uri or nonce", ErrMalformed)
	}
	if d.old() {
		d.count = 1
		return d, nil
	}
	if d.qop != "auth" && d.qop != "auth-int" || d.cnonce == "" {
		return d, fmt.Errorf("%w: Digest with another qop, or without cnonce", ErrMalformed)
	}
	count, err := strconv.ParseUint(d.nc, 16, 32)
	if err != nil || len(d.nc) != 8 {
		return d, fmt.Errorf("%w: Digest nonce count", ErrMalformed)
	}
	d.count = uint32(count)
	return d, nil
}

// old reports whether it is as RFC 2069 §2.1.2 had it.
func (d *digestResponse) old() bool { return d.qop == "" }

// expected computes the response (RFC 7616 §3.4.1). The URI is the one that the
// client hashed, not the request's, which proxies may have rewritten; the user
// that a request is about is in To and not protected by Digest anyway.
func (d *digestResponse) expected(ha1 string, r *Request) string {
	a2 := r.Method + ":" + d.uri
	if d.old() {
		return d.algorithm.hash(ha1 + ":" + d.nonce + ":" + d.algorithm.hash(a2))
	}
	if d.qop == "auth-int" {
		a2 += ":" + d.algorithm.hash(string(r.Body))
	}
	return d.algorithm.hash(strings.Join([]string{ha1, d.nonce, d.nc, d.cnonce, d.qop, d.algorithm.hash(a2)}, ":"))
}

// checkDigest takes an `Authorization: Digest`. It opens no session: each
// request carries its own proof.
func (g *Guard) checkDigest(ctx context.Context, r *Request) outcome {
	d, err := g.findDigest(r)
	if err != nil {
		return outcome{verdict: Challenge, reason: err}
	}
	name, err := ParseName(d.username)
	if err != nil {
		return outcome{verdict: Challenge, reason: err}
	}
	o := outcome{account: name.Account(), via: ViaDigest, verdict: Challenge}
	expires, ok := g.checkNonce(r, d.nonce)
	if !ok {
		o.reason = ErrStale
		return o
	}
	if addressOf(d.uri) != addressOf(r.URI) {
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
	want := d.expected(string(account.HA1.Reveal()), r)
	if subtle.ConstantTimeCompare([]byte(want), []byte(d.response)) != 1 && err == nil {
		err = ErrBadPassword
	}
	switch {
	case err != nil:
		g.throttle.failed(a)
		o.reason = err
	case !g.useNonce(d.nonce, expires, account.Identity.Account, d.count):
		o.reason = ErrStale
	default:
		g.throttle.succeeded(a, account.Identity, g.cfg.KnownLifetime)
		o.verdict, o.identity = Accept, account.Identity
	}
	return o
}

// addressOf is the address of record of a SIP or tel URI, as far as two spellings of
// one Request-URI go: without parameters, port and password, in lower case.
func addressOf(uri string) string {
	uri = strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(uri), "sips:"), "sip:")
	if i := strings.IndexAny(uri, ";?"); i >= 0 {
		uri = uri[:i]
	}
	at := strings.LastIndexByte(uri, '@')
	user, _, _ := strings.Cut(uri[:max(at, 0)], ":")
	host := uri[at+1:]
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') && !strings.HasPrefix(host, "tel:") {
		host = host[:i]
	}
	return user + "@" + host
}

// findDigest returns the response for our realm.
func (g *Guard) findDigest(r *Request) (digestResponse, error) {
	found := ErrNoCredentials
	for _, h := range r.Authorization {
		params, ok := authorization.Cut(h, "Digest")
		if !ok {
			continue
		}
		d, err := parseDigest(params)
		switch {
		case err != nil:
			found = err
		case d.realm != g.cfg.Realm:
		case !slices.Contains(g.cfg.Algorithms, d.algorithm):
			found = fmt.Errorf("%w: Digest algorithm that was not offered", ErrMalformed)
		case d.old() && !(d.algorithm == MD5 && g.cfg.OldDigest.has(r.Secure)):
			found = fmt.Errorf("%w: Digest without qop", ErrMalformed)
		default:
			return d, nil
		}
	}
	return digestResponse{}, found
}

// digestAccount looks the secret up. With ErrBadCredentials it returns one that
// nobody knows: whether an account exists, and has a secret, is not told.
func (g *Guard) digestAccount(ctx context.Context, r *Request, d *digestResponse) (DigestAccount, error) {
	account, err := g.cfg.Digest.DigestAccount(ctx, DigestQuery{d.username, d.realm, d.algorithm, r.AMCC})
	if err == nil && account.HA1.Len() == 0 {
		err = ErrNoDigest
	}
	if errors.Is(err, ErrBadCredentials) {
		mac := g.mac("unknown", []byte(d.username))
		return DigestAccount{HA1: NewSecret([]byte(hex.EncodeToString(mac[:])))}, err
	}
	account.Identity.Account, account.Identity.AMCC = fold(account.Identity.Account), r.AMCC
	return account, err
}
