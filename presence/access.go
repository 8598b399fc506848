package presence

import (
	"context"
	"strconv"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/sipx"
)

// check has the guard judge a request. The error is its answer to the peer.
func (s *Server) check(ctx context.Context, x *exchange, contact sipx.Address, d *Dialect) (auth.Identity, error) {
	if x.passed != nil {
		return *x.passed, nil
	}
	if s.cfg.Guard == nil {
		return auth.Identity{}, nil
	}
	req := x.req
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
		Digest:     d.Digest,
	}
	for v := range req.Header.Values("Authorization") {
		r.Authorization = append(r.Authorization, v)
	}
	x.asked, x.digest = r, d.Digest
	decision := s.cfg.Guard.Check(ctx, r)
	if decision.Verdict == auth.Accept {
		return decision.Identity, nil
	}
	return auth.Identity{}, s.notLetIn(x, decision)
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
	if decision.Verdict == auth.Challenge && !x.digest { // as printed in §2.10
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
