// Package stacktest holds a [sipx.Stack] to its promises: the tests of
// [Run] are everything that a presence server needs of one.
//
// A stack's own test is one call:
//
//	func TestStack(t *testing.T) {
//		stacktest.Run(t, func(t *testing.T) sipx.Stack {
//			s, err := mystack.Listen("127.0.0.1:0")
//			require.NoError(t, err)
//			return s
//		})
//	}
//
// Each test asks for one or more stacks, talks to them over real sockets, and
// shuts them down; at the end no goroutine may be left.
package stacktest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/sipx"
)

// Dialer is for stacks that are not on real sockets: how a peer connects to the
// stack over a transport. A Write on the connection is one message.
type Dialer interface {
	Dial(transport string) (net.Conn, error)
}

// Run tests the stacks that newStack makes, over "udp" and "tcp" or the one of
// the two that they listen on, on the loopback interface with free ports. Tests
// of connections are skipped where there is no "tcp". Two stacks must reach each
// other. Where a stack's transaction timeout can be set, set it to two seconds: a
// test waits for it.
func Run(t *testing.T, newStack func(t *testing.T) sipx.Stack) {
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"Listening", (*suite).listening},
		{"Request", (*suite).request},
		{"Response", (*suite).response},
		{"SentRequest", (*suite).sentRequest},
		{"AsPrinted", (*suite).asPrinted},
		{"LargeBodies", (*suite).largeBodies},
		{"TooLarge", (*suite).tooLarge},
		{"RouteSet", (*suite).routeSet},
		{"Contact", (*suite).contact},
		{"OrderOfHandling", (*suite).orderOfHandling},
		{"OrderOfSending", (*suite).orderOfSending},
		{"ResponseLeavesFirst", (*suite).responseLeavesFirst},
		{"RetransmissionsAbsorbed", (*suite).retransmissions},
		{"Calls", (*suite).calls},
		{"OneOutcome", (*suite).oneOutcome},
		{"DeadHost", (*suite).deadHost},
		{"Flows", (*suite).flows},
		{"FlowLost", (*suite).flowLost},
		{"PeerDoesNotRead", (*suite).peerDoesNotRead},
		{"Fragments", (*suite).fragments},
		{"HostileMessages", (*suite).hostile},
		{"Injection", (*suite).injection},
		{"Panic", (*suite).panics},
		{"AnswerLater", (*suite).answerLater},
		{"Overload", (*suite).overload},
		{"BeforeServe", (*suite).beforeServe},
		{"AfterServe", (*suite).afterServe},
		{"Shutdown", (*suite).shutdown},
		{"ShutdownCutShort", (*suite).shutdownCutShort},
		{"TwoStacks", (*suite).twoStacks},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			// The last to run, after all stacks were shut down.
			t.Cleanup(func() { goleak.VerifyNone(t, before) })
			test.run(&suite{T: t, newStack: newStack, both: transports(t, newStack)})
		})
	}
}

// transports returns those of "udp" and "tcp" that the stacks listen on.
func transports(t *testing.T, newStack func(t *testing.T) sipx.Stack) (both []string) {
	t.Helper()
	stack := newStack(t)
	for _, transport := range []string{"udp", "tcp"} {
		if slices.ContainsFunc(stack.Listening(), func(f sipx.Flow) bool { return f.Transport == transport }) {
			both = append(both, transport)
		}
	}
	require.NotEmpty(t, both, "the stack listens neither on udp nor on tcp")
	require.NoError(t, stack.Shutdown(context.Background()))
	return both
}

// patience is how long a test waits for what should come at once.
const patience = 5 * time.Second

// suite is one sub-test.
type suite struct {
	*testing.T
	newStack func(t *testing.T) sipx.Stack
	both     []string // the transports to test
}

// need skips the test where the stack has not this transport.
func (s *suite) need(transport string) {
	s.Helper()
	if !slices.Contains(s.both, transport) {
		s.Skipf("the stack does not listen on %s", transport)
	}
}

