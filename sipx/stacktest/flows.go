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
	for _, transport := range s.streams() {
		s.flowsOver(transport)
	}
}

func (s *suite) flowsOver(transport string) {
	stack := s.echo()
	one, two := s.dial(stack.Stack, transport), s.dial(stack.Stack, transport)
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
	if !slices.Contains(s.all, "udp") {
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
	for _, transport := range s.streams() {
		s.flowLostOver(transport)
	}
}

func (s *suite) flowLostOver(transport string) {
	stack := s.echo()
	p := s.dial(stack.Stack, transport)
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
	require.NoError(s, s.dial(stack.Stack, transport).Close())
	other := s.dial(stack.Stack, transport)
	stack.flowOf(other)
	require.Empty(s, stack.closed)
}

// peerDoesNotRead: a peer that does not read costs its own queue, nothing else.
func (s *suite) peerDoesNotRead() {
	for _, transport := range s.streams() {
		s.peerDoesNotReadOver(transport)
	}
}

func (s *suite) peerDoesNotReadOver(transport string) {
	stack := s.echo()
	p := s.dial(stack.Stack, transport)
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
	stack.flowOf(s.dial(stack.Stack, transport)) // others are served
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

// linearFraming: a long header and a body that comes byte by byte take the time that
// the bytes of a short message take.
func (s *suite) linearFraming() {
	s.need("tcp")
	stack := s.serving(answer(200))
	if _, ok := stack.(Dialer); ok {
		s.Skip("the stack has no streams of bytes")
	}
	const body = 10000
	// drip sends a message whose body comes byte by byte, and returns how long that
	// takes until it is answered.
	drip := func(fields string) time.Duration {
		p := s.dial(stack, "tcp")
		head, _, _ := strings.Cut(p.message("OPTIONS sip:bob@example.com\n\n%s", strings.Repeat("x", body)), "\r\n\r\n")
		p.send(head + "\r\n" + fields + "\r\n")
		start := time.Now()
		for range body {
			p.send("x")
		}
		_ = p.SetReadDeadline(time.Now().Add(10 * patience))
		_, err := p.in.ReadString('\n')
		require.NoError(s, err, "any answer will do")
		return time.Since(start)
	}
	// The processor may be needed elsewhere: one good try is enough.
	var short, long time.Duration
	for range 5 {
		short, long = drip(""), drip(strings.Repeat("a:\r\n", 12000))
		if long < 3*short {
			return
		}
	}
	s.Fatalf("%d bytes took %v behind a header of some lines, and %v behind one of 12,000", body, short, long)
}
