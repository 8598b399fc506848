package client

import (
	"context"
	"sync"

	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/sipx"
)

// Mux lets several clients share one stack: it is the stack's handler and hands
// each NOTIFY to the client whose subscription it belongs to. The zero value is
// ready to use. It is safe for concurrent use, and must not be copied.
type Mux struct {
	routes  subscriber.Routes
	mu      sync.RWMutex // guards clients
	clients map[*Client]struct{}
}

// ServeSIP implements [sipx.Handler]. What belongs to no subscription is
// answered 481 (RFC 6665 §4.1.3), what is no NOTIFY 405.
func (m *Mux) ServeSIP(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	if req.Method != "NOTIFY" {
		_ = w.Respond(sipx.NewResponse(405, sipx.Field{Name: "Allow", Value: "NOTIFY"}))
		return
	}
	if !m.routes.Serve(ctx, w, req) {
		_ = w.Respond(sipx.NewResponse(481))
	}
}

// FlowClosed implements [sipx.FlowObserver]: the clients that used the
// connection find out at once what the server still knows of them.
func (m *Mux) FlowClosed(f sipx.Flow) {
	m.mu.RLock()
	clients := make([]*Client, 0, len(m.clients))
	for c := range m.clients {
		clients = append(clients, c)
	}
	m.mu.RUnlock()
	for _, c := range clients {
		c.flowClosed(f)
	}
}

// join lets c hear of closed connections, until leave.
func (m *Mux) join(c *Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.clients == nil {
		m.clients = make(map[*Client]struct{})
	}
	m.clients[c] = struct{}{}
}

func (m *Mux) leave(c *Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.clients, c)
}
