package client

import (
	"errors"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
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
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dialog
	if d == nil {
		return sipx.NewResponse(481), nil
	}
	state, res := d.Check(req, "presence")
	if res != nil {
		return res, nil
	}
	documents, refusal := readBody(req, s.c.cfg.Standard)
	entity := normal(req.From.URI.String())
	if len(documents) > 0 {
		entity = normal(documents[0].presence.Entity)
	}
	terminated := state.State == subscriber.Terminated
	switch err := d.next(entity, req.CSeq); {
	case errors.Is(err, subscriber.ErrOld):
		return sipx.Errorf(500, "CSeq too low").Response(), nil // RFC 3261 §12.2.2
	case errors.Is(err, subscriber.ErrRepeated):
		return sipx.NewResponse(200), nil
	case err != nil && !terminated:
		s.c.log.Warn("NOTIFY not delivered", "entity", entity, "error", err)
		return sipx.NewResponse(200), nil
	}

	if !d.Notified() && !s.refresh.IsZero() {
		s.keeper.at(s.refresh) // no need to look for the first NOTIFY
	}
	d.Take(req)
	s.c.notifiedOver(req.Flow)
	if terminated {
		s.terminated(state)
	} else if ends := time.Now().Add(state.Expires); state.Expires > 0 && ends.Before(s.expires) {
		s.expires = ends // the server has shortened it
		s.keeper.sooner(time.Now().Add(subscriber.RefreshAfter(state.Expires)))
	}
	res = sipx.NewResponse(200)
	if refusal != nil {
		res = refusal
		s.c.log.Warn("NOTIFY with a body that cannot be used", "status", res.Status, "reason", res.ReasonPhrase())
		if !terminated {
			return res, nil
		}
	}
	return res, s.notifications(req, state, documents)
}

// notifications are what a NOTIFY tells the host: one for each document, or one
// without a document.
func (s *subscription) notifications(req *sipx.Request, state subscriber.SubscriptionState, documents []document) []Notification {
	n := Notification{
		Entity:     sipx.URI{Scheme: req.From.URI.Scheme, User: req.From.URI.User, Host: req.From.URI.Host}.String(),
		Own:        s.own,
		State:      SubscriptionState(state.State),
		Reason:     state.Reason,
		RetryAfter: state.RetryAfter,
		Received:   time.Now(),
	}
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
		p, err := aa.Decode(req.Body)
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
