package presence

import (
	"context"
	"strconv"
	"time"
	"unique"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/sipx"
)

// check has the guard judge a request. The error is its answer to the peer.
func (s *Server) check(ctx context.Context, x *exchange) error {
	if x.passed != nil {
		x.id = *x.passed
	}
	if x.passed != nil || s.cfg.Guard == nil {
		return nil
	}
	req, contact := x.req, x.contact
	endpoint := contactKey(contact.URI)
	if contact.URI.IsZero() {
		endpoint = req.Flow.Remote.String()
	}
	from := bareURI(req.From.URI)
	if a, err := directory.ParseAddress(from); err == nil {
		from = a.String()
	}
	r := auth.Request{
		Client:     from + " " + endpoint,
		From:       from,
		Source:     req.Flow.Remote.Addr().Unmap(),
		Secure:     req.Flow.Secure(),
		Connection: req.Flow.Conn,
		UserAgent:  req.Header.Get("User-Agent"),
		Method:     req.Method,
		URI:        req.URI.String(),
		Body:       x.sent,
		Rauth:      req.Header.Get("X-BSS-rauth"),
		AMCC:       contact.URI.User == amccUser,
		Digest:     x.dialect.Digest,
	}
	for v := range req.Header.Values("Authorization") {
		r.Authorization = append(r.Authorization, v)
	}
	x.asked = r
	decision := s.cfg.Guard.Check(ctx, r)
	if decision.Verdict == auth.Accept {
		x.id = decision.Identity
		return nil
	}
	return s.notLetIn(x, decision)
}

// disowner is an ability of a [Guard].
type disowner interface {
	// Disown is told of a request whose account is not the one that From or the dialog is
	// of. It returns the answer: a challenge where the request had no credentials.
	Disown(ctx context.Context, r auth.Request) auth.Decision
}

// notOneself returns the error for a request whose account is not that of its From, or of its
// dialog: err, or a challenge. A user who shares From, Contact and source address with an impostor
// is asked to sign in.
func (s *Server) notOneself(ctx context.Context, x *exchange, err error) error {
	if g, ok := s.cfg.Guard.(disowner); ok && x.passed == nil { // else another node's guard was asked
		if d := g.Disown(ctx, x.asked); d.Verdict == auth.Challenge {
			return s.notLetIn(x, d)
		}
	}
	return err
}

// notLetIn is the guard's answer as an error.
func (s *Server) notLetIn(x *exchange, decision auth.Decision) error {
	req := x.req
	res := sipx.NewResponse(decision.Verdict.StatusCode())
	res.Reason = decision.Phrase
	if decision.Verdict == auth.Challenge && !x.asked.Digest { // as printed in §2.10
		res.Header.Add("Contact", s.cfg.Sender.Contact(req.Flow))
		if v := req.Header.Get("Expires"); v != "" {
			res.Header.Add("Expires", v)
		}
	}
	if wait := (decision.RetryAfter + time.Second - 1) / time.Second; wait > 0 {
		res.Header.Add("Retry-After", strconv.Itoa(int(wait)))
	} else if decision.Verdict == auth.Unavailable {
		res.Header.Add("Retry-After", retryAfter())
	}
	for _, f := range decision.Header {
		res.Header.Add(f.Name, f.Value)
	}
	s.cfg.Logger.Debug("not let in", "status", res.Status, "method", req.Method, "client", x.asked.Client,
		"source", x.asked.Source.String(), "reason", decision.Reason)
	return &refused{res}
}

// clientOf finds or makes the client that sends a request. user may be "".
func (s *Server) clientOf(x *exchange, user string) *client {
	var buffer [256]byte
	key := appendClientKey(buffer[:0], x)
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	c := s.clients.find(key, user, x.id)
	if c.userAgent == (unique.Handle[string]{}) {
		c.userAgent = unique.Make(x.req.Header.Get("User-Agent"))
	}
	c.amcc = x.contact.URI.User == amccUser || x.id.AMCC
	return c
}

// appendClientKey appends the [clientKey] of the client that sends a request.
func appendClientKey(key []byte, x *exchange) []byte {
	if account := whoIs(x.id); account != "" && x.contact.URI.User != amccUser && !x.id.AMCC {
		key = append(key, "account "...)
		key = append(key, account...)
	} else {
		key = appendBare(key, x.req.From.URI)
	}
	for i, b := range key {
		if 'A' <= b && b <= 'Z' {
			key[i] += 'a' - 'A'
		}
	}
	key = append(key, ' ')
	return appendContact(key, x.contact.URI)
}

// owns reports whether an entry belongs to the client's own user (BSP-4.1-1). entry is that of the
// first address of a dialog. from is that of the address in From.
//
// The entry of the authenticated account is the client's own. If nobody was authenticated, the
// entry of From is. If From has no entry, the first entry counts that the Contact subscribes to, if
// there is room for one more client.
func (s *Server) owns(c *client, from directory.Result, entry *directory.Entry) bool {
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	switch {
	case c.id != nil && !c.amcc:
		return auth.SameAccount(*c.id, entry.Account, entry.ID)
	case from.Err == nil:
		return from.Entry.ID == entry.ID
	}
	return c.user == entry.ID || c.user == "" && s.clients.roomLocked(c, entry.ID)
}

// isKnown reports whether a live BluStar client has this account and Contact. An SBC may have taken
// the User-Agent out of a request, and a client does not show its credentials in each request.
func (s *Server) isKnown(x *exchange) bool {
	return s.cfg.Dialect == DialectAuto && !x.id.IsZero() && x.req.Header.Get("User-Agent") == "" && !x.contact.URI.IsZero() &&
		s.clients.get(clientKey(appendClientKey(nil, x))) != nil
}
