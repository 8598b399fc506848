package stacktest

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

// hostile: what is no valid request never reaches the handler, is answered 400
// or so where it can be, and harms nothing.
func (s *suite) hostile() {
	messages := map[string]struct {
		message string // fields of a request that is good otherwise
		silent  bool   // where no answer is possible
	}{
		"no From":           {message: "OPTIONS sip:bob@example.com\nFrom:"},
		"bad From":          {message: "OPTIONS sip:bob@example.com\nFrom: <sip:alice@"},
		"two From":          {message: "OPTIONS sip:bob@example.com\nf: <sip:a@example.com>;tag=1\nFrom: <sip:b@example.com>;tag=1"},
		"no To":             {message: "OPTIONS sip:bob@example.com\nTo:"},
		"no Call-ID":        {message: "OPTIONS sip:bob@example.com\nCall-ID:"},
		"CSeq of another":   {message: "OPTIONS sip:bob@example.com\nCSeq: 1 INVITE"},
		"CSeq without end":  {message: "OPTIONS sip:bob@example.com\nCSeq: 36893488147419103232 OPTIONS"},
		"CSeq no number":    {message: "OPTIONS sip:bob@example.com\nCSeq: x OPTIONS"},
		"bad Request-URI":   {message: "OPTIONS <sip:bob@example.com>"},
		"spaces in URI":     {message: "OPTIONS sip:bob@example.com; lr"},
		"bad port":          {message: "OPTIONS sip:bob@example.com:99999"},
		"method no token":   {message: "OPT[]ONS sip:bob@example.com"},
		"field no token":    {message: "OPTIONS sip:bob@example.com\nBad Name: x"},
		"control character": {message: "OPTIONS sip:bob@example.com\nSubject: a\x00b"},
		"no colon":          {message: "OPTIONS sip:bob@example.com\nnonsense"},
	}
	calls := make(chan *sipx.Request, 100)
	stack := s.serving(sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		if r.CallID != "good" {
			calls <- r
		}
		answer(200)(ctx, w, r)
	}))
	good := func(p *peer, after string) {
		p.request("OPTIONS sip:bob@example.com\nCall-ID: good")
		for {
			if res := p.response(); res.Header.Get("Call-ID") == "good" {
				require.Equal(s, 200, res.Status, after)
				return
			}
		}
	}
	for name, m := range messages {
		for _, transport := range s.all {
			p := s.dial(stack, transport)
			p.request("%s", m.message)
			res := p.response()
			require.GreaterOrEqual(s, res.Status, 400, name)
			require.Less(s, res.Status, 600, name)
			if transport == "udp" {
				good(p, name)
			} else {
				good(s.dial(stack, transport), name)
			}
		}
	}
	raw := map[string]string{
		"nothing":          "",
		"zeros":            strings.Repeat("\x00", 200),
		"noise":            strings.Repeat("\xff\xfe\r\n", 100),
		"a line":           "OPTIONS sip:bob@example.com SIP/2.0\r\n",
		"no end":           "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP x",
		"no Via":           "OPTIONS sip:bob@example.com SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\n\r\n",
		"bad response":     "SIP/2.0 999 X\r\n\r\n",
		"response, no Via": "SIP/2.0 200 OK\r\n\r\n",
		"stray response":   "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKx\r\nCSeq: 1 OPTIONS\r\n\r\n",
		"another protocol": "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"colons":           strings.Repeat(":", 1000) + "\r\n\r\n",
		"many fields":      "OPTIONS sip:b@c SIP/2.0\r\n" + strings.Repeat("A: b\r\n", 5000) + "\r\n",
		"long field":       "OPTIONS sip:b@c SIP/2.0\r\nA: " + strings.Repeat("b", 40000) + "\r\n\r\n",
		"wrong length":     "OPTIONS sip:b@c SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nContent-Length: -5\r\n\r\n",
		"endless length":   "OPTIONS sip:b@c SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nContent-Length: 99999999999999999999\r\n\r\n",
	}
	for name, message := range raw {
		for _, transport := range s.all {
			p := s.dial(stack, transport)
			_, _ = p.Write([]byte(message))
			if transport == "udp" {
				good(p, name)
			} else {
				good(s.dial(stack, transport), name)
			}
		}
	}
	if slices.Contains(s.all, "udp") { // a length that a datagram does not have (RFC 3261 §18.3)
		p := s.dial(stack, "udp")
		p.request("OPTIONS sip:bob@example.com\nContent-Length: 50\n\nshort")
		require.Equal(s, 400, p.response().Status)
	}
	require.Empty(s, calls, "none reached the handler")
}

