package sipxtest

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/dispatch"
)

// Stack is a sipx.Stack on a [Network]. It speaks "udp", and "tcp", "tls", "ws"
// and "wss", which here are all the same but for the name, at one address.
type Stack struct {
	network *Network
	addr    netip.AddrPort
	jobs    *dispatch.Dispatcher

	mu      sync.Mutex
	handler sipx.Handler
	ctx     context.Context // of handlers
	cancel  context.CancelFunc
	served  bool
	leaving bool // the context of Serve has ended
	closed  bool
	done    chan struct{} // closed when Shutdown begins
	conns   map[uint64]*conn
	dialed  map[dialKey]*conn
	calls   map[string]*call // by branch
	servers map[serverKey]*server
	idle    chan struct{} // closed when no call is left, once Shutdown waits
}

// NewStack puts a stack on the network at addr ("192.0.2.1:5060"). It panics
// where addr is bad or taken.
func (n *Network) NewStack(addr string) *Stack {
	s := &Stack{
		network: n,
		addr:    netip.MustParseAddrPort(addr),
		jobs:    dispatch.New(dispatch.Config{Running: n.cfg.MaxHandlers, Waiting: n.cfg.MaxWaiting}),
		done:    make(chan struct{}),
		conns:   make(map[uint64]*conn),
		dialed:  make(map[dialKey]*conn),
		calls:   make(map[string]*call),
		servers: make(map[serverKey]*server),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stacks[s.addr] != nil {
		panic("sipxtest: there is a stack at " + addr)
	}
	n.stacks[s.addr] = s
	return s
}

// Addr returns the stack's address.
func (s *Stack) Addr() netip.AddrPort { return s.addr }

// Listening implements sipx.Stack: one flow for each transport.
func (s *Stack) Listening() []sipx.Flow {
	var flows []sipx.Flow
	for _, transport := range []string{"udp", "tcp", "tls", "ws", "wss"} {
		flows = append(flows, sipx.Flow{Transport: transport, Local: s.addr})
	}
	return flows
}

// Contact implements sipx.Sender.
func (s *Stack) Contact(f sipx.Flow) string {
	if f.Transport != "" && f.Transport != "udp" {
		return "<sip:" + s.addr.String() + ";transport=" + f.Transport + ">"
	}
	return "<sip:" + s.addr.String() + ">"
}

// Serve implements sipx.Stack.
func (s *Stack) Serve(ctx context.Context, h sipx.Handler) error {
	s.mu.Lock()
	if s.served {
		s.mu.Unlock()
		return fmt.Errorf("sipxtest: %s: Serve was called before", s.addr)
	}
	s.served, s.handler = true, h
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Unlock()
	s.jobs.Start()
	select {
	case <-ctx.Done():
		s.mu.Lock()
		s.leaving = true
		s.mu.Unlock()
	case <-s.done:
	}
	return nil
}

// Shutdown implements sipx.Stack. The address is free after it.
func (s *Stack) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	idle := make(chan struct{})
	s.idle = idle
	if len(s.calls) == 0 {
		close(idle)
		s.idle = nil
	}
	s.mu.Unlock()
	close(s.done)

	err := s.jobs.Stop(ctx)
	select {
	case <-idle:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	if s.cancel != nil {
		s.cancel()
	}
	s.mu.Unlock()
	for _, c := range s.allCalls() {
		c.finish(nil, sipx.ErrStackClosed)
	}
	s.network.mu.Lock()
	delete(s.network.stacks, s.addr)
	s.network.mu.Unlock()
	for _, c := range s.allConns() {
		c.close()
	}
	s.forget()
	return err
}

func (s *Stack) allCalls() []*call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*call
	for _, c := range s.calls {
		list = append(list, c)
	}
	return list
}

func (s *Stack) allConns() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*conn
	for _, c := range s.conns {
		list = append(list, c)
	}
	return list
}

// observer returns the handler where it wants to know of lost connections.
func (s *Stack) observer() sipx.FlowObserver {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, _ := s.handler.(sipx.FlowObserver)
	return o
}

// serve hands a request to the handler, or answers for it.
func (s *Stack) serve(w *responder, r *sipx.Request, group *dispatch.Group) {
	established := dispatch.IsEstablished(r)
	taken := s.jobs.Submit(dispatch.Job{
		Lane:        dispatch.LaneOf(r),
		Established: established,
		Source:      r.Flow.Source(),
		Group:       group,
		Task: dispatch.TaskFunc(func() {
			s.mu.Lock()
			h, ctx, leaving := s.handler, s.ctx, s.leaving
			s.mu.Unlock()
			if leaving && !established {
				_ = w.Respond(unavailable())
				return
			}
			dispatch.Serve(ctx, h, w, r, slog.New(slog.DiscardHandler))
		}),
	})
	if !taken {
		_ = w.Respond(unavailable())
	}
}

func unavailable() *sipx.Response {
	return sipx.NewResponse(503, sipx.Field{Name: "Retry-After", Value: "5"})
}
