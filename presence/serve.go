package presence

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/sipx"
)

// ServeSIP implements [sipx.Handler].
func (s *Server) ServeSIP(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	x, ok := s.exchanges.Get().(*exchange)
	if !ok {
		x = new(exchange)
	}
	*x = exchange{server: s, w: w, req: req, sent: req.Body, began: time.Now()}
	defer func() {
		*x = exchange{}
		s.exchanges.Put(x)
	}()
	s.handle(ctx, x)
}

func (s *Server) handle(ctx context.Context, x *exchange) {
	defer s.requests.leave()
	if !s.requests.enter() {
		x.answer(comingBack("shutting down"))
		return
	}
	if !s.journal.ready() {
		x.answer(comingBack("starting"))
		return
	}
	if s.cluster.away() && x.req.Method != "OPTIONS" {
		x.answer(comingBack("the store is away"))
		return
	}
	if err := s.serve(ctx, x); err != nil && !x.answered {
		x.answer(s.refusal(x.req, err))
	}
}

// FlowClosed implements [sipx.FlowObserver]: the dialogs on a connection end with
// it.
func (s *Server) FlowClosed(f sipx.Flow) { s.registry.FlowClosed(f) }

// serve handles a request. An error is answered by refusal.
func (s *Server) serve(ctx context.Context, x *exchange) error {
	if err := s.screen(x.req); err != nil {
		return err
	}
	if err := s.expand(x); err != nil {
		return err
	}
	switch x.req.Method {
	case "SUBSCRIBE":
		return s.subscribe(ctx, x)
	case "PUBLISH":
		return s.publish(ctx, x)
	case "OPTIONS":
		x.answer(sipx.NewResponse(200,
			sipx.Field{Name: "Allow", Value: allowedMethods},
			sipx.Field{Name: "Allow-Events", Value: s.events()},
			sipx.Field{Name: "Accept", Value: typePIDF + ", " + typeResourceLists},
			sipx.Field{Name: "Accept-Encoding", Value: contentCodings},
			sipx.Field{Name: "Supported", Value: extRecipientList + ", " + extEventList}))
		return nil
	case "NOTIFY":
		// It belongs to a subscriber that was on this stack before a restart, and
		// ends that subscription (RFC 6665 §4.1.3).
		if x.req.To.Tag() != "" {
			return sipx.Errorf(481, "")
		}
	}
	return &refused{sipx.NewResponse(405, sipx.Field{Name: "Allow", Value: allowedMethods})}
}

// screen refuses what no method takes (BSP-4-5, RFC 3261 §8.2).
func (s *Server) screen(req *sipx.Request) error {
	switch req.URI.Scheme {
	case "sip", "sips", "tel":
	default:
		return sipx.Errorf(416, "")
	}
	var unknown []string
	for option := range req.Header.Tokens("Require") {
		if !strings.EqualFold(option, extRecipientList) && !strings.EqualFold(option, extEventList) {
			unknown = append(unknown, option)
		}
	}
	if unknown != nil {
		return &refused{sipx.NewResponse(420, sipx.Field{Name: "Unsupported", Value: strings.Join(unknown, ", ")})}
	}
	if len(req.Body) > s.cfg.MaxBody {
		return sipx.Errorf(413, "")
	}
	return nil
}

// answer answers a request that another node passes on, or the question of its guard.
func (c *cluster) answer(ctx context.Context, message []byte) (answer []byte) {
	head, rest, _ := bytes.Cut(message, []byte{'\n'})
	if guard, ok := c.server.cfg.Guard.(sharingGuard); ok && string(head) == guardCall {
		return guard.Answer(rest)
	}
	var p passedOn
	req, err := sipx.ParseRequest(rest)
	if err == nil {
		err = json.Unmarshal(head, &p)
	}
	if err != nil {
		c.server.cfg.Logger.Error("what another node passes on cannot be read", "error", err)
		return nil
	}
	if req.Flow = p.Flow; !req.Flow.Reliable() {
		req.Flow.Local = netip.AddrPort{} // which is the other machine's
	}
	w := &reply{req: req}
	defer func() {
		if p := recover(); p != nil { // as the stack does for other requests
			c.server.cfg.Logger.Error("handler panicked", "method", req.Method, "panic", p, "stack", string(debug.Stack()))
			answer = nil
		}
	}()
	c.server.handle(ctx, &exchange{server: c.server, w: w, req: req, sent: req.Body, began: time.Now(),
		passed: &auth.Identity{Account: string(p.Account), ID: string(p.ID), DN: p.DN, AMCC: p.AMCC}})
	return w.data
}

// reply is the [sipx.ResponseWriter] of a request that was passed on.
type reply struct {
	req  *sipx.Request
	data []byte
}

// Respond implements [sipx.ResponseWriter].
func (w *reply) Respond(res *sipx.Response) error {
	if r := *res; r.ToTag == "" {
		r.ToTag = "none" // the node that has it makes one
		res = &r
	}
	w.data = res.AppendTo(nil, w.req)
	return nil
}
