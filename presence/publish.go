package presence

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// publish handles a PUBLISH (RFC 3903 §6, §2.4, §2.8).
func (s *Server) publish(ctx context.Context, x *exchange) error {
	req := x.req
	event, ok := sipx.ParseEvent(req.Header.Get("Event"))
	forward := event.Package == eventLyncForwarding && s.cfg.Forward != nil
	if !ok || event.Package != eventPresence && !forward {
		return s.badEvent()
	}
	pub := &x.publishing
	pub.exchange, pub.ifMatch = x, strings.TrimSpace(req.Header.Get("SIP-If-Match"))
	var err error
	if req.Header.Count("Contact") > 0 {
		if pub.contact, err = subscription.ContactOf(req); err != nil {
			return err
		}
		pub.owner = contactKey(pub.contact.URI)
	} else {
		pub.owner = req.Flow.Remote.String()
	}
	pub.dialect = s.dialectOf(x)
	if pub.dialect.ContactAndExpires {
		for _, name := range []string{"Contact", "Expires"} {
			if req.Header.Count(name) == 0 {
				return sipx.Errorf(400, "%s is mandatory", name)
			}
		}
	}
	if pub.expires, err = s.granted(req, s.cfg.MaxPublishExpires); err != nil {
		return err
	}
	if err := s.check(ctx, x); err != nil {
		return err
	}
	if s.isKnown(x) {
		pub.dialect = bluStar
	}
	whose := req.To
	if forward {
		whose = req.From // BSP-2.4-6
	}
	pub.address = bareURI(whose.URI)
	entry, err := s.published(ctx, pub.address, partyOf(req, x.id))
	if err != nil {
		return err
	}
	if !mayActFor(x.id, &entry) {
		err := sipx.Errorf(403, "that is another user's presence")
		if bareURI(req.From.URI) == pub.address {
			return s.notOneself(ctx, x, err)
		}
		return err
	}
	pub.p = s.presentities.pin(&entry)
	defer s.presentities.unpin(pub.p)
	pub.until = time.Now().Add(pub.expires)
	if forward {
		return s.forward(ctx, pub, entry)
	}
	pub.loan = s.loan()
	defer s.takeBack(pub.loan)
	if err := s.read(pub); err != nil {
		return err
	}
	switch c := s.named(pub); {
	case c != nil: // the dialect that it was opened in
		pub.dialect = dialectOfRule(c.Rule)
	case pub.dialect.SharedPublication && (pub.doc != nil || pub.expires == 0):
		pub.ifMatch = "" // an old one: a status and an end count all the same (§2.4, §2.2)
	}
	if pub.dialect.SharedPublication {
		c := s.clientOf(x, pub.p.id)
		if s.cluster != nil {
			if node := s.clients.nodeOf(c); node != "" {
				return s.passTo(ctx, x, node)
			}
		}
		return s.publishShared(pub, c)
	}
	return s.publishOwn(pub)
}

// published looks up whose presence is published.
func (s *Server) published(ctx context.Context, address string, who party) (directory.Entry, error) {
	a, err := directory.ParseAddress(address)
	if err != nil {
		return directory.Entry{}, sipx.Errorf(404, "no such user")
	}
	r := s.lookups.one(ctx, who, a)
	switch {
	case r.Err == nil:
		return r.Entry, nil
	case isNobody(r.Err):
		return r.Entry, sipx.Errorf(404, "no such user")
	}
	return r.Entry, sipx.Errorf(503, "the directory does not answer")
}

// named returns the publication that SIP-If-Match names, or nil. Usually the newest snapshot has
// it.
func (s *Server) named(pub *publishing) *publication.Contribution {
	if pub.ifMatch == "" {
		return nil
	}
	is := func(c *publication.Contribution) bool {
		return c.ETag == pub.ifMatch && c.Rule != publication.Forwarding
	}
	said := pub.p.current.Load().said
	i := slices.IndexFunc(said, is)
	if i < 0 {
		said = s.publications.Of(pub.p.id)
		i = slices.IndexFunc(said, is)
	}
	if i < 0 {
		return nil
	}
	return said[i]
}

// read decodes the body.
func (s *Server) read(pub *publishing) error {
	req := pub.req
	if len(req.Body) == 0 || pub.expires == 0 {
		return nil
	}
	if sipx.MediaType(req.Header.Get("Content-Type")) != typePIDF {
		return unsupportedType(typePIDF)
	}
	body, err := req.Body, error(nil)
	if charset, _ := sipx.ParamOf(req.Header.Get("Content-Type"), "charset"); charset != "" {
		body, err = pidf.UTF8(body, charset) // it will be read again without its Content-Type
	}
	if err == nil {
		pub.doc, err = pidf.Decoder{Types: aa.Types(), Room: &pub.loan.room}.Decode(body)
	}
	if err != nil {
		return sipx.Errorf(400, "%v", err)
	}
	pub.body = body
	return s.saidOf(pub)
}

// saidOf reads what a published document says of its user: the status of aa:blustar if it has one
// (§4.3), else what RFC 4480 and RFC 3863 say.
func (s *Server) saidOf(pub *publishing) error {
	doc, said, now := pub.doc, &pub.said, time.Now()
	said.Timestamp = now
	note := ""
	for i := range doc.Persons {
		sources := aa.PresenceOf(&doc.Persons[i])
		if sources == nil || sources.BluStar == nil {
			continue
		}
		b := sources.BluStar
		known := slices.Index(statuses, b.Status)
		if known < 0 {
			return sipx.Errorf(400, "aa:status %q is not in the schema", string(b.Status))
		}
		said.Status = statuses[known] // the document must not stay for it, nor for the note
		if b.Note != nil {
			said.Note = strings.Clone(strings.TrimSpace(b.Note.Text))
		}
		said.KeepNote = b.Note == nil // an empty one deletes
		if !b.Timestamp.IsZero() {
			said.Timestamp = b.Timestamp
		}
		note = said.Note
		break
	}
	if said.Status == "" {
		o := s.original(pub)
		said.Body, said.Reading, note = pub.body, o, o.Note(now)
	}
	if len(note) > s.cfg.MaxNote {
		return sipx.Errorf(413, "a note is longer than %d bytes", s.cfg.MaxNote)
	}
	return nil
}

