package client

import (
	"errors"
	"strings"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/sipx"
)

const typeMultipart = "multipart/related"

// serveNotify answers a NOTIFY whose Call-ID is that of a dialog of s, and
// delivers what it says. The answer goes first: how long the host takes is not
// the server's business.
func (s *subscription) serveNotify(w sipx.ResponseWriter, req *sipx.Request) {
	s.delivery.Lock()
	defer s.delivery.Unlock()
	res, notifications := s.accept(req)
	if err := w.Respond(res); err != nil {
		s.c.log.Warn("NOTIFY not answered", "error", err)
	}
	for _, n := range notifications {
		s.deliver(n)
	}
	if s.hasEnded() {
		s.finish()
	}
}

// accept checks a NOTIFY (RFC 6665 §4.1.3) and takes note of what it says about
// the subscription.
func (s *subscription) accept(req *sipx.Request) (*sipx.Response, []Notification) {
	if event, ok := sipx.ParseEvent(req.Header.Get("Event")); !ok || event != (sipx.Event{Package: "presence"}) {
		return sipx.NewResponse(489, sipx.Field{Name: "Allow-Events", Value: "presence"}), nil
	}
	state, ok := parseState(req.Header.Get("Subscription-State"))
	if !ok {
		return sipx.Errorf(400, "Subscription-State missing").Response(), nil
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dialog
	if d == nil || d.callID != req.CallID || !d.matches(req) {
		return sipx.NewResponse(481), nil
	}
	documents, refusal := readBody(req, s.c.cfg.Standard)
	entity := normal(req.From.URI.String())
	if len(documents) > 0 {
		entity = normal(documents[0].presence.Entity)
	}
	terminated := state.State == Terminated
	switch err := d.order.check(entity, req.CSeq); {
	case errors.Is(err, errOld):
		return sipx.Errorf(500, "CSeq too low").Response(), nil // RFC 3261 §12.2.2
	case errors.Is(err, errRepeated):
		return sipx.NewResponse(200), nil
	case err != nil && !terminated:
		s.c.log.Warn("NOTIFY not delivered", "entity", entity, "error", err)
		return sipx.NewResponse(200), nil
	}

	if !d.notified && !s.refresh.IsZero() {
		s.keeper.at(s.refresh) // no need to look for the first NOTIFY
	}
	d.notifiedBy(req)
	s.c.notifiedOver(req.Flow)
	if terminated {
		s.terminated(state.Reason, state.RetryAfter)
	} else if ends := time.Now().Add(state.expires); state.expires > 0 && ends.Before(s.expires) {
		s.expires = ends // the server has shortened it
		s.keeper.sooner(time.Now().Add(refreshAfter(state.expires)))
	}
	res := sipx.NewResponse(200)
	if refusal != nil {
		res = refusal
		s.c.log.Warn("NOTIFY with a body that cannot be used", "status", res.Status, "reason", res.ReasonPhrase())
		if !terminated {
			return res, nil
		}
	}
	return res, s.notifications(req, state.Notification, documents)
}

// notifications are what a NOTIFY tells the host: one for each document, or one
// without a document.
func (s *subscription) notifications(req *sipx.Request, n Notification, documents []document) []Notification {
	n.Own, n.Received = s.own, time.Now()
	n.Entity = sipx.URI{Scheme: req.From.URI.Scheme, User: req.From.URI.User, Host: req.From.URI.Host}.String()
	if len(documents) == 0 {
		return []Notification{n}
	}
	list := make([]Notification, len(documents))
	for i, doc := range documents {
		list[i] = n
		list[i].Presence, list[i].Body = doc.presence, doc.body
		if doc.presence.Entity != "" {
			list[i].Entity = doc.presence.Entity
		}
	}
	return list
}

// subscriptionState is a Subscription-State field (RFC 6665 §8.2.3).
type subscriptionState struct {
	Notification // State, Reason and RetryAfter
	expires      time.Duration
}

func parseState(value string) (subscriptionState, bool) {
	var s subscriptionState
	s.State = SubscriptionState(sipx.MediaType(value))
	if s.State == "" {
		return s, false
	}
	reason, _ := sipx.ParamOf(value, "reason")
	s.Reason = strings.ToLower(reason)
	if len(s.Reason) > 64 {
		s.Reason = s.Reason[:64]
	}
	if v, ok := sipx.ParamOf(value, "retry-after"); ok {
		n, _ := sipx.Seconds(v)
		s.RetryAfter = min(seconds(n), maxRetryAfter)
	}
	if v, ok := sipx.ParamOf(value, "expires"); ok {
		n, _ := sipx.Seconds(v)
		s.expires = min(seconds(n), maxExpires)
	}
	return s, true
}

// A document is one presence document of a NOTIFY.
type document struct {
	presence *pidf.Presence
	body     []byte
}

// readBody reads the documents of a NOTIFY, or says how to answer it.
func readBody(req *sipx.Request, standard bool) ([]document, *sipx.Response) {
	if len(req.Body) == 0 {
		return nil, nil
	}
	contentType := req.Header.Get("Content-Type")
	switch media := sipx.MediaType(contentType); {
	case media == pidf.TypePIDF:
		p, err := pidf.Decode(req.Body)
		if err != nil {
			return nil, sipx.Errorf(400, "bad presence document").Response()
		}
		return []document{{p, req.Body}}, nil
	case media == typeMultipart && standard:
		return readList(contentType, req.Body)
	}
	return nil, sipx.NewResponse(415, sipx.Field{Name: "Accept", Value: accepted(standard)})
}

// accepted is what the client can read.
func accepted(lists bool) string {
	if lists {
		return pidf.TypePIDF + ", " + pidf.TypeRLMI + ", " + typeMultipart
	}
	return pidf.TypePIDF
}

// normal is the spelling in which addresses are compared (BSP-2.1-9).
func normal(uri string) string {
	if a, err := directory.ParseAddress(uri); err == nil {
		return a.String()
	}
	return uri
}
