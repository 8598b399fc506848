package client

import (
	"errors"
	"fmt"

	"github.com/icholy/digest"

	"github.com/openblustar/blustar/sipx"
)

// answer makes the fields that answer the challenge of a 401: X-BSS-rauth for
// X-BSS-auth (§2.10), Authorization for Digest (RFC 8760).
func (c *Client) answer(req *sipx.Request, res *sipx.Response) ([]sipx.Field, error) {
	if c.cfg.Credentials.IsZero() {
		return nil, errors.New("client: no credentials to answer the challenge")
	}
	if key := res.Header.Get("X-BSS-auth"); key != "" {
		rauth, err := c.cfg.Credentials.Encrypt(c.cfg.Cipher, key)
		if err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		return []sipx.Field{{Name: "X-BSS-rauth", Value: rauth}}, nil
	}
	challenge := digestChallenge(res.Header)
	if challenge == nil {
		return nil, errors.New("client: a challenge that the client does not know")
	}
	answer, err := digest.Digest(challenge, digest.Options{
		Method:   req.Method,
		URI:      req.URI.String(),
		Username: c.cfg.Credentials.Name.String(),
		Password: string(c.cfg.Credentials.Password.Reveal()),
	})
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return []sipx.Field{{Name: "Authorization", Value: answer.String()}}, nil
}

// digestChallenge returns the first Digest challenge that can be answered
// without the body, or nil. Servers put the one they prefer first (RFC 8760 §2.4).
func digestChallenge(h sipx.Header) *digest.Challenge {
	for v := range h.Values("WWW-Authenticate") {
		if len(v) > 2048 {
			continue
		}
		c, err := digest.ParseChallenge(v)
		if err == nil && digest.CanDigest(c) && (len(c.QOP) == 0 || c.SupportsQOP("auth")) {
			return c
		}
	}
	return nil
}

// isStale reports whether a 401 says that only the nonce was too old: then the
// credentials may be good (RFC 7616 §3.3).
func isStale(res *sipx.Response) bool {
	c := digestChallenge(res.Header)
	return c != nil && c.Stale
}
