package subscriber

import (
	"bytes"
	"errors"
	"io"

	"github.com/icholy/digest"

	"github.com/openblustar/blustar/sipx"
)

// maxChallenge bounds a challenge in bytes.
const maxChallenge = 2048

// Digest answers the Digest challenge of a 401 or 407 to req (RFC 8760). An empty
// username has no credentials.
func Digest(req *sipx.Request, res *sipx.Response, username, password string) (sipx.Field, error) {
	c := challenge(res)
	switch {
	case username == "":
		return sipx.Field{}, errors.New("no credentials to answer the challenge")
	case c == nil:
		return sipx.Field{}, errors.New("a challenge that cannot be answered")
	}
	value, err := digest.Digest(c, digest.Options{
		Method:   req.Method,
		URI:      req.URI.String(),
		GetBody:  func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(req.Body)), nil },
		Username: username,
		Password: password,
	})
	if err != nil {
		return sipx.Field{}, err
	}
	name := "Authorization"
	if res.Status == 407 {
		name = "Proxy-Authorization"
	}
	return sipx.Field{Name: name, Value: value.String()}, nil
}

// challenge returns the first challenge that can be answered, or nil. Servers put
// the one that they prefer first (RFC 8760 §2.4).
func challenge(res *sipx.Response) *digest.Challenge {
	name := "WWW-Authenticate"
	if res.Status == 407 {
		name = "Proxy-Authenticate"
	}
	for v := range res.Header.Values(name) {
		if len(v) > maxChallenge {
			continue
		}
		if c, err := digest.ParseChallenge(v); err == nil && digest.CanDigest(c) {
			return c
		}
	}
	return nil
}

// isStale reports whether a challenge says that only the nonce was too old: then
// the credentials may be good (RFC 7616 §3.3).
func isStale(res *sipx.Response) bool {
	c := challenge(res)
	return c != nil && c.Stale
}
