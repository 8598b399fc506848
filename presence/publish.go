package presence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/sipx"
)

// publication is a live Publication with what the server keeps about it.
type publication struct {
	Publication
	// Of the Standard dialect.
	tuples   []pidf.Tuple // as they are passed on
	services ServiceState
	number   uint64      // tells those of a presentity apart
	expiry   *time.Timer // in the other clients expire
	// Of the BluStar dialect: the newest request that set its state.
	callID string
	cseq   uint32
	at     time.Time
}

// publishing is a PUBLISH on its way through the server.
type publishing struct {
	req     *sipx.Request
	dialect *Dialect
	contact sipx.Address // zero where a Standard client sent none
	at      endpoint
	expires time.Duration
	ifMatch string
	p       *presentity
	doc     *pidf.Presence // nil for a refresh
	own     Own            // what doc says
	keeps   bool           // doc leaves the note as it is
	ignored bool           // what doc says does not count: the client starts
}

// publish handles a PUBLISH (RFC 3903 §6, §2.4, §2.8).
func (s *Server) publish(ctx context.Context, req *sipx.Request) (*sipx.Response, func(), error) {
	event, ok := sipx.ParseEvent(req.Header.Get("Event"))
	forward := event.Package == eventLyncForwarding && s.cfg.Forward != nil
	if !ok || event.Package != eventPresence && !forward {
		return s.badEvent(), nil, nil
	}
	pub := &publishing{req: req, ifMatch: strings.TrimSpace(req.Header.Get("SIP-If-Match"))}
	var err error
	if req.Header.Count("Contact") > 0 {
		if pub.contact, err = oneContact(req); err != nil {
			return nil, nil, err
		}
	}
	pub.dialect = s.dialectOf(req, pub.contact)
	if pub.dialect.ContactAndExpires {
		for _, name := range []string{"Contact", "Expires"} {
			if req.Header.Count(name) == 0 {
				return nil, nil, sipx.Errorf(400, "%s is mandatory", name)
			}
		}
	}
	if pub.expires, err = s.granted(req, s.cfg.MaxPublishExpires); err != nil {
		return nil, nil, err
	}
	id, refused := s.check(ctx, req, pub.contact, pub.dialect)
	if refused != nil {
		return refused, nil, nil
	}
	pub.at = endpointOf(req, pub.contact.URI, id)
	whose := req.To
	if forward {
		whose = req.From // BSP-2.4-6
	}
	if pub.p, err = s.presentityOf(ctx, whose); err != nil {
		return nil, nil, err
	}
	defer s.presentities.release(pub.p)
	pub.p.mu.Lock()
	entry := pub.p.entry
	pub.p.mu.Unlock()
	if !mayActFor(id, &entry) {
		return nil, nil, sipx.Errorf(403, "that is another user's presence")
	}
	if forward {
		return s.publishForward(ctx, pub, entry)
	}
	if err := pub.read(s.cfg.MaxNote); err != nil {
		return nil, nil, err
	}
	return s.apply(ctx, pub)
}

// presentityOf returns the presentity of a PUBLISH, referred to once more.
func (s *Server) presentityOf(ctx context.Context, whose sipx.Address) (*presentity, error) {
	a, err := directory.ParseAddress(bareURI(whose.URI))
	if err != nil {
		return nil, sipx.Errorf(404, "no such user")
	}
	r := s.lookup(ctx, []directory.Address{a})[0]
	switch {
	case r.Err == nil:
		return s.presentities.of(a, r), nil
	case errors.Is(r.Err, directory.ErrNotFound), errors.Is(r.Err, directory.ErrAmbiguous):
		return nil, sipx.Errorf(404, "no such user")
	}
	return nil, sipx.Errorf(503, "the directory does not answer")
}

// read decodes the body.
func (pub *publishing) read(maxNote int) error {
	req := pub.req
	if len(req.Body) == 0 || pub.expires == 0 {
		return nil
	}
	if sipx.MediaType(req.Header.Get("Content-Type")) != typePIDF {
		return unsupportedType(typePIDF)
	}
	doc, err := pidf.Decode(req.Body)
	if err != nil {
		return sipx.Errorf(400, "%v", err)
	}
	pub.doc = doc
	owner := req.Flow.Remote.String()
	if !pub.contact.URI.IsZero() {
		owner = contactKey(pub.contact.URI)
	}
	pub.own, pub.keeps, err = ownOf(doc, owner, maxNote, time.Now())
	return err
}

