package presence

import (
	"context"
	"strings"
	"time"

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
