package dialoginfo

import (
	"strconv"
	"time"

	"github.com/icholy/digest"

	"github.com/openblustar/blustar/sipx"
)

// An exchange is one SUBSCRIBE until its outcome: sent again where it is
// challenged, or where the lifetime that it asks for is too short. It belongs to
// one goroutine at a time, as its dialog does.
type exchange struct {
	m      *Monitor
	dialog *dialog
	to     sipx.URI
	asks   time.Duration // 0 ends the subscription

	raised      bool // a 423 has been obeyed
	www, proxy  attempt
	credentials sipx.Header
}

// attempt is what became of one kind of challenge.
type attempt struct{ answered, stale bool }

// request makes the SUBSCRIBE with the dialog's next CSeq.
func (x *exchange) request() *sipx.Request {
	d, cfg := x.dialog, &x.m.cfg
	d.localSeq++
	req := &sipx.Request{
		Method: "SUBSCRIBE",
		URI:    d.target,
		From:   sipx.Address{URI: cfg.From}.WithTag(d.localTag),
		To:     sipx.Address{URI: x.to},
		CallID: d.callID,
		CSeq:   d.localSeq,
		Route:  d.route,
		Flow:   cfg.Flow,
		Header: sipx.Header{
			{Name: "Contact", Value: cfg.contact()},
			{Name: "Event", Value: eventPackage},
			{Name: "Accept", Value: mediaType},
			{Name: "Expires", Value: strconv.Itoa(int(x.asks / time.Second))},
		},
	}
	if d.established() {
		req.To = req.To.WithTag(d.remoteTag)
	}
	if cfg.UserAgent != "" {
		req.Header.Add("User-Agent", cfg.UserAgent)
	}
	req.Header = append(req.Header, x.credentials...)
	return req
}

// again takes the response to req, and reports whether the exchange goes on with
// another request. If not, the error is nil for a 2xx.
func (x *exchange) again(req *sipx.Request, res *sipx.Response) (bool, error) {
	switch {
	case res.Status >= 200 && res.Status < 300:
		return false, nil
	case res.Status == 401:
		return x.authenticate(req, res, &x.www, "WWW-Authenticate", "Authorization")
	case res.Status == 407:
		return x.authenticate(req, res, &x.proxy, "Proxy-Authenticate", "Proxy-Authorization")
	case res.Status == 423 && !x.raised && x.asks > 0:
		x.raised = true
		n, ok := sipx.Seconds(res.Header.Get("Min-Expires"))
		if least := seconds(n); ok && least > x.asks && least <= maxExpires {
			x.asks = least
			return true, nil
		}
	}
	return false, statusError(res)
}

// authenticate answers a challenge: once, and once more where the nonce was too
// old, so that a wrong password cannot lock the account out.
func (x *exchange) authenticate(req *sipx.Request, res *sipx.Response, a *attempt, challenge, answer string) (bool, error) {
	failure := statusError(res)
	c := digestChallenge(res.Header, challenge)
	switch {
	case x.m.cfg.Username == "":
		failure.Err = errNoCredentials
		return false, failure
	case c == nil:
		failure.Err = errChallenge
		return false, failure
	case a.answered && (a.stale || !c.Stale):
		x.m.refused()
		return false, failure
	case x.m.wasRefused():
		failure.Err = errRefused
		return false, failure
	}
	a.answered, a.stale = true, a.answered
	value, err := digest.Digest(c, digest.Options{
		Method:   req.Method,
		URI:      req.URI.String(),
		Username: x.m.cfg.Username,
		Password: string(x.m.cfg.Password.Reveal()),
	})
	if err != nil {
		failure.Err = err
		return false, failure
	}
	for i := range x.credentials {
		if x.credentials[i].Name == answer {
			x.credentials[i].Value = value.String()
			return true, nil
		}
	}
	x.credentials.Add(answer, value.String())
	return true, nil
}

// maxChallenge bounds a challenge in bytes.
const maxChallenge = 2048

// digestChallenge returns the first challenge that can be answered, or nil.
// Servers put the one that they prefer first (RFC 8760 §2.4).
func digestChallenge(h sipx.Header, name string) *digest.Challenge {
	for v := range h.Values(name) {
		if len(v) > maxChallenge {
			continue
		}
		if c, err := digest.ParseChallenge(v); err == nil && digest.CanDigest(c) {
			return c
		}
	}
	return nil
}

// granted is the lifetime that a 2xx grants: at most what was asked, and never
// nothing.
func granted(res *sipx.Response, asked time.Duration) time.Duration {
	n, ok := sipx.Seconds(res.Header.Get("Expires"))
	if !ok {
		return asked
	}
	return max(min(seconds(n), asked), time.Second)
}
