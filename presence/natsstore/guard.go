package natsstore

import (
	"context"

	"github.com/openblustar/blustar/sipx"
)

// Sender returns a sender that sends through next while this node has its lease. After that a
// request fails with [ErrNotAlive] and nothing leaves: another node may speak now.
func (s *Store) Sender(next sipx.Sender) sipx.Sender { return sender{s, next} }

type sender struct {
	store *Store
	sipx.Sender
}

func (g sender) Send(req *sipx.Request, done sipx.ResponseHandler) {
	if !g.store.Alive() {
		done.HandleResponse(req, nil, ErrNotAlive)
		return
	}
	g.Sender.Send(req, done)
}

// Handler returns a handler that has next answer while this node has its lease. What comes later,
// or is answered later, is answered 503 with a Retry-After of one second, so that the
// client turns to another node (RFC 3263 §4.3). It is a [sipx.FlowObserver] where next is
// one.
func (s *Store) Handler(next sipx.Handler) sipx.Handler {
	g := handler{s, next}
	if flows, ok := next.(sipx.FlowObserver); ok {
		return struct {
			handler
			sipx.FlowObserver
		}{g, flows}
	}
	return g
}

type handler struct {
	store *Store
	next  sipx.Handler
}

func (g handler) ServeSIP(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	w = answer{g.store, w}
	if !g.store.Alive() {
		_ = w.Respond(sipx.NewResponse(503)) // replaced; who reads it is not ours any more
		return
	}
	g.next.ServeSIP(ctx, w, req)
}

type answer struct {
	store *Store
	sipx.ResponseWriter
}

func (a answer) Respond(res *sipx.Response) error {
	if !a.store.Alive() {
		res = sipx.NewResponse(503, sipx.Field{Name: "Retry-After", Value: "1"})
	}
	return a.ResponseWriter.Respond(res)
}
