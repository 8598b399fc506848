package stacktest

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

// beforeServe: requests wait for Serve, and requests can be sent before.
func (s *suite) beforeServe() {
	live := s.serving(answer(200))
	stack := s.stack()
	for _, transport := range s.open() {
		done := make(outcomes, 1)
		stack.Send(options("sip:"+s.addr(live, transport)+";transport="+transport, 1), done)
		o := s.wait(done, patience)
		require.NoError(s, o.err, "the stack need not serve to send")
	}
	var peers []*peer
	for _, transport := range s.all {
		p := s.dial(stack, transport)
		p.request("OPTIONS sip:bob@example.com")
		p.silence(20 * time.Millisecond)
		peers = append(peers, p)
	}
	s.serve(stack, answer(200))
	for _, p := range peers {
		require.Equal(s, 200, p.response().Status)
	}
}

// afterServe: with its context Serve ends, and nothing new begins. What is there
// can still be ended: requests can be sent, and those in a dialog are handled.
func (s *suite) afterServe() {
	s.need("udp")
	live := s.serving(answer(200))
	stack := s.stack()
	ctx, cancel := context.WithCancel(s.Context())
	served := make(chan error, 1)
	inHandler := make(chan context.Context, 1)
	go func() {
		served <- stack.Serve(ctx, sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
			inHandler <- ctx
			answer(200)(ctx, w, r)
		}))
	}()
	p := s.dial(stack, "udp")
	p.request("OPTIONS sip:bob@example.com")
	p.response()
	handling := within(s, inHandler, "a request")
	require.NoError(s, handling.Err())
	cancel()
	require.NoError(s, within(s, served, "the end of Serve"))
	done := make(outcomes, 1)
	stack.Send(options("sip:"+s.addr(live, "udp"), 1), done)
	require.NoError(s, s.wait(done, patience).err)
	p.request("OPTIONS sip:bob@example.com\nCSeq: 2 OPTIONS")
	require.Equal(s, 503, p.response().Status, "a request that begins something is refused when Serve has returned")
	require.Empty(s, inHandler)
	p.request("SUBSCRIBE sip:bob@example.com\nCSeq: 3 SUBSCRIBE\nTo: <sip:bob@example.com>;tag=dialog\nExpires: 0")
	require.Equal(s, 200, p.response().Status, "a request in a dialog is handled until Shutdown")
	handling = within(s, inHandler, "a request")
	require.NoError(s, handling.Err(), "the handler's context lives until Shutdown")
	ctx, cancel = context.WithTimeout(s.Context(), patience)
	defer cancel()
	require.NoError(s, stack.Shutdown(ctx))
	within(s, handling.Done(), "the end of the handler's context with Shutdown")
}

// shutdown: what runs is waited for, then all is closed.
func (s *suite) shutdown() {
	stack := s.newStack(s.T)
	listening := stack.Listening()
	started, release := make(chan struct{}), make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- stack.Serve(s.Context(), sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
			close(started)
			<-release
			if ctx.Err() != nil {
				s.Error("the handler's context ended while Shutdown had time")
			}
			answer(200)(ctx, w, r)
		}))
	}()
	p := s.dial(stack, s.best())
	p.request("OPTIONS sip:bob@example.com")
	within(s, started, "a request")
	down := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		down <- stack.Shutdown(ctx)
	}()
	select {
	case err := <-down:
		s.Fatalf("Shutdown did not wait for the handler: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	require.Equal(s, 200, p.response().Status, "what was answered arrives")
	require.NoError(s, within(s, down, "Shutdown"))
	require.NoError(s, within(s, served, "the end of Serve"))
	require.NoError(s, stack.Shutdown(context.Background()), "later calls return at once")
	done := make(outcomes, 1)
	stack.Send(options("sip:192.0.2.1", 1), done)
	require.ErrorIs(s, s.wait(done, patience).err, sipx.ErrStackClosed)
	if _, ok := stack.(Dialer); ok {
		return
	}
	for _, f := range listening { // its ports are free
		if f.Transport == "udp" {
			c, err := net.ListenPacket("udp", f.Local.String())
			require.NoError(s, err)
			require.NoError(s, c.Close())
			continue
		}
		l, err := net.Listen("tcp", f.Local.String())
		require.NoError(s, err)
		require.NoError(s, l.Close())
	}
}

// shutdownCutShort: when its context ends, Shutdown ends what is under way.
func (s *suite) shutdownCutShort() {
	s.need("udp")
	stack := s.newStack(s.T)
	started, ended := make(chan struct{}), make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- stack.Serve(s.Context(), sipx.HandlerFunc(func(ctx context.Context, _ sipx.ResponseWriter, _ *sipx.Request) {
			close(started)
			<-ctx.Done()
			close(ended)
		}))
	}()
	p := s.dial(stack, "udp")
	p.request("OPTIONS sip:bob@example.com")
	within(s, started, "a request")
	// Nobody answers here: p only reads at the end.
	req := options("sip:"+p.LocalAddr().String(), 1)
	done := make(outcomes, 1)
	stack.Send(req, done)
	ctx, cancel := context.WithTimeout(s.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	require.ErrorIs(s, stack.Shutdown(ctx), context.DeadlineExceeded)
	require.Less(s, time.Since(start), patience)
	require.ErrorIs(s, s.wait(done, patience).err, sipx.ErrStackClosed)
	within(s, ended, "the end of the handler's context")
	require.NoError(s, within(s, served, "the end of Serve"))
}

// twoStacks: two stacks in one process know nothing of each other.
func (s *suite) twoStacks() {
	one, two := s.newStack(s.T), s.echo()
	s.serve(one, answer(201))
	p := s.dial(two.Stack, s.best())
	flow := two.flowOf(p)

	// A request by one's connection is not sent by the other.
	q := s.dial(one, s.best())
	q.request("OPTIONS sip:bob@example.com")
	require.Equal(s, 201, q.response().Status)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(s, one.Shutdown(ctx))

	req := options("sip:peer@example.com", 1)
	req.Flow = flow
	req.Body = []byte(strings.Repeat("x", 2000))
	done := make(outcomes, 1)
	two.Send(req, done)
	p.answer(p.incoming(), 200)
	require.NoError(s, s.wait(done, patience).err)
	require.Empty(s, two.closed)
}