// original makes an original of a published document. If somebody watches the user, the document is lent to those who
// write NOTIFYs. With Config.Decorate it is not: takeBack would wait for the host.
func (s *Server) original(pub *publishing) *original {
	o := newOriginal(pub.doc, pub.body)
	if s.cfg.Decorate == nil && pub.p.watching.Load() > 0 {
		pub.loan.lend(o, pub.doc)
	}
	return o
}

// publishShared handles the PUBLISH of one of the clients that share a publication
// (§2.4, §2.8).
func (s *Server) publishShared(pub *publishing, c *client) error {
	p := pub.p
	if pub.expires == 0 { // it signs out (§2.2), before its 200: with what it sends next it begins anew
		etag := "0"
		if shared := s.publications.One(p.id, publication.Shared); shared != nil {
			etag = shared.ETag
		}
		gone := s.takeOut(c, "it signed out", nil)
		due := p.renew() // who asks after the 200 is shown it
		pub.accept(etag)
		subscription.Notify(due)
		gone.announce(false)
		return nil
	}
	var services consolidation.Services
	var said *publication.Said
	if pub.doc != nil {
		services = servicesOf(pub.doc)
		if pub.said.Status != "" { // else its tuples only tell what the client can do
			said = &pub.said
		}
	}
	done, ignored, err := s.clients.publish(c, services, publication.Request{
		Presentity: p.id, Address: pub.address, Owner: pub.owner, Rule: publication.Shared, IfMatch: pub.ifMatch, Expires: pub.until,
		Said: said, Body: pub.doc != nil, CallID: pub.req.CallID, CSeq: pub.req.CSeq,
	})
	if err != nil {
		s.clients.forget(c)
		return publishError(err)
	}
	if err := s.settle(pub, done.now.ETag, nil, func() { s.undo(done) }); err != nil {
		return err
	}
	if ignored {
		s.showOwn(c, p)
	}
	return nil
}

// showOwn sends a client what its user is shown as.
func (s *Server) showOwn(c *client, p *presentity) {
	for _, m := range slices.Backward(s.clients.ownOf(c)) { // the newest first: it may have crashed
		for _, w := range m.dialog.Watches() {
			if w.Resource() == p {
				w.Dialog().ShowAgain(w)
				return
			}
		}
	}
}

// publishOwn handles the PUBLISH of a client with a publication of its own
// (RFC 3903 §6).
func (s *Server) publishOwn(pub *publishing) error {
	p := pub.p
	if pub.expires == 0 {
		if pub.ifMatch == "" {
			return sipx.Errorf(400, "Expires 0 without SIP-If-Match")
		}
		c := s.named(pub)
		if err := s.publications.Remove(p.id, pub.ifMatch); err != nil {
			return publishError(err)
		}
		return s.settle(pub, pub.ifMatch, func() bool { return c != nil && s.cluster.beaten(publicationRef{p.id, c.Number}, "") }, func() {
			if c != nil {
				s.publications.Revert(nil, c)
			}
		})
	}
	var said *publication.Said
	if pub.doc != nil {
		if said = &pub.said; said.Reading == nil { // an aa:blustar does not count here
			said.Body, said.Reading = pub.body, s.original(pub)
		}
	}
	c, before, err := s.publications.Publish(publication.Request{
		Presentity: p.id, Address: pub.address, Owner: pub.owner, Rule: publication.Separate, IfMatch: pub.ifMatch, Expires: pub.until, Said: said,
		CallID: pub.req.CallID, CSeq: pub.req.CSeq,
	})
	if err != nil {
		return publishError(err)
	}
	beaten := func() bool { return pub.ifMatch != "" && s.cluster.beaten(publicationRef{p.id, c.Number}, c.ETag) }
	return s.settle(pub, c.ETag, beaten, func() { s.publications.Revert(c, before) })
}

// settle answers a PUBLISH that has been carried out, and notifies. If the store does not take it, settle calls
// undo and refuses it. Something else may have changed meanwhile, so that watchers were shown it: they are shown
// what is true now. beaten reports whether another node was faster; it may be nil.
func (s *Server) settle(pub *publishing, etag string, beaten func() bool, undo func()) error {
	if s.journal.wait(s.ctx) != nil {
		undo()
		pub.p.update()
		return &refused{overloaded("not stored")}
	}
	due := pub.p.renew()
	if beaten != nil && beaten() {
		pub.answer(sipx.NewResponse(412))
	} else {
		pub.accept(etag)
	}
	subscription.Notify(due)
	return nil
}

// publicationExpired is called with each publication that was not refreshed.
func (s *Server) publicationExpired(c *publication.Contribution) {
	p := s.presentities.find(c.Presentity)
	if p == nil {
		return
	}
	if c.Rule == publication.Forwarding {
		s.start(func() { s.endForwarding(p) })
	}
	p.renewThen(true, p.mayBeIdle)
}

// contributionChanged has the records of what is published written.
func (s *Server) contributionChanged(before, after *publication.Contribution) {
	if before != nil {
		s.journal.mark(publicationRef{before.Presentity, before.Number})
	}
	if after != nil && (before == nil || after.Number != before.Number) {
		s.journal.mark(publicationRef{after.Presentity, after.Number})
	}
}
