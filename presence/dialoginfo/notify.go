package dialoginfo

import (
	"errors"
	"time"

	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/sipx"
)

// notified answers a NOTIFY whose Call-ID is or was that of the dialog, and takes
// what it says. The answer goes first: how long the host takes is not the PBX's
// business.
func (s *subscription) notified(n notify) error {
	state, taken, res := s.check(n.req)
	var bad error
	if taken && state.State != subscriber.Terminated {
		if res, bad = s.read(n.req); bad != nil {
			s.log.Warn("a NOTIFY with a document that cannot be used", "error", bad)
		}
	}
	s.m.respond(n.w, res)
	switch {
	case !taken:
		return nil
	case state.State == subscriber.Terminated:
		return s.ended(state)
	}
	s.prolong(state)
	if state.State != subscriber.Pending {
		s.report()
	}
	s.resync()
	return nil
}

// check checks a NOTIFY (RFC 6665 §4.1.3). taken says that it is the next one of
// the dialog.
func (s *subscription) check(req *sipx.Request) (state subscriber.SubscriptionState, taken bool, res *sipx.Response) {
	if s.dialog == nil {
		return state, false, sipx.NewResponse(481)
	}
	if state, res = s.dialog.Check(req, eventPackage); res != nil {
		return state, false, res
	}
	switch s.dialog.Order.Next(req.CSeq) {
	case subscriber.ErrRepeated:
		return state, false, sipx.NewResponse(200)
	case subscriber.ErrOld:
		return state, false, sipx.Errorf(500, "CSeq too low").Response() // RFC 3261 §12.2.2
	}
	s.dialog.Take(req)
	s.first.stop()
	return state, true, sipx.NewResponse(200)
}

// read takes the document of a NOTIFY. The error is why it cannot; then nothing
// is known until a full one comes.
func (s *subscription) read(req *sipx.Request) (*sipx.Response, error) {
	err := s.apply(req)
	if err == nil {
		return sipx.NewResponse(200), nil
	}
	s.calls.forget()
	s.setStale(true)
	if refusal, ok := errors.AsType[*sipx.Error](err); ok {
		res := refusal.Response()
		if res.Status == 415 {
			res.Header.Add("Accept", mediaType)
		}
		return res, err
	}
	return sipx.Errorf(400, "bad dialog-info document").Response(), err
}

func (s *subscription) apply(req *sipx.Request) error {
	if len(req.Body) == 0 {
		// Active, and nothing to tell: there is no dialog. It is what Kamailio
		// sends where nothing was published.
		s.calls = calls{known: true, version: s.calls.version}
		s.setStale(false)
		return nil
	}
	if len(req.Body) > s.m.cfg.MaxBody {
		return sipx.Errorf(413, "document of more than %d bytes", s.m.cfg.MaxBody)
	}
	if media := sipx.MediaType(req.Header.Get("Content-Type")); media != mediaType {
		return sipx.Errorf(415, "not a dialog-info document")
	}
	doc, err := parse(req.Body)
	if err != nil {
		return err
	}
	stale, err := s.calls.apply(doc, s.m.cfg.MaxDialogs)
	s.setStale(stale || s.stale && !doc.full)
	return err
}

// prolong takes the lifetime that a NOTIFY states, which has the last word
// (RFC 6665 §4.1.3). It also holds until the 2xx comes that it has overtaken.
func (s *subscription) prolong(state subscriber.SubscriptionState) {
	lifetime := state.Expires
	switch {
	case lifetime == 0 && s.since.IsZero():
		lifetime = s.asks
	case lifetime == 0:
		return
	}
	lifetime = min(lifetime, s.asks)
	s.expires = time.Now().Add(lifetime)
	if s.exchange == nil {
		s.next.sooner(subscriber.RefreshAfter(lifetime))
	}
}

// ended takes the end of the dialog by the PBX (RFC 6665 §4.1.3).
func (s *subscription) ended(state subscriber.SubscriptionState) error {
	err := &EndedError{Reason: state.Reason}
	switch {
	case subscriber.Final(state.Reason):
		s.drop()
		s.unknown()
		return err
	case (state.Reason == "probation" || state.Reason == "giveup") && state.RetryAfter > 0:
		s.drop()
		s.unknown()
		s.wait(state.RetryAfter, err)
		return nil
	}
	return s.again(err) // deactivated, timeout, none, and what is not known
}
