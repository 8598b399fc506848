package stacktest

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

// retransmissions: the handler is called once, and the answer repeated.
func (s *suite) retransmissions() {
	s.need("udp")
	var calls atomic.Int32
	release := make(chan struct{})
	stack := s.serving(sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		calls.Add(1)
		if r.CallID == "slow" {
			<-release
		}
		answer(200)(ctx, w, r)
	}))
	p := s.dial(stack, "udp")
	for _, method := range []string{"SUBSCRIBE", "PUBLISH", "OPTIONS"} {
		calls.Store(0)
		message := p.message("%s sip:bob@example.com", method)
		p.send(message)
		first := string(p.next())
		for range 3 {
			p.send(message)
			require.Equal(s, first, string(p.next()), "the same answer, its tag too")
		}
		require.EqualValues(s, 1, calls.Load())
		p.send(p.message("%s sip:bob@example.com\nCSeq: 2 %s", method, method))
		p.response()
		require.EqualValues(s, 2, calls.Load(), "another branch is another request")
	}
	// While the handler is at work there is nothing to repeat.
	calls.Store(0)
	message := p.message("SUBSCRIBE sip:bob@example.com\nCall-ID: slow")
	for range 3 {
		p.send(message)
	}
	p.request("OPTIONS sip:bob@example.com\nFrom: <sip:fence@example.com>;tag=1\nCall-ID: fence")
	require.Equal(s, "fence", p.response().Header.Get("Call-ID"), "all have arrived")
	close(release)
	require.Equal(s, "slow", p.response().Header.Get("Call-ID"))
	p.silence(20 * time.Millisecond)
	require.EqualValues(s, 2, calls.Load())

	// So too where the branch is none of RFC 3261.
	calls.Store(0)
	message = p.message("SUBSCRIBE sip:bob@example.com\nCSeq: 77 SUBSCRIBE\nVia: SIP/2.0/UDP %s;branch=1;rport",
		p.LocalAddr())
	p.send(message)
	first := string(p.next())
	p.send(message)
	require.Equal(s, first, string(p.next()))
	require.EqualValues(s, 1, calls.Load())
}

// calls: no INVITE, ACK or CANCEL reaches the handler, and an INVITE is answered.
func (s *suite) calls() {
	stack := s.serving(sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		if r.Method != "OPTIONS" {
			s.Errorf("the handler got %s, which the stack answers itself", r.Method)
		}
		answer(200)(ctx, w, r)
	}))
	for _, transport := range s.all {
		p := s.dial(stack, transport)
		invite := p.message("INVITE sip:bob@example.com")
		p.send(invite)
		res := p.response()
		require.Equal(s, 405, res.Status)
		require.NotEmpty(s, res.Header.Get("Allow"), "RFC 3261 §8.2.1")
		via, _, _ := strings.Cut(invite[strings.Index(invite, "Via: ")+5:], "\r\n")
		p.request("ACK sip:bob@example.com\nVia: %s\nTo: <sip:bob@example.com>;tag=%s", via, res.ToTag)
		p.request("CANCEL sip:bob@example.com")
		require.GreaterOrEqual(s, p.response().Status, 200)
		p.request("OPTIONS sip:bob@example.com")
		for {
			if res := p.response(); res.Header.CSeqMethod() == "OPTIONS" {
				break // past a repeated 405
			}
		}
	}
}

// oneOutcome: provisional responses are not reported, and late ones neither.
func (s *suite) oneOutcome() {
	for _, transport := range s.all {
		stack := s.echo()
		p := s.dial(stack.Stack, transport)
		req := options("sip:peer@example.com", 1)
		req.Flow = stack.flowOf(p)
		done := make(outcomes, 10)
		stack.Send(req, done)
		got := p.incoming()
		p.answer(got, 100)
		p.answer(got, 183)
		select {
		case o := <-done:
			s.Fatalf("reported: %v", o)
		case <-time.After(50 * time.Millisecond):
		}
		p.answer(got, 200)
		p.answer(got, 200)
		p.answer(got, 500)
		require.Equal(s, 200, s.wait(done, patience).res.Status)
		stray := options("sip:peer@example.com", 99)
		stray.Header.Add("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKnobody")
		p.answer(stray, 200)
		select {
		case o := <-done:
			s.Fatalf("reported again: %v", o)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// deadHost: requests to a host that never answers end with ErrTimeout, are
// repeated until then, cost no goroutine each, and delay no others.
func (s *suite) deadHost() {
	s.need("udp")
	const dead = 50 // with their repetitions, what the peer's receive buffer holds
	stack := s.echo()
	p := s.dial(stack.Stack, "udp")
	flow := stack.flowOf(p)
	goroutines := runtime.NumGoroutine()
	done := make(outcomes, dead)
	for i := range dead {
		req := options("sip:peer@example.com", i)
		req.Flow = flow
		stack.Send(req, done)
	}
	require.Less(s, runtime.NumGoroutine(), goroutines+dead, "not a goroutine for each that waits")

	live := s.echo()
	alive := make(outcomes, 1)
	stack.Send(options("sip:"+s.addr(live.Stack, "udp"), 1), alive)
	require.NoError(s, s.wait(alive, patience).err)
	require.Empty(s, done, "the live host did not wait for the dead one")

	for range dead {
		require.ErrorIs(s, s.wait(done, 40*time.Second).err, sipx.ErrTimeout)
	}
	last := options("sip:peer@example.com", dead)
	last.Flow = flow
	stack.Send(last, done)
	seen := map[uint32]int{}
	for seen[last.CSeq] == 0 {
		got := p.incoming()
		if seen[got.CSeq]++; got.CSeq == last.CSeq {
			p.answer(got, 200)
		}
	}
	require.NoError(s, s.wait(done, patience).err)
	require.GreaterOrEqual(s, slices.Max(slices.Collect(maps.Values(seen))), 2, "requests were repeated")
}
