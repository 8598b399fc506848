package client

import (
	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/sipx"
)

// answer answers the challenge of a 401 or 407: X-BSS-auth with X-BSS-rauth
// (§2.10), Digest as RFC 8760 says. Of both it takes the one of its dialect.
func (c *Client) answer(req *sipx.Request, res *sipx.Response) (sipx.Field, error) {
	credentials := c.cfg.Credentials
	key := res.Header.Get("X-BSS-auth")
	digest := c.cfg.Standard && res.Header.Get("WWW-Authenticate") != ""
	if res.Status != 401 || key == "" || digest || credentials.IsZero() {
		return subscriber.Digest(req, res, credentials.Name.String(), string(credentials.Password.Reveal()))
	}
	rauth, err := credentials.Encrypt(c.cfg.Cipher, key)
	return sipx.Field{Name: "X-BSS-rauth", Value: rauth}, err
}