// best returns the transport for tests that are about something else: one that
// loses nothing, where there is one.
func (s *suite) best() string { return s.both[len(s.both)-1] }

// stack makes a stack that is shut down at the end.
func (s *suite) stack() sipx.Stack {
	s.Helper()
	stack := s.newStack(s.T)
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = stack.Shutdown(ctx)
	})
	return stack
}

// serving makes a stack that serves h.
func (s *suite) serving(h sipx.Handler) sipx.Stack {
	s.Helper()
	stack := s.stack()
	s.serve(stack, h)
	return stack
}

func (s *suite) serve(stack sipx.Stack, h sipx.Handler) {
	var served sync.WaitGroup
	served.Go(func() {
		if err := stack.Serve(context.Background(), h); err != nil {
			s.Errorf("Serve: %v", err)
		}
	})
	s.Cleanup(func() { // before the one of stack, which comes then to nothing
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = stack.Shutdown(ctx)
		served.Wait()
	})
}

// echo is a stack that answers 200, and tells by which flows requests came and
// which connections were lost.
type echo struct {
	sipx.Stack
	suite  *suite
	came   chan sipx.Flow
	closed chan sipx.Flow
}

func (s *suite) echo() *echo {
	s.Helper()
	e := &echo{s.stack(), s, make(chan sipx.Flow, 1024), make(chan sipx.Flow, 1024)}
	s.serve(e.Stack, e)
	return e
}

// ServeSIP implements sipx.Handler.
func (e *echo) ServeSIP(_ context.Context, w sipx.ResponseWriter, r *sipx.Request) {
	e.came <- r.Flow
	_ = w.Respond(sipx.NewResponse(200))
}

// FlowClosed implements sipx.FlowObserver.
func (e *echo) FlowClosed(f sipx.Flow) { e.closed <- f }

// flowOf returns the flow by which p reaches the stack.
func (e *echo) flowOf(p *peer) sipx.Flow {
	e.suite.Helper()
	p.request("OPTIONS sip:bob@example.com")
	p.response()
	return within(e.suite, e.came, "a request")
}

func answer(status int) sipx.HandlerFunc {
	return func(_ context.Context, w sipx.ResponseWriter, _ *sipx.Request) {
		_ = w.Respond(sipx.NewResponse(status))
	}
}

// addr returns where the stack listens, as host:port.
func (s *suite) addr(stack sipx.Stack, transport string) string {
	s.Helper()
	for _, f := range stack.Listening() {
		if f.Transport == transport {
			return f.Local.String()
		}
	}
	s.Fatalf("the stack does not listen on %s", transport)
	return ""
}

// branch numbers the branches of all peers, and what makes other requests unique.
var branch atomic.Uint64

// peer is a client that writes its own bytes.
type peer struct {
	*suite
	net.Conn
	in        *bufio.Reader // nil for datagrams
	transport string
}

func (s *suite) dial(stack sipx.Stack, transport string) *peer {
	s.Helper()
	var c net.Conn
	var err error
	if d, ok := stack.(Dialer); ok {
		c, err = d.Dial(transport)
	} else {
		c, err = net.Dial(transport, s.addr(stack, transport))
	}
	require.NoError(s, err)
	s.Cleanup(func() { _ = c.Close() })
	p := &peer{suite: s, Conn: c, transport: transport}
	if transport != "udp" {
		p.in = bufio.NewReader(c)
	}
	return p
}

