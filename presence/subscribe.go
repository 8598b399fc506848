package presence

import (
	"context"
	"strings"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/sipx"
)

// subscription is a SUBSCRIBE on its way through the server.
type subscription struct {
	req     *sipx.Request
	dialect *Dialect
	contact sipx.Address
	expires time.Duration // granted
	routes  []string
	id      auth.Identity

	watchers bool // Event: presence.winfo
}

// subscribe handles a SUBSCRIBE and returns its response, and what to do once
// that has left.
func (s *Server) subscribe(ctx context.Context, req *sipx.Request) (*sipx.Response, func(), error) {
	sub := &subscription{req: req}
	event, ok := sipx.ParseEvent(req.Header.Get("Event"))
	media := typePIDF
	switch {
	case ok && event.Package == eventPresence:
	case ok && event.Package == eventWatchers:
		media, sub.watchers = typeWatcherInfo, true
	default:
		return s.badEvent(), nil, nil
	}
	var err error
	if sub.contact, err = oneContact(req); err != nil {
		return nil, nil, err
	}
	switch tag := req.From.Tag(); {
	case tag == "":
		return nil, nil, sipx.Errorf(400, "From without tag")
	case len(tag) > maxToken, len(event.ID) > maxToken:
		return nil, nil, sipx.Errorf(400, "a tag or event id of more than %d bytes", maxToken)
	}
	if sub.routes, err = recordRoutes(req); err != nil {
		return nil, nil, err
	}
	var d *dialog
	sub.dialect = s.dialectOf(req, sub.contact)
	if req.To.Tag() != "" {
		if d = s.dialogs.find(req); d == nil {
			return s.unknownDialog(req), nil, nil
		}
		sub.dialect = d.dialect
		if d.event != event.String() {
			return sipx.NewResponse(481), nil, nil // RFC 6665 §4.5.2: another subscription
		}
	}
	if sub.expires, err = s.granted(req, s.cfg.MaxSubscribeExpires); err != nil {
		return nil, nil, err
	}
	if !sub.dialect.AnyAccept && !accepts(req.Header, media) {
		return sipx.NewResponse(406, sipx.Field{Name: "Accept", Value: media}), nil, nil
	}
	id, refused := s.check(ctx, req, sub.contact, sub.dialect)
	if refused != nil {
		return refused, nil, nil
	}
	sub.id = id
	if d != nil {
		return s.resubscribe(ctx, d, sub)
	}
	return s.open(ctx, sub, event)
}

// unknownDialog answers a SUBSCRIBE in a dialog that is not there. A client may
// end what has ended with it a moment before (BSP-2.2-2).
func (s *Server) unknownDialog(req *sipx.Request) *sipx.Response {
	if n, ok := sipx.Seconds(req.Header.Get("Expires")); !ok || n != 0 || !s.dialogs.hasEnded(req) {
		return sipx.NewResponse(481)
	}
	return sipx.NewResponse(200,
		sipx.Field{Name: "Contact", Value: s.contact(req.Flow)},
		sipx.Field{Name: "Expires", Value: "0"})
}

