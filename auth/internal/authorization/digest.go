package authorization

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// The Digest algorithms that are known (RFC 8760).
const (
	SHA256 = "SHA-256"
	MD5    = "MD5"
)

// Hash returns the digest of a text in hexadecimal, by MD5 or, for any other
// algorithm, by SHA-256.
func Hash(algorithm, text string) string {
	if algorithm == MD5 {
		sum := md5.Sum([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Digest is a parsed `Authorization: Digest`.
type Digest struct {
	Username, Realm, Nonce, URI, Response, Algorithm string
	// Old: without qop, as RFC 2069 §2.1.2 had it. Then there is no count that tells a replay
	// (RFC 3261 §22.4 item 8, RFC 7616 §3.4), and the nonce counts as used for the first time.
	Old             bool
	Count           uint32
	cnonce, nc, qop string
}

// ParseDigest reads the parameters. The error says what is wrong with them.
func ParseDigest(params string) (d Digest, err error) {
	p, err := Params(params)
	if err != nil {
		return d, err
	}
	d = Digest{
		Username: p["username"], Realm: p["realm"], Nonce: p["nonce"], URI: p["uri"],
		Response: strings.ToLower(p["response"]), Algorithm: MD5,
		cnonce: p["cnonce"], nc: p["nc"], qop: strings.ToLower(p["qop"]),
	}
	switch {
	case strings.EqualFold(p["algorithm"], SHA256):
		d.Algorithm = SHA256
	case p["algorithm"] != "" && !strings.EqualFold(p["algorithm"], MD5):
		return d, errors.New("unknown Digest algorithm")
	}
	if d.URI == "" || d.Nonce == "" {
		return d, errors.New("Digest without uri or nonce")
	}
	if d.qop == "" {
		d.Old, d.Count = true, 1
		return d, nil
	}
	if d.qop != "auth" && d.qop != "auth-int" || d.cnonce == "" {
		return d, errors.New("Digest with another qop, or without cnonce")
	}
	count, err := strconv.ParseUint(d.nc, 16, 32)
	if err != nil || len(d.nc) != 8 {
		return d, errors.New("Digest nonce count")
	}
	d.Count = uint32(count)
	return d, nil
}

// Expected computes the response (RFC 7616 §3.4.1). The URI is the one that the
// client hashed, not the request's, which proxies may have rewritten.
func (d *Digest) Expected(ha1, method string, body []byte) string {
	a2 := method + ":" + d.URI
	if d.Old {
		return Hash(d.Algorithm, ha1+":"+d.Nonce+":"+Hash(d.Algorithm, a2))
	}
	if d.qop == "auth-int" {
		a2 += ":" + Hash(d.Algorithm, string(body))
	}
	return Hash(d.Algorithm, strings.Join([]string{ha1, d.Nonce, d.nc, d.cnonce, d.qop, Hash(d.Algorithm, a2)}, ":"))
}

// IsFor reports whether the response is for a Request-URI: whether both are the same address
// of record, whatever parameters, port, password and letter case they have.
func (d *Digest) IsFor(requestURI string) bool { return addressOf(d.URI) == addressOf(requestURI) }

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
