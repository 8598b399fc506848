package stacktest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

// flows: a request with a connection's flow uses that connection.
func (s *suite) flows() {
	s.need("tcp")
	stack := s.echo()
	one, two := s.dial(stack.Stack, "tcp"), s.dial(stack.Stack, "tcp")
	first, second := stack.flowOf(one), stack.flowOf(two)
	require.NotEqual(s, first, second)
	require.NotZero(s, first.Conn)
	for _, to := range []struct {
		p *peer
		f sipx.Flow
	}{{two, second}, {one, first}} {
		req := options("sip:peer@203.0.113.1", 1)
		req.Flow = to.f
		done := make(outcomes, 1)
		stack.Send(req, done)
		to.p.answer(to.p.incoming(), 200)
		require.NoError(s, s.wait(done, patience).err)
	}
	if !slices.Contains(s.both, "udp") {
		return
	}
	// A datagram goes to the flow's address, whatever the Request-URI says.
	p := s.dial(stack.Stack, "udp")
	req := options("sip:peer@203.0.113.1", 1)
	req.Flow = stack.flowOf(p)
	done := make(outcomes, 1)
	stack.Send(req, done)
	p.answer(p.incoming(), 200)
	require.NoError(s, s.wait(done, patience).err)
}

// flowLost: what waits for a lost connection fails, its loss is told once, and
// nothing is sent by it any more.
func (s *suite) flowLost() {
	s.need("tcp")
	stack := s.echo()
	p := s.dial(stack.Stack, "tcp")
	flow := stack.flowOf(p)
	req := options("sip:peer@example.com", 1)
	req.Flow = flow
	done := make(outcomes, 1)
	stack.Send(req, done)
	p.incoming()
	require.NoError(s, p.Close())
	require.Equal(s, flow, within(s, stack.closed, "FlowClosed"))
	require.ErrorIs(s, s.wait(done, patience).err, sipx.ErrFlowClosed)
	stack.Send(req, done)
	require.ErrorIs(s, s.wait(done, patience).err, sipx.ErrFlowClosed)
	// A connection over which no request came is nobody's business.
	require.NoError(s, s.dial(stack.Stack, "tcp").Close())
	other := s.dial(stack.Stack, "tcp")
	stack.flowOf(other)
	require.Empty(s, stack.closed)
}

// peerDoesNotRead: a peer that does not read costs its own queue, nothing else.
func (s *suite) peerDoesNotRead() {
	s.need("tcp")
	stack := s.echo()
	p := s.dial(stack.Stack, "tcp")
	flow := stack.flowOf(p)
	body := []byte(strings.Repeat("x", 16<<10))
	var failed sync.WaitGroup
	longest := time.Duration(0)
	for i := range 2000 {
		req := options("sip:peer@example.com", i)
		req.Flow, req.Body = flow, body
		failed.Add(1)
		start := time.Now()
		stack.Send(req, sipx.ResponseHandlerFunc(func(*sipx.Request, *sipx.Response, error) { failed.Done() }))
		longest = max(longest, time.Since(start))
	}
	require.Less(s, longest, patience, "Send does not block")
	stack.flowOf(s.dial(stack.Stack, "tcp")) // others are served
	require.NoError(s, p.Close())
	failed.Wait()
}

// fragments: a stream may be cut anywhere.
func (s *suite) fragments() {
	s.need("tcp")
	var mu sync.Mutex
	var bodies []string
	stack := s.stack()
	if _, ok := stack.(Dialer); ok {
		s.Skip("the stack has no streams of bytes")
	}
	s.serve(stack, sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		mu.Lock()
		bodies = append(bodies, string(r.Body))
		mu.Unlock()
		answer(200)(ctx, w, r)
	}))
	p := s.dial(stack, "tcp")
	p.send("\r\n\r\n")
	p.send("\r\n" + p.message("OPTIONS sip:bob@example.com\n\none") + p.message("OPTIONS sip:bob@example.com") +
		p.message("OPTIONS sip:bob@example.com\n\nthree\r\n\r\n"))
	for range 3 {
		p.response()
	}
	for _, b := range []byte(p.message("OPTIONS sip:bob@example.com\n\nfour")) {
		p.send(string(b))
	}
	p.response()
	require.Equal(s, []string{"one", "", "three\r\n\r\n", "four"}, bodies)
}