// apply carries a PUBLISH out, one of a presentity at a time.
func (s *Server) apply(ctx context.Context, pub *publishing) (*sipx.Response, func(), error) {
	p := pub.p
	p.publishing.Lock()
	defer p.publishing.Unlock()
	current, err := p.matching(pub)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case pub.expires == 0:
		return s.unpublish(ctx, pub, current)
	case pub.doc == nil && current == nil:
		return nil, nil, sipx.Errorf(400, "a refresh without a publication")
	case pub.dialect.SharedPublication:
		return s.publishShared(ctx, pub, current)
	}
	return s.publishOwn(ctx, pub, current)
}

// matching finds the publication that a PUBLISH is about: the one that it names,
// whose dialect it takes; or the one that the clients of a user share.
func (p *presentity) matching(pub *publishing) (*publication, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pub.ifMatch != "" {
		for _, c := range p.pubs {
			if c.ETag == pub.ifMatch {
				pub.dialect = dialectNamed(c.Dialect)
				return c, nil
			}
		}
		if !pub.dialect.SharedPublication || pub.doc == nil && pub.expires > 0 {
			return nil, sipx.Errorf(412, "")
		}
		pub.ifMatch = "" // BSP-2.4-5, BSP-2.2-2: a status and an end count all the same
	}
	if pub.dialect.SharedPublication {
		return p.shared(), nil
	}
	return nil, nil
}

// shared returns the publication that the clients share, or nil. p.mu is held.
func (p *presentity) shared() *publication {
	for _, c := range p.pubs {
		if c.Dialect == bluStar.Name {
			return c
		}
	}
	return nil
}

func dialectNamed(name string) *Dialect {
	if name == bluStar.Name {
		return bluStar
	}
	return standard
}

// publishShared handles the PUBLISH of one of the clients that share a
// publication (BSP-2.4-1 to 2.4-4, BSP-2.8-1).
func (s *Server) publishShared(ctx context.Context, pub *publishing, current *publication) (*sipx.Response, func(), error) {
	p := pub.p
	now := time.Now()
	next := &publication{Publication: Publication{
		Presentity: p.key, ETag: newSharedTag(), Dialect: pub.dialect.Name, Own: pub.own, Expires: now.Add(pub.expires),
	}}
	replaces := ""
	if current != nil {
		*next = *current
		replaces = current.ETag
		if next.Expires.Before(now.Add(pub.expires)) {
			next.Expires = now.Add(pub.expires)
		}
	}
	key := clientKey{user: p.key, contact: pub.at.contact}
	if current != nil && pub.overtakenBy(current, now) {
		return nil, nil, sipx.Errorf(500, "CSeq out of order")
	}
	pub.ignored = current != nil && pub.doc != nil && pub.ifMatch == "" && s.clients.starts(key, pub.at)
	out := false
	if current == nil || pub.honored() {
		out = pub.own.Status == pidf.StatusSignedOut
		switch {
		case !out || !s.clients.othersIn(p, key): // else their status stays (BSP-4.3-3)
			next.Own = pub.own
			if pub.keeps && current != nil {
				next.Own.Note = current.Own.Note
			}
		case current == nil:
			next.Own.Status, next.Own.Meaning, next.Own.Note = pidf.StatusUnknown, "", ""
		}
		next.callID, next.cseq, next.at = strings.Clone(pub.req.CallID), pub.req.CSeq, now
	}
	if !s.clients.room(key, pub.at, p) {
		return nil, nil, sipx.Errorf(403, "too many clients of one user")
	}
	var err error
	if next.Revision, err = s.cfg.Store.Put(ctx, next.Publication, replaces); err != nil {
		return nil, nil, s.storeFailed(err)
	}
	var services *ServiceState
	if pub.doc != nil {
		st := servicesOf(pub.doc)
		if out {
			st = ServiceState{}
		}
		services = &st
	}
	next.expiry = s.after(next.Expires.Sub(now), func() { s.publicationExpired(p, next) })
	s.clients.publish(key, pub.at, p, services, out, now.Add(pub.expires), pub.req.Header.Get("User-Agent"))
	notify := s.swap(p, current, next)
	if !pub.ignored {
		return s.publishedOK(pub, next.ETag), notify, nil
	}
	return s.publishedOK(pub, next.ETag), func() {
		s.remind(p, key)
		notify()
	}, nil
}

