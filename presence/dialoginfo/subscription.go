package dialoginfo

import (
	"errors"
	"log/slog"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

// A device is what one call of MonitorLine watches. It is the [subscriber.Watcher] of
// its subscription.
type device struct {
	*subscriber.Subscription
	m      *Monitor
	log    *slog.Logger
	update func(presence.LineState)
	calls  calls
}

func (m *Monitor) newDevice(dn string, target sipx.URI, update func(presence.LineState)) *device {
	d := &device{m: m, log: m.cfg.Logger.With("device", dn), update: update}
	d.Subscription = subscriber.New(subscriber.Config{
		Sender: m.cfg.Sender, Routes: &m.routes, Turns: m.underWay,
		Answer: m.answer, Refused: m.refused, Spread: backoff.Beyond,
		Event: eventPackage, From: m.cfg.From, To: target, Target: target,
		Route: m.cfg.Route, Flow: m.cfg.Flow, Expires: m.cfg.Expires,
		Log: d.log,
	}, d)
	return d
}

// Request implements [subscriber.Watcher].
func (d *device) Request(req *sipx.Request, opens bool, _ time.Duration) {
	if opens {
		d.calls.forget()
	}
	cfg := &d.m.cfg
	req.Header = sipx.Header{
		{Name: "Contact", Value: cfg.contact()},
		{Name: "Event", Value: eventPackage},
		{Name: "Accept", Value: mediaType},
	}
	if cfg.UserAgent != "" {
		req.Header.Add("User-Agent", cfg.UserAgent)
	}
}

// Accepted implements [subscriber.Watcher]: a 2xx prolongs what is known.
func (d *device) Accepted() {
	if d.calls.known {
		d.report()
	}
}

// Read implements [subscriber.Watcher].
func (d *device) Read(req *sipx.Request, state subscriber.SubscriptionState) (string, func() (*sipx.Response, func())) {
	return "", func() (*sipx.Response, func()) {
		if state.State == subscriber.Terminated {
			return sipx.NewResponse(200), nil
		}
		res := d.read(req)
		return res, func() {
			if state.State != subscriber.Pending {
				d.report()
			}
		}
	}
}

// Lost implements [subscriber.Watcher]. What the subscription does not go on from by
// itself ends MonitorLine.
func (d *device) Lost(loss subscriber.Loss) error {
	failure, refused := errors.AsType[*subscriber.Failure](loss.Err)
	if refused && failure.Status == 481 && loss.Steady {
		d.m.forgotten(d.Subscription)
	}
	if loss.Lasts || loss.Steady && loss.Asked == 0 {
		return nil
	}
	ended, byNotify := errors.AsType[*subscriber.Ended](loss.Err)
	if refused || byNotify || loss.Asked > 0 {
		d.update(presence.LineState{State: aa.LineUnknown})
	}
	switch {
	case loss.Asked > 0:
		return nil
	case byNotify:
		return &EndedError{Reason: ended.Reason}
	case refused:
		return (*StatusError)(failure)
	case loss.Err == subscriber.ErrNoNotify:
		return ErrNoNotify
	}
	return loss.Err
}

// read takes the document of a NOTIFY and returns the answer. Where it cannot be read
// nothing is known until a full one comes.
func (d *device) read(req *sipx.Request) *sipx.Response {
	err := d.apply(req)
	if err == nil {
		return sipx.NewResponse(200)
	}
	d.log.Warn("a NOTIFY with a document that cannot be used", "error", err)
	d.calls.forget()
	d.SetStale(true)
	refusal, ok := errors.AsType[*sipx.Error](err)
	if !ok {
		return sipx.Errorf(400, "bad dialog-info document").Response()
	}
	res := refusal.Response()
	if res.Status == 415 {
		res.Header.Add("Accept", mediaType)
	}
	return res
}

func (d *device) apply(req *sipx.Request) error {
	if len(req.Body) == 0 {
		// Active, and nothing to tell: there is no dialog. It is what Kamailio
		// sends where nothing was published.
		d.calls = calls{known: true, version: d.calls.version}
		d.SetStale(false)
		return nil
	}
	if len(req.Body) > d.m.cfg.MaxBody {
		return sipx.Errorf(413, "document of more than %d bytes", d.m.cfg.MaxBody)
	}
	if media := sipx.MediaType(req.Header.Get("Content-Type")); media != mediaType {
		return sipx.Errorf(415, "not a dialog-info document")
	}
	doc, err := parse(req.Body)
	if err != nil {
		return err
	}
	stale, err := d.calls.apply(doc, d.m.cfg.MaxDialogs)
	d.SetStale(stale || d.IsStale() && !doc.full)
	return err
}

// report tells the state and for how long it holds: nothing, where NOTIFYs were refused
// since, so that what was told before fades.
func (d *device) report() {
	if lifetime := d.Confirmed(); lifetime > 0 {
		d.update(presence.LineState{State: d.calls.line(), Lifetime: lifetime})
	}
}

// answer answers a challenge, unless the PBX has refused the credentials.
func (m *Monitor) answer(req *sipx.Request, res *sipx.Response) (sipx.Field, error) {
	if m.wasRefused() {
		return sipx.Field{}, errRefused
	}
	return subscriber.Digest(req, res, m.cfg.Username, string(m.cfg.Password.Reveal()))
}
