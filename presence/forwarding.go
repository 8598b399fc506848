package presence

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// forward handles Event: lyncforwarding (§4.3).
func (s *Server) forward(ctx context.Context, pub *publishing, entry directory.Entry) error {
	p := pub.p
	destination := bareURI(pub.req.To.URI)
	if to, err := directory.ParseAddress(destination); err != nil {
		return sipx.Errorf(400, "To is no address to forward to")
	} else if from, err := directory.ParseAddress(bareURI(pub.req.From.URI)); err == nil && from == to {
		destination = ""
	}
	if pub.expires == 0 {
		destination = ""
	}
	p.forwarding.Lock()
	defer p.forwarding.Unlock()
	goesBy := func(c *publication.Contribution) bool { return c.ETag == pub.ifMatch && c.Rule != publication.Separate }
	if pub.ifMatch != "" && !slices.ContainsFunc(s.publications.Of(p.id), goesBy) {
		return sipx.Errorf(412, "")
	}
	if err := s.cfg.Forward.Forward(ctx, entry, destination); err != nil {
		if errors.Is(err, ErrRefused) {
			return sipx.Errorf(403, "forwarding was refused")
		}
		s.cfg.Logger.Error("forwarding", "presentity", p.id, "error", err)
		return sipx.Errorf(503, "forwarding is not available")
	}
	etag := ""
	if destination == "" {
		if c := s.publications.RemoveOne(p.id, publication.Forwarding); c != nil {
			etag = c.ETag
		} else if shared := s.publications.One(p.id, publication.Shared); shared != nil {
			etag = shared.ETag
		} else {
			etag = "0"
		}
	} else {
		c, _, err := s.publications.Publish(publication.Request{
			Presentity: p.id, Address: pub.address, Owner: pub.owner, Rule: publication.Forwarding, IfMatch: pub.ifMatch, Expires: pub.until,
			Said: &publication.Said{Target: destination},
		})
		if err != nil {
			return publishError(err)
		}
		etag = c.ETag
	}
	due := p.renew()
	pub.accept(etag)
	subscription.Notify(due)
	return nil
}

// endForwarding ends a forwarding that was not refreshed, unless the user has another one by now.
func (s *Server) endForwarding(p *presentity) {
	p.forwarding.Lock()
	defer p.forwarding.Unlock()
	if s.publications.One(p.id, publication.Forwarding) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx, forwardTimeout)
	defer cancel()
	if err := s.cfg.Forward.Forward(ctx, *p.entry.Load(), ""); err != nil {
		s.cfg.Logger.Error("forwarding has expired, and could not be ended", "presentity", p.id, "error", err)
	}
}

// forwardTimeout bounds a call of the controller that no request waits for.
const forwardTimeout = 10 * time.Second
