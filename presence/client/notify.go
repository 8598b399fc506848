package client

import (
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/rlmi"
	"github.com/openblustar/blustar/sipx"
)

const typeMultipart = "multipart/related"

// Read implements [subscriber.Watcher].
func (s *subscription) Read(req *sipx.Request, state subscriber.SubscriptionState) (string, func() (*sipx.Response, func())) {
	documents, refusal := readBody(req, s.c.cfg.Standard)
	var entity string
	if s.ordersEntities() {
		entity = normal(req.From.URI.String())
		if len(documents) > 0 {
			entity = normal(documents[0].presence.Entity)
		}
	}
	return entity, func() (*sipx.Response, func()) {
		res := sipx.NewResponse(200)
		if refusal != nil {
			res = refusal
			s.c.log.Warn("NOTIFY with a body that cannot be used", "status", res.Status, "reason", res.ReasonPhrase())
			if state.State != subscriber.Terminated {
				return res, nil
			}
		}
		notifications := s.notifications(req, state, documents)
		return res, func() {
			for _, n := range notifications {
				s.deliver(n)
			}
		}
	}
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
		return pidf.TypePIDF + ", " + rlmi.MediaType + ", " + typeMultipart
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
