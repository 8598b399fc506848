package subscriber

import (
	"context"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// serve hands a NOTIFY to Run, and returns when Run has done with it, or it takes long.
func (s *Subscription) serve(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	n := notify{w, req, make(chan struct{})}
	timeout := time.After(patience)
	select {
	case s.notifies <- n:
		select {
		case <-n.done:
		case <-timeout:
		}
		return
	case <-s.done:
		s.afterwards(w, req)
		return
	case <-timeout: // the host is slow, which must not stop others
	case <-ctx.Done():
	}
	s.respond(w, sipx.NewResponse(503, sipx.Field{Name: "Retry-After", Value: "1"}))
}

// notified answers a NOTIFY whose Call-ID is or was that of the dialog, and takes what
// it says. The answer goes first: how long the host takes is not the notifier's business.
func (s *Subscription) notified(n notify) error {
	behind := s.behind()
	state, res, then := s.take(n.req)
	s.respond(n.w, res)
	defer close(n.done)
	if then == nil { // it was not taken
		s.resync()
		return nil
	}
	if state.State == Terminated {
		then()
		return s.ended(state)
	}
	s.prolong(state)
	then()
	if behind && !s.behind() { // the next refresh is due when it was before
		s.resyncs = 0
		if s.exchange == nil && !s.since.IsZero() {
			s.next.set(RefreshAfter(time.Until(s.expires)))
		}
	}
	s.resync()
	return nil
}

// take checks a NOTIFY (RFC 6665 §4.1.3) and takes it where it is the next one of the
// dialog. Otherwise then is nil.
func (s *Subscription) take(req *sipx.Request) (_ SubscriptionState, _ *sipx.Response, then func()) {
	d := s.dialog
	if d == nil {
		return SubscriptionState{}, sipx.NewResponse(481), nil
	}
	state, res := d.Check(req, s.cfg.Event)
	if res != nil {
		s.refused = s.refused || d.Notified() && req.To.Tag() == d.localTag
		return state, res, nil
	}
	entity, take := s.w.Read(req, state)
	switch err := s.order.next(entity, req.CSeq); {
	case err == ErrOld:
		return state, sipx.Errorf(500, "CSeq too low").Response(), nil // RFC 3261 §12.2.2
	case err == ErrRepeated:
		return state, sipx.NewResponse(200), nil
	case err != nil && state.State != Terminated:
		s.log.Warn("a NOTIFY was passed over", "entity", entity, "error", err)
		return state, sipx.NewResponse(200), nil
	}
	d.Take(req)
	if req.Flow.Reliable() {
		flow := req.Flow // the request is the stack's again when it is answered
		if last := s.flow.Load(); last == nil || *last != flow {
			s.flow.Store(&flow)
		}
	}
	if s.refused = false; !s.doubtful() {
		s.first.stop()
	}
	res, then = take()
	if then == nil {
		then = func() {}
	}
	return state, res, then
}

// prolong takes the lifetime that a NOTIFY states, which has the last word (RFC 6665
// §4.1.3). It also holds until the 2xx comes that it has overtaken.
func (s *Subscription) prolong(state SubscriptionState) {
	lifetime := min(state.Expires, s.lasts)
	if lifetime == 0 && s.since.IsZero() {
		lifetime = s.lasts
	}
	if lifetime == 0 || s.leaving.Load() {
		return
	}
	s.expires = time.Now().Add(lifetime)
	if s.exchange == nil {
		s.next.sooner(RefreshAfter(lifetime))
	}
}

// ended takes the end of the dialog by the notifier (RFC 6665 §4.1.3).
func (s *Subscription) ended(state SubscriptionState) error {
	loss := Loss{Err: &Ended{state}, Gone: true, Asked: state.RetryAfter, Steady: s.hasLasted()}
	switch state.Reason {
	case "deactivated", "timeout":
		loss.Asked = 0
	case "probation", "giveup":
		return s.lost(loss, false)
	}
	if Final(state.Reason) {
		loss.Asked, loss.Steady = 0, false
	}
	return s.lost(loss, true)
}

// respond answers a request. Any goroutine may call it.
func (s *Subscription) respond(w sipx.ResponseWriter, res *sipx.Response) {
	if err := w.Respond(res); err != nil {
		s.log.Warn("a NOTIFY was not answered", "error", err)
	}
}