// honored reports whether the status in a PUBLISH counts. Where its client starts
// it does not (BSP-2.4-3), nor in tuples alone, which say what the client can do
// (BSP-4.3-5), not what its user does.
func (pub *publishing) honored() bool {
	return pub.doc != nil && !pub.ignored && len(pub.doc.Persons) > 0
}

// overtakenBy reports whether a newer request of the same client has overtaken
// this one on its way. RFC 3903 leaves that to the entity-tag, which stays the
// same here.
func (pub *publishing) overtakenBy(current *publication, now time.Time) bool {
	return pub.doc != nil && current.callID == pub.req.CallID && pub.req.CSeq < current.cseq && now.Sub(current.at) < 32*time.Second
}

// remind tells a client whose status was ignored what is shown instead.
func (s *Server) remind(p *presentity, key clientKey) {
	for _, d := range s.clients.ownDialogs(key) {
		d.mu.Lock()
		i := slices.IndexFunc(d.watches, func(w *watch) bool { return w.presentity == p })
		var w *watch
		if i >= 0 {
			w = d.watches[i]
		}
		d.mu.Unlock()
		if w != nil {
			s.enqueue(d, true, w)
			return
		}
	}
}

// publishOwn handles the PUBLISH of a client with a publication of its own
// (RFC 3903 §6).
func (s *Server) publishOwn(ctx context.Context, pub *publishing, current *publication) (*sipx.Response, func(), error) {
	p := pub.p
	now := time.Now()
	next := &publication{Publication: Publication{
		Presentity: p.key, Dialect: pub.dialect.Name, Own: pub.own, Document: pub.req.Body,
	}}
	replaces := ""
	if current != nil {
		replaces = current.ETag
		next.Revision, next.number = current.Revision, current.number
		if pub.doc == nil {
			next.Own, next.Document = current.Own, current.Document
			next.tuples, next.services = current.tuples, current.services
		}
	} else {
		p.mu.Lock()
		full := len(p.pubs) >= s.cfg.MaxPublications
		p.numbered++
		next.number = p.numbered
		p.mu.Unlock()
		if full {
			return nil, nil, sipx.Errorf(403, "too many publications of one user")
		}
	}
	if p.publishedBytes(current)+len(next.Document) > maxPublished {
		return nil, nil, sipx.Errorf(413, "more than %d bytes published by one user", maxPublished)
	}
	if pub.doc != nil {
		next.services = servicesOf(pub.doc)
		next.tuples = tuplesOf(pub.doc, next.number)
	}
	next.ETag, next.Expires = newTag(), now.Add(pub.expires)
	var err error
	if next.Revision, err = s.cfg.Store.Put(ctx, next.Publication, replaces); err != nil {
		return nil, nil, s.storeFailed(err)
	}
	next.expiry = s.after(pub.expires, func() { s.publicationExpired(p, next) })
	return s.publishedOK(pub, next.ETag), s.swap(p, current, next), nil
}

// maxPublished bounds the documents of one presentity's publications together,
// in bytes: what is passed on of them must fit a datagram.
const maxPublished = 32 << 10

// publishedBytes is the size of the documents published, but for one
// publication.
func (p *presentity) publishedBytes(but *publication) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, c := range p.pubs {
		if c != but {
			n += len(c.Document)
		}
	}
	return n
}

// swap puts next in the place of current, either of which may be nil, and
// returns what notifies the watchers. p.publishing is held, and must not be when
// that is called: a NOTIFY that fails at once can end a client of p.
func (s *Server) swap(p *presentity, current, next *publication) func() {
	p.mu.Lock()
	if current != nil {
		stopTimer(&current.expiry)
		p.pubs = slices.DeleteFunc(p.pubs, func(c *publication) bool { return c == current })
		s.presentities.release(p) // never the last reference: the caller has one
	}
	if next != nil {
		p.pubs = append(p.pubs, next)
		s.presentities.retain(p)
	}
	due := p.refresh()
	p.mu.Unlock()
	return func() { s.notify(due) }
}

// publishedOK is the 200 to a PUBLISH (BSP-2.4-1).
func (s *Server) publishedOK(pub *publishing, etag string) *sipx.Response {
	return sipx.NewResponse(200,
		sipx.Field{Name: "Contact", Value: s.contact(pub.req.Flow)},
		sipx.Field{Name: "Expires", Value: seconds(pub.expires)},
		sipx.Field{Name: "SIP-ETag", Value: etag})
}