// injection: no value can add a field or end the header.
func (s *suite) injection() {
	const evil = "a\r\nX-Injected: 1\r\n\r\nbody"
	stack := s.serving(sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, _ *sipx.Request) {
		res := sipx.NewResponse(200, sipx.Field{Name: "X-Text", Value: evil})
		res.Reason = evil
		_ = w.Respond(res)
	}))
	p := s.dial(stack, s.best())
	p.request("OPTIONS sip:bob@example.com")
	res := p.response()
	require.Equal(s, 200, res.Status)
	require.Zero(s, res.Header.Count("X-Injected"))
	require.Empty(s, res.Body)

	e := s.echo()
	p = s.dial(e.Stack, s.best())
	req := options("sip:peer@example.com", 1)
	req.Flow = e.flowOf(p)
	req.From.Display = evil
	req.Header.Add("Subject", evil)
	done := make(outcomes, 1)
	e.Send(req, done)
	got := p.incoming()
	require.Zero(s, got.Header.Count("X-Injected"))
	require.Empty(s, got.Body)
	p.answer(got, 200)
	require.NoError(s, s.wait(done, patience).err)
}

// panics: a handler that panics is answered for, and the stack goes on.
func (s *suite) panics() {
	stack := s.serving(sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		switch r.CallID {
		case "panic":
			panic("planted")
		case "late":
			answer(202)(ctx, w, r)
			panic(errors.New("planted"))
		}
		answer(200)(ctx, w, r)
	}))
	for _, transport := range s.all {
		p := s.dial(stack, transport)
		for id, status := range map[string]int{"panic": 500, "late": 202, "fine": 200} {
			p.request("OPTIONS sip:bob@example.com\nCall-ID: %s", id)
			require.Equal(s, status, p.response().Status, id)
		}
	}
}

// answerLater: a handler may answer after it returned, but only once.
func (s *suite) answerLater() {
	writers := make(chan sipx.ResponseWriter, 1)
	stack := s.serving(sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, _ *sipx.Request) { writers <- w }))
	for _, transport := range s.all {
		p := s.dial(stack, transport)
		p.request("OPTIONS sip:bob@example.com")
		w := within(s, writers, "a request")
		p.silence(20 * time.Millisecond)
		require.NoError(s, w.Respond(sipx.NewResponse(404)))
		require.Equal(s, 404, p.response().Status)
		require.Error(s, w.Respond(sipx.NewResponse(200)))
		p.silence(20 * time.Millisecond)
	}
}

// flood is how many requests are sent at most until one is refused.
const flood = 10000

// overload: handlers are bounded, what does not fit is told to come later, and
// who is in a dialog still gets through.
func (s *suite) overload() {
	release := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(release) }) }
	s.Cleanup(free)
	var mu sync.Mutex
	running, most := 0, 0
	stack := s.serving(sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		if r.To.Tag() == "" {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			<-release
		}
		answer(200)(ctx, w, r)
	}))
	p := s.dial(stack, s.best())
	refused := make(chan struct{})
	sent := make(chan int, 1)
	go func() {
		n := 0
		defer func() { sent <- n }()
		for ; n < flood; n++ {
			_, err := p.Write([]byte(p.message("OPTIONS sip:bob@example.com\nFrom: <sip:u%d@example.com>;tag=1\nCSeq: %d OPTIONS", n, n)))
			if err != nil {
				return
			}
			// Datagrams that the stack had no time to read would be lost, not refused.
			if n%64 == 63 {
				select {
				case <-refused:
					return
				case <-time.After(time.Millisecond):
				}
			}
		}
	}()
	res := p.response()
	close(refused)
	require.Equal(s, 503, res.Status)
	after, ok := sipx.Seconds(res.Header.Get("Retry-After"))
	require.True(s, ok && after > 0, "Retry-After")
	n := within(s, sent, "the flood")
	other := s.dial(stack, s.best())
	refresh := other.message("SUBSCRIBE sip:bob@example.com\nTo: <sip:bob@example.com>;tag=dialog")
	var data []byte
	if other.in != nil {
		other.send(refresh)
		data = other.next()
	}
	for tries := 0; data == nil && tries < 20; tries++ { // a flood of datagrams fills the receive buffer
		other.send(refresh)
		if got, err := other.read(500 * time.Millisecond); err == nil {
			data = got
		}
	}
	require.Contains(s, string(data), "SIP/2.0 200", "a refresh gets through")
	mu.Lock()
	require.Less(s, most, n)
	require.LessOrEqual(s, most, 4096)
	mu.Unlock()
	free()
	// The answers of a peer that reads so late may be too many for its queue.
	_ = p.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = io.Copy(io.Discard, p.Conn)
}

