package dialoginfo

import (
	"time"

	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/sipx"
)

// An exchange is one SUBSCRIBE until its outcome. It belongs to one goroutine at a
// time, as its dialog does.
type exchange struct {
	subscriber.Exchange
	m      *Monitor
	dialog *subscriber.Dialog
	to     sipx.URI
}

// newExchange makes one that asks for a lifetime; 0 ends the subscription.
func newExchange(m *Monitor, dialog *subscriber.Dialog, to sipx.URI, asks time.Duration) *exchange {
	return &exchange{subscriber.Exchange{Expires: asks, Answer: m.answer}, m, dialog, to}
}

// request makes the SUBSCRIBE with the dialog's next CSeq.
func (x *exchange) request() *sipx.Request {
	cfg := &x.m.cfg
	req := x.dialog.Subscribe(cfg.From, x.to)
	req.Flow = cfg.Flow
	req.Header = sipx.Header{
		{Name: "Contact", Value: cfg.contact()},
		{Name: "Event", Value: eventPackage},
		{Name: "Accept", Value: mediaType},
	}
	if cfg.UserAgent != "" {
		req.Header.Add("User-Agent", cfg.UserAgent)
	}
	x.Complete(req)
	return req
}

// again takes the response to req, and reports whether the exchange goes on with
// another request. If not, the error is nil for a 2xx.
func (x *exchange) again(req *sipx.Request, res *sipx.Response) (bool, error) {
	again, failure := x.Again(req, res)
	if failure == nil {
		return again, nil
	}
	if failure.Refused() {
		x.m.refused()
	}
	return false, (*StatusError)(failure)
}

// answer answers a challenge, unless the PBX has refused the credentials.
func (m *Monitor) answer(req *sipx.Request, res *sipx.Response) (sipx.Field, error) {
	if m.wasRefused() {
		return sipx.Field{}, errRefused
	}
	return subscriber.Digest(req, res, m.cfg.Username, string(m.cfg.Password.Reveal()))
}