// unpublish handles Expires 0: it ends the client (BSP-2.2-2), or in the
// Standard dialect just the publication.
func (s *Server) unpublish(ctx context.Context, pub *publishing, current *publication) (*sipx.Response, func(), error) {
	p := pub.p
	if pub.dialect.ClientLife {
		etag := newSharedTag()
		if current != nil {
			etag = current.ETag
		}
		return s.publishedOK(pub, etag), s.signOut(p, pub.at), nil
	}
	if current == nil {
		return nil, nil, sipx.Errorf(400, "Expires 0 without SIP-If-Match")
	}
	if err := s.cfg.Store.Delete(ctx, p.key, current.ETag); err != nil && !errors.Is(err, ErrNoPublication) {
		return nil, nil, s.storeFailed(err)
	}
	return s.publishedOK(pub, newTag()), s.swap(p, current, nil), nil
}

// signOut ends a client by its own wish, and returns what notifies it and the
// watchers. It has ended before it gets its 200: what it sends next is the
// beginning of another life. p.publishing is held.
func (s *Server) signOut(p *presentity, at endpoint) func() {
	c := s.clients.lookup(clientKey{user: p.key, contact: at.contact}, at)
	if c == nil {
		return nil
	}
	gone := s.clients.end(c)
	if gone == nil {
		return nil
	}
	s.dismiss(gone, "it signed out", reasonTimeout)
	if gone.user == nil {
		return func() { s.farewell(gone) }
	}
	notify := s.settle(gone.user) // which is p: that is in the key
	return func() {
		notify()
		s.presentities.release(gone.user)
		s.farewell(gone)
	}
}

// publicationExpired ends a publication that was not refreshed. With the one that
// clients share those end that only publish; the others have not said anything
// since.
func (s *Server) publicationExpired(p *presentity, pub *publication) {
	s.presentities.retain(p)
	defer s.presentities.release(p)
	if pub.Dialect == bluStar.Name {
		for _, c := range s.clients.liveOf(p) {
			if s.clients.onlyPublished(c, pub.Expires) {
				s.endClient(c, publicationExpired, reasonTimeout)
			}
		}
	}
	p.publishing.Lock()
	p.mu.Lock()
	live := slices.Contains(p.pubs, pub)
	p.mu.Unlock()
	notify := func() {}
	if live {
		s.deleteStored(p, pub)
		notify = s.swap(p, pub, nil)
	}
	p.publishing.Unlock()
	notify()
}

const publicationExpired = "its publication expired"

// settle sees to a user after one of their clients has ended: where it was the
// last, what the clients published ends with it and the user is signed out
// (BSP-2.2-3); else only the services may have changed (BSP-2.2-4), and the status
// where all that remain have published that they are signed out. It returns what
// notifies the watchers. p.publishing is held, and the caller has a reference to
// p.
func (s *Server) settle(p *presentity) func() {
	p.mu.Lock()
	shared := p.shared()
	p.mu.Unlock()
	if s.clients.alive(p) {
		if shared == nil || s.clients.othersIn(p, clientKey{}) {
			return s.swap(p, nil, nil)
		}
		next := *shared
		next.Own = signedOut(time.Now())
		if revision, err := s.cfg.Store.Put(s.ctx, next.Publication, shared.ETag); err == nil {
			next.Revision = revision
		} else {
			s.cfg.Logger.Error("publication store", "presentity", p.key, "error", err)
		}
		next.expiry = s.after(time.Until(next.Expires), func() { s.publicationExpired(p, &next) })
		return s.swap(p, shared, &next)
	}
	if shared != nil {
		s.deleteStored(p, shared)
	}
	return s.swap(p, shared, nil)
}

func (s *Server) deleteStored(p *presentity, pub *publication) {
	err := s.cfg.Store.Delete(s.ctx, p.key, pub.ETag)
	if err != nil && !errors.Is(err, ErrNoPublication) {
		s.cfg.Logger.Error("publication stays in the store until it expires", "presentity", p.key, "error", err)
	}
}

func (s *Server) storeFailed(err error) error {
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrNoPublication) {
		return sipx.Errorf(412, "")
	}
	s.cfg.Logger.Error("publication store", "error", err)
	return fmt.Errorf("%w: %w", &sipx.Error{Status: 503, Reason: "publications are not available"}, err)
}
