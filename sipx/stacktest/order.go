package stacktest

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

// burst is how many messages a test of order sends in one go. It is small
// enough for the receive buffer of a socket.
const burst = 100

// orderOfHandling: requests of one sender are handled as they came, one after
// another, and a slow one does not hold up those of another sender.
func (s *suite) orderOfHandling() {
	for _, transport := range s.all {
		var mu sync.Mutex
		var got []uint32
		running := 0
		release := make(chan struct{})
		stack := s.serving(sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
			if r.From.URI.User == "slow" {
				<-release
				answer(200)(ctx, w, r)
				return
			}
			mu.Lock()
			running++
			require.Equal(s, 1, running, "one after another")
			mu.Unlock()
			if r.CSeq%10 == 0 {
				time.Sleep(time.Millisecond) // so that others could overtake
			}
			mu.Lock()
			running--
			got = append(got, r.CSeq)
			mu.Unlock()
			answer(200)(ctx, w, r)
		}))
		p := s.dial(stack, transport)
		p.request("PUBLISH sip:bob@example.com\nFrom: <sip:slow@example.com>;tag=1\nCall-ID: slow")
		var want []uint32
		for i := range uint32(burst) {
			p.request("PUBLISH sip:bob@example.com\nCSeq: %d PUBLISH", i)
			want = append(want, i)
		}
		for range burst {
			p.response()
		}
		mu.Lock()
		require.Equal(s, want, got, transport)
		mu.Unlock()
		close(release)
		p.response()
	}
}

// orderOfSending: requests leave in the order of the calls to Send.
func (s *suite) orderOfSending() {
	for _, transport := range s.all {
		stack := s.echo()
		p := s.dial(stack.Stack, transport)
		flow := stack.flowOf(p)
		done := make(outcomes, burst)
		for i := range burst {
			req := options("sip:peer@example.com", i)
			req.Flow = flow
			if i%10 == 0 { // some are large
				req.Body = []byte(strings.Repeat("x", 1400))
			}
			stack.Send(req, done)
		}
		for i := range burst {
			req := p.incoming()
			require.EqualValues(s, i, req.CSeq, transport)
			p.answer(req, 200)
		}
		for range burst {
			require.NoError(s, s.wait(done, patience).err)
		}
	}
}

// responseLeavesFirst: a NOTIFY that is sent after Respond does not overtake
// the 200 to its SUBSCRIBE.
func (s *suite) responseLeavesFirst() {
	for _, transport := range s.all {
		var stack sipx.Stack
		done := make(outcomes, burst)
		ready := make(chan struct{})
		stack = s.serving(sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
			<-ready
			if err := w.Respond(sipx.NewResponse(200)); err != nil {
				s.Errorf("Respond: %v", err)
			}
			req := options("sip:peer@example.com", int(r.CSeq))
			req.Flow = r.Flow
			stack.Send(req, done)
		}))
		close(ready)
		p := s.dial(stack, transport)
		for i := range burst {
			p.request("SUBSCRIBE sip:bob@example.com\nCSeq: %d SUBSCRIBE", i)
			first := p.next()
			for retransmitted(first, i) { // on a machine that is very busy
				first = p.next()
			}
			require.Contains(s, string(first), "SIP/2.0 200", "%s, request %d", transport, i)
			p.answer(p.incoming(), 200)
			require.NoError(s, s.wait(done, patience).err)
		}
	}
}

// retransmitted reports whether a message is a request older than number n.
func retransmitted(message []byte, n int) bool {
	req, err := sipx.ParseRequest(message)
	return err == nil && int(req.CSeq) < n
}