// message writes a request of the peer: its first line, further fields, and a
// body after an empty line.
func (p *peer) message(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	head, body, _ := strings.Cut(text, "\n\n")
	first, fields, _ := strings.Cut(head, "\n")
	method, _, _ := strings.Cut(first, " ")
	lines := []string{first + " SIP/2.0"}
	add := func(name, value string) {
		compact := map[string]string{"From": "f"}[name]
		if !strings.Contains("\n"+fields, "\n"+name+":") &&
			(compact == "" || !strings.Contains("\n"+fields, "\n"+compact+":")) {
			lines = append(lines, name+": "+value)
		}
	}
	n := branch.Add(1)
	add("Via", fmt.Sprintf("SIP/2.0/%s %s;branch=z9hG4bKpeer%d;rport", strings.ToUpper(p.transport), p.LocalAddr(), n))
	add("Max-Forwards", "70")
	add("From", fmt.Sprintf("<sip:alice@example.com>;tag=a%d", n))
	add("To", "<sip:bob@example.com>")
	add("Call-ID", "call-1")
	add("CSeq", "1 "+method)
	if fields != "" {
		lines = append(lines, strings.Split(fields, "\n")...)
	}
	add("Content-Length", strconv.Itoa(len(body)))
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

func (p *peer) send(message string) {
	p.Helper()
	_, err := p.Write([]byte(message))
	require.NoError(p, err)
}

// request sends a request.
func (p *peer) request(format string, args ...any) {
	p.Helper()
	p.send(p.message(format, args...))
}

// next reads a message.
func (p *peer) next() []byte {
	p.Helper()
	data, err := p.read(patience)
	require.NoError(p, err)
	return data
}

// silence checks that nothing comes for a while.
func (p *peer) silence(d time.Duration) {
	p.Helper()
	data, err := p.read(d)
	require.Error(p, err, "unexpected message: %s", data)
}

func (p *peer) read(d time.Duration) ([]byte, error) {
	_ = p.SetReadDeadline(time.Now().Add(d))
	if p.in == nil {
		buf := make([]byte, 64<<10)
		n, err := p.Conn.Read(buf)
		return buf[:n], err
	}
	var head bytes.Buffer
	length := 0
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			return head.Bytes(), err
		}
		if head.Len() == 0 && line == "\r\n" {
			continue
		}
		head.WriteString(line)
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(name), "Content-Length") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return nil, err
			}
		}
		if line == "\r\n" {
			break
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(p.in, body); err != nil {
		return nil, err
	}
	return append(head.Bytes(), body...), nil
}

// response reads a final response.
func (p *peer) response() *sipx.Response {
	p.Helper()
	for {
		res, err := sipx.ParseResponse(p.next())
		require.NoError(p, err)
		if res.Status >= 200 {
			return res
		}
	}
}

// incoming reads a request.
func (p *peer) incoming() *sipx.Request {
	p.Helper()
	data := p.next()
	req, err := sipx.ParseRequest(data)
	require.NoError(p, err, "%s", data)
	return req
}

// answer writes the response to a request that the peer got.
func (p *peer) answer(req *sipx.Request, status int) {
	p.Helper()
	p.send(string((&sipx.Response{Status: status, ToTag: "peer"}).AppendTo(nil, req)))
}

// outcome is what was reported of a request.
type outcome struct {
	res *sipx.Response
	err error
}

// outcomes collects what is reported.
type outcomes chan outcome

func (o outcomes) HandleResponse(_ *sipx.Request, res *sipx.Response, err error) {
	o <- outcome{res, err}
}

// wait waits for an outcome.
func (s *suite) wait(o outcomes, d time.Duration) outcome {
	s.Helper()
	select {
	case got := <-o:
		return got
	case <-time.After(d):
		s.Fatal("no outcome was reported")
		return outcome{}
	}
}

// within waits for something to be received.
func within[T any](s *suite, c <-chan T, what string) T {
	s.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		s.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// options makes a request to target, which may be zero where the flow is set.
func options(target string, n int) *sipx.Request {
	uri, err := sipx.ParseURI(target)
	if err != nil {
		panic(err)
	}
	from, _ := sipx.ParseAddress(fmt.Sprintf("<sip:server@example.com>;tag=s%d", branch.Add(1)))
	to, _ := sipx.ParseAddress("<sip:peer@example.com>")
	return &sipx.Request{Method: "OPTIONS", URI: uri, From: from, To: to,
		CallID: "from-server", CSeq: uint32(n)}
}
