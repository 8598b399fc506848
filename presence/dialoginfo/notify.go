package dialoginfo

import (
	"errors"
	"strings"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// notified answers a NOTIFY whose Call-ID is or was that of the dialog, and takes
// what it says. The answer goes first: how long the host takes is not the PBX's
// business.
func (s *subscription) notified(n notify) error {
	state, taken, res := s.check(n.req)
	var bad error
	if taken && !state.terminated {
		if res, bad = s.read(n.req); bad != nil {
			s.log.Warn("a NOTIFY with a document that cannot be used", "error", bad)
		}
	}
	s.m.respond(n.w, res)
	switch {
	case !taken:
		return nil
	case state.terminated:
		return s.ended(state)
	}
	s.prolong(state)
	if !state.pending {
		s.report()
	}
	s.resync()
	return nil
}

// check checks a NOTIFY (RFC 6665 §4.1.3). taken says that it is the next one of
// the dialog.
func (s *subscription) check(req *sipx.Request) (state subscriptionState, taken bool, res *sipx.Response) {
	event, ok := sipx.ParseEvent(req.Header.Get("Event"))
	if !ok || event.Package != eventPackage || event.ID != "" {
		return state, false, sipx.NewResponse(489, sipx.Field{Name: "Allow-Events", Value: eventPackage})
	}
	d := s.dialog
	if d == nil || d.callID != req.CallID || !d.matches(req) {
		return state, false, sipx.NewResponse(481)
	}
	if state, ok = parseSubscriptionState(req.Header.Get("Subscription-State")); !ok {
		return state, false, sipx.Errorf(400, "bad or missing Subscription-State").Response()
	}
	switch {
	case d.notified && req.CSeq == d.remoteSeq:
		return state, false, sipx.NewResponse(200)
	case d.notified && req.CSeq < d.remoteSeq:
		return state, false, sipx.Errorf(500, "CSeq too low").Response() // RFC 3261 §12.2.2
	}
	d.took(req)
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
func (s *subscription) prolong(state subscriptionState) {
	lifetime := state.expires
	switch {
	case lifetime == 0 && s.since.IsZero():
		lifetime = s.asks
	case lifetime == 0:
		return
	}
	lifetime = min(lifetime, s.asks)
	s.expires = time.Now().Add(lifetime)
	if s.exchange == nil {
		s.next.sooner(refreshAfter(lifetime))
	}
}

// ended takes the end of the dialog by the PBX (RFC 6665 §4.1.3).
func (s *subscription) ended(state subscriptionState) error {
	err := &EndedError{Reason: state.reason}
	switch state.reason {
	case "rejected", "noresource", "invariant":
		s.drop()
		s.unknown()
		return err
	case "probation", "giveup":
		if state.retryAfter > 0 {
			s.drop()
			s.unknown()
			s.wait(state.retryAfter, err)
			return nil
		}
	}
	return s.again(err) // deactivated, timeout, none, and what is not known
}

// subscriptionState is a Subscription-State field (RFC 6665 §8.2.3).
type subscriptionState struct {
	pending, terminated bool // else active; unknown states are taken as that
	reason              string
	expires, retryAfter time.Duration
}

func parseSubscriptionState(value string) (s subscriptionState, ok bool) {
	switch sipx.MediaType(value) {
	case "":
		return s, false
	case "pending":
		s.pending = true
	case "terminated":
		s.terminated = true
	}
	reason, _ := sipx.ParamOf(value, "reason")
	s.reason = strings.ToLower(cut(reason, maxReason))
	if v, ok := sipx.ParamOf(value, "expires"); ok {
		n, _ := sipx.Seconds(v)
		s.expires = min(seconds(n), maxExpires)
	}
	if v, ok := sipx.ParamOf(value, "retry-after"); ok {
		n, _ := sipx.Seconds(v)
		s.retryAfter = min(seconds(n), maxRetryAfter)
	}
	return s, true
}