// slowHandler: a handler that takes its time holds up the requests of its own
// sender, and no others: neither requests nor outcomes.
func (s *suite) slowHandler() {
	for _, transport := range s.all {
		release := make(chan struct{})
		came := make(chan sipx.Flow, 100)
		stack := s.serving(sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
			if r.From.URI.User == "slow" {
				<-release
			}
			came <- r.Flow
			answer(200)(ctx, w, r)
		}))
		slow, other := s.dial(stack, transport), s.dial(stack, transport)
		for range 10 {
			slow.request("OPTIONS sip:bob@example.com\nFrom: <sip:slow@example.com>;tag=%d", branch.Add(1))
		}
		for _, p := range []*peer{other, slow} { // another connection, and another sender on the same
			p.request("OPTIONS sip:bob@example.com\nCall-ID: quick")
			require.Equal(s, "quick", p.response().Header.Get("Call-ID"), transport)
		}
		req := options("sip:peer@example.com", 1)
		req.Flow = within(s, came, "a request")
		done := make(outcomes, 1)
		stack.Send(req, done)
		other.answer(other.incoming(), 200)
		require.NoError(s, s.wait(done, patience).err)
		close(release)
		for range 10 {
			require.Equal(s, 200, slow.response().Status)
		}
	}
}

// slowOutcome: a peer that lets requests wait for their outcome holds up nothing.
func (s *suite) slowOutcome() {
	const waiting = 50
	for _, transport := range s.all {
		stack := s.echo()
		slow, other := s.dial(stack.Stack, transport), s.dial(stack.Stack, transport)
		flow, quick := stack.flowOf(slow), stack.flowOf(other)
		done := make(outcomes, waiting)
		var asked []*sipx.Request
		for i := range waiting {
			req := options("sip:peer@example.com", i)
			req.Flow = flow
			stack.Send(req, done)
			asked = append(asked, slow.incoming())
		}
		req := options("sip:peer@example.com", waiting)
		req.Flow = quick
		last := make(outcomes, 1)
		stack.Send(req, last)
		other.answer(other.incoming(), 200)
		require.NoError(s, s.wait(last, patience).err, transport)
		stack.flowOf(other) // requests come, too
		if transport != "udp" {
			stack.flowOf(slow) // from the slow peer as well, which has nothing repeated here
		}
		for _, req := range slices.Backward(asked) { // outcomes come in any order
			slow.answer(req, 200)
		}
		for range waiting {
			require.NoError(s, s.wait(done, patience).err, transport)
		}
	}
}

// fairness: a source that sends as much as is taken leaves room for another one.
func (s *suite) fairness() {
	release := make(chan struct{})
	var once sync.Once
	free := func() { once.Do(func() { close(release) }) }
	s.Cleanup(free)
	stack := s.serving(sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		if strings.HasPrefix(r.From.URI.User, "greedy") {
			<-release
		}
		answer(200)(ctx, w, r)
	}))
	transport := s.best()
	elsewhere := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}
	if l, err := net.ListenTCP("tcp", elsewhere); err != nil {
		if _, ok := stack.(Dialer); !ok {
			s.Skipf("this machine has one loopback address: %v", err)
		}
	} else {
		require.NoError(s, l.Close())
	}
	from := net.Dialer{LocalAddr: elsewhere}
	if transport == "udp" {
		from.LocalAddr = &net.UDPAddr{IP: elsewhere.IP}
	}
	greedy := s.dial(stack, transport)
	refused := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for n := range flood {
			_, err := greedy.Write([]byte(greedy.message("OPTIONS sip:bob@example.com\nFrom: <sip:greedy%d@example.com>;tag=%[1]d", n)))
			if err != nil {
				return
			}
			if n%64 == 63 {
				select {
				case <-refused:
					return
				case <-time.After(time.Millisecond):
				}
			}
		}
	}()
	require.Equal(s, 503, greedy.response().Status, "there is an end to what one source gets")
	close(refused)
	within(s, stopped, "the end of the flood")
	other := s.dialFrom(stack, transport, from)
	message := other.message("OPTIONS sip:bob@example.com\nFrom: <sip:modest@example.com>;tag=modest")
	other.send(message)
	// It may wait for a handler, but it is not refused.
	if data, err := other.read(100 * time.Millisecond); err == nil {
		require.Contains(s, string(data), "SIP/2.0 200")
		return
	}
	free()
	for tries := 0; tries < 20; tries++ { // a flood of datagrams fills the receive buffer
		if data, err := other.read(500 * time.Millisecond); err == nil {
			require.Contains(s, string(data), "SIP/2.0 200")
			return
		}
		if transport == "udp" {
			other.send(message)
		}
	}
	s.Fatal("another source got no answer")
}