// open makes a new subscription.
func (s *Server) open(ctx context.Context, sub *subscription, event sipx.Event) (*sipx.Response, func(), error) {
	uris, list, err := s.listOf(sub.req)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case !list:
		uris = []string{s.presentityURI(sub.req)}
	case !sub.dialect.ListByEntry && !knowsEventLists(sub.req):
		return sipx.NewResponse(421, sipx.Field{Name: "Require", Value: extEventList}), nil, nil
	}
	user, watched, err := s.whoAndWhat(ctx, sub, uris)
	if err != nil {
		return nil, nil, err
	}
	if sub.watchers {
		if err := mayWatchWatchers(sub.id, user, watched[0], list); err != nil {
			return nil, nil, err
		}
	}
	if s.watching.Add(int64(len(watched))) > int64(s.cfg.MaxSubscriptions) && sub.expires > 0 {
		s.watching.Add(-int64(len(watched)))
		return overloaded("too many subscriptions"), nil, nil
	}
	d := s.newDialog(sub, event, list)
	d.watches = s.newWatches(d, watched, sub.id)
	if sub.watchers {
		d.watches[0].watchers = true
		d.watches[0].presentity.listNow()
	}
	if sub.expires == 0 {
		s.watching.Add(-int64(len(watched)))
		return d.granted(sub), func() { s.fetch(d) }, nil
	}
	s.dialogs.add(d, d.flow)
	s.addWatches(d.watches)
	if sub.dialect.ClientLife && !sub.watchers {
		if err := s.joinClient(d, sub, user, watched[0]); err != nil {
			s.unlink(d)
			return nil, nil, err
		}
		if !s.dialogs.live(d) { // its connection has closed meanwhile
			s.departed(s.clients.leave(d), "its connection is gone", reasonTimeout)
		}
	}
	return d.granted(sub), func() { s.begin(d, sub.expires) }, nil
}

// begin starts a new dialog once its 200 has left: nothing was sent before,
// because d.draining was set.
func (s *Server) begin(d *dialog, expires time.Duration) {
	s.restart(d, expires)
	d.mu.Lock()
	for _, w := range d.watches {
		w.force = true
		d.push(w)
	}
	d.mu.Unlock()
	if d.isOwn() {
		s.update(d.first()) // its services have opened
	}
	s.drain(d)
}

// fetch shows the state once.
func (s *Server) fetch(d *dialog) {
	d.mu.Lock()
	if d.list {
		d.fetch = true
		for _, w := range d.watches {
			w.force = true
			d.push(w)
		}
	} else {
		d.state, d.final = dialogEnding, reasonTimeout
	}
	watches := d.watches
	d.mu.Unlock()
	s.drain(d)
	for _, w := range watches {
		s.presentities.release(w.presentity)
	}
}

// first is the first presentity that d watches.
func (d *dialog) first() *presentity {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.watches[0].presentity
}

func (d *dialog) isOwn() bool {
	d.server.clients.mu.Lock()
	defer d.server.clients.mu.Unlock()
	return d.own
}

// granted is the 200 to a SUBSCRIBE.
func (d *dialog) granted(sub *subscription) *sipx.Response {
	res := sipx.NewResponse(200,
		sipx.Field{Name: "Contact", Value: d.contact},
		sipx.Field{Name: "Expires", Value: seconds(sub.expires)})
	for route := range sub.req.Header.Values("Record-Route") {
		res.Header.Add("Record-Route", route)
	}
	if d.list && !d.dialect.ListByEntry {
		res.Header.Add("Require", extEventList)
	}
	res.ToTag = d.localTag()
	return res
}

// newDialog makes the dialog of a SUBSCRIBE. It keeps no part of the request's
// memory.
func (s *Server) newDialog(sub *subscription, event sipx.Event, list bool) *dialog {
	req := sub.req
	return &dialog{
		server:    s,
		dialect:   sub.dialect,
		event:     eventText(event),
		list:      list,
		opener:    whoIs(sub.id),
		callID:    strings.Clone(req.CallID),
		local:     sipx.Address{URI: cloneURI(s.localURI(sub)), Params: tagParam + newTag()},
		remote:    sipx.Address{URI: cloneURI(req.From.URI), Params: tagParam + req.From.Tag()},
		contact:   s.contact(req.Flow),
		target:    cloneURI(sub.contact.URI),
		routes:    sub.routes,
		flow:      s.returnFlow(req, sub.contact.URI, len(sub.routes) > 0),
		remoteSeq: req.CSeq,
		draining:  true, // until the 200 has left
	}
}

func eventText(e sipx.Event) string {
	if e == (sipx.Event{Package: eventPresence}) {
		return eventPresence
	}
	return strings.Clone(e.String())
}
