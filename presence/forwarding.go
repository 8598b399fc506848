package presence

import (
	"context"
	"errors"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/sipx"
)

// ForwardingController forwards a user's calls in the external system such as
// Lync (§4.3). It is safe for concurrent use; calls for one user come one at a
// time.
type ForwardingController interface {
	// Forward has calls to user forwarded to destination, a sip or tel URI;
	// empty ends it. An error of [ErrRefused] is answered 403, any other 503.
	Forward(ctx context.Context, user directory.Entry, destination string) error
}

// ErrRefused is what a [ForwardingController] returns, perhaps wrapped, for what
// it will not do.
var ErrRefused = errors.New("presence: refused")

// forwarding is a user's wish to have calls forwarded, while it lives.
type forwarding struct {
	destination string
	etag        string
	owner       string
	since       time.Time
	expiry      *time.Timer
}

// publishForward handles Event: lyncforwarding (BSP-4.3-6).
func (s *Server) publishForward(ctx context.Context, pub *publishing, entry directory.Entry) (*sipx.Response, func(), error) {
	p := pub.p
	destination := bareURI(pub.req.To.URI)
	if to, err := directory.ParseAddress(destination); err != nil {
		return nil, nil, sipx.Errorf(400, "To is no address to forward to")
	} else if from, err := directory.ParseAddress(bareURI(pub.req.From.URI)); err == nil && from == to {
		destination = ""
	}
	if pub.expires == 0 {
		destination = ""
	}
	p.publishing.Lock()
	defer p.publishing.Unlock()
	p.mu.Lock()
	etag, known := p.forwardTag(pub.ifMatch)
	p.mu.Unlock()
	if !known {
		return nil, nil, sipx.Errorf(412, "")
	}
	if err := s.cfg.Forward.Forward(ctx, entry, destination); err != nil {
		if errors.Is(err, ErrRefused) {
			return nil, nil, sipx.Errorf(403, "forwarding was refused")
		}
		s.cfg.Logger.Error("forwarding", "presentity", p.key, "error", err)
		return nil, nil, sipx.Errorf(503, "forwarding is not available")
	}
	return s.publishedOK(pub, etag), s.setForward(p, destination, etag, pub), nil
}

// forwardTag returns the entity-tag of a forwarding PUBLISH: that of the user's
// publication, else that of the forwarding, else a new one; and whether ifMatch
// names it. p.mu is held.
func (p *presentity) forwardTag(ifMatch string) (etag string, ok bool) {
	shared := p.shared()
	switch {
	case shared != nil:
		etag = shared.ETag
	case p.forward != nil:
		etag = p.forward.etag
	}
	if ifMatch != "" && ifMatch != etag && (p.forward == nil || ifMatch != p.forward.etag) {
		return "", false
	}
	if etag == "" {
		etag = newSharedTag()
	}
	return etag, true
}

// setForward notes what was accepted, and returns what notifies the watchers, as
// swap does. p.publishing is held.
func (s *Server) setForward(p *presentity, destination, etag string, pub *publishing) func() {
	var next *forwarding
	if destination != "" {
		next = &forwarding{destination: destination, etag: etag, owner: contactKey(pub.contact.URI), since: time.Now()}
		next.expiry = s.after(pub.expires, func() { s.forwardExpired(p, next) })
	}
	p.mu.Lock()
	if p.forward != nil {
		stopTimer(&p.forward.expiry)
		s.presentities.release(p) // never the last reference: the caller has one
	}
	if p.forward = next; next != nil {
		s.presentities.retain(p)
	}
	due := p.refresh()
	p.mu.Unlock()
	return func() { s.notify(due) }
}

// forwardExpired ends a forwarding that was not refreshed.
func (s *Server) forwardExpired(p *presentity, f *forwarding) {
	s.presentities.retain(p)
	defer s.presentities.release(p)
	p.publishing.Lock()
	p.mu.Lock()
	current, entry := p.forward == f, p.entry
	p.mu.Unlock()
	notify := func() {}
	if current {
		ctx, cancel := context.WithTimeout(s.ctx, forwardTimeout)
		if err := s.cfg.Forward.Forward(ctx, entry, ""); err != nil {
			s.cfg.Logger.Error("forwarding has expired, and could not be ended", "presentity", p.key, "error", err)
		}
		cancel()
		notify = s.setForward(p, "", "", nil)
	}
	p.publishing.Unlock()
	notify()
}

// forwardTimeout bounds a call of the controller that no request waits for.
const forwardTimeout = 10 * time.Second
