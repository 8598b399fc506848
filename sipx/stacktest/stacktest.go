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

// Run tests the stacks that newStack makes, over each of "udp", "tcp", "tls", "ws"
// and "wss" that they listen on, on the loopback interface with free ports. Tests of
// connections are skipped where there are none. Two stacks must reach each other:
// over tls by the certificates that they have. Where a stack's transaction timeout
// can be set, set it to two seconds: a test waits for it.
//
// A failed test names the promise that is broken.
func Run(t *testing.T, newStack func(t *testing.T) sipx.Stack) {
	for _, test := range []struct {
		name    string
		promise string
		run     func(*suite)
	}{
		{"Listening", "Listening tells the real ports", (*suite).listening},
		{"Request", "a handler gets a request whole, checked, with its flow", (*suite).request},
		{"Response", "a response has all that the handler decided, and what RFC 3261 §8.2.6 asks for", (*suite).response},
		{"SentRequest", "a request leaves as it was given, with what RFC 3261 §8.1.1 asks for", (*suite).sentRequest},
		{"AsPrinted", "the odd Via of a BluStar client is answered where the request came from", (*suite).asPrinted},
		{"LargeBodies", "messages of any size up to that of a datagram go over every transport", (*suite).largeBodies},
		{"TooLarge", "what does not fit a datagram is ErrTooLarge", (*suite).tooLarge},
		{"RouteSet", "a request goes to the first of its routes", (*suite).routeSet},
		{"Contact", "a peer that sends to a Contact reaches the stack over the same transport", (*suite).contact},
		{"OrderOfHandling", "requests of one sender are handled one after another, as they came", (*suite).orderOfHandling},
		{"OrderOfSending", "requests leave in the order of the calls to Send", (*suite).orderOfSending},
		{"ResponseLeavesFirst", "a request sent after Respond does not overtake the response", (*suite).responseLeavesFirst},
		{"RetransmissionsAbsorbed", "a request that comes again is answered again, and handled once",
			(*suite).retransmissions},
		{"Calls", "an INVITE is answered 405, and neither it nor ACK nor CANCEL reaches the handler", (*suite).calls},
		{"OneOutcome", "a request has one outcome: its final response, or an error", (*suite).oneOutcome},
		{"DeadHost", "a request that nobody answers is repeated, ends with ErrTimeout, and holds up nothing",
			(*suite).deadHost},
		{"Flows", "a request goes by its flow, whatever its URI says", (*suite).flows},
		{"FlowLost", "the loss of a connection is told once, and fails what waits for it", (*suite).flowLost},
		{"PeerDoesNotRead", "a peer that does not read costs its own queue, and Send does not block",
			(*suite).peerDoesNotRead},
		{"Fragments", "a stream may be cut anywhere", (*suite).fragments},
		{"LinearFraming", "the work for a byte of a stream does not grow with what came before", (*suite).linearFraming},
		{"HostileMessages", "what is no valid request is answered where it can be, and harms nothing", (*suite).hostile},
		{"Injection", "no value can add a field or end the header", (*suite).injection},
		{"Panic", "a handler that panics is answered for, and the stack goes on", (*suite).panics},
		{"AnswerLater", "a handler may answer after it returned, but once", (*suite).answerLater},
		{"SlowHandler", "a handler that takes its time holds up its own sender only", (*suite).slowHandler},
		{"SlowOutcome", "a peer that answers late holds up nothing but its own requests", (*suite).slowOutcome},
		{"Overload", "what is too much is answered 503, and who is in a dialog gets through", (*suite).overload},
		{"Fairness", "a source that takes all that it can get leaves room for others", (*suite).fairness},
		{"BeforeServe", "requests wait for Serve, and can be sent before", (*suite).beforeServe},
		{"AfterServe", "after Serve nothing begins, and what is there can be ended until Shutdown", (*suite).afterServe},
		{"Shutdown", "Shutdown waits for what runs, and closes all", (*suite).shutdown},
		{"ShutdownCutShort", "when its context ends, Shutdown ends what is under way", (*suite).shutdownCutShort},
		{"TwoStacks", "two stacks in a process know nothing of each other", (*suite).twoStacks},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("The broken promise: %s.", test.promise)
				}
			})
			// The last to run but for that, after all stacks were shut down.
			t.Cleanup(func() { goleak.VerifyNone(t, before) })
			test.run(&suite{T: t, newStack: newStack, all: transports(t, newStack)})
		})
	}
}

// transports returns those that the stacks listen on.
func transports(t *testing.T, newStack func(t *testing.T) sipx.Stack) (all []string) {
	t.Helper()
	stack := newStack(t)
	for _, transport := range []string{"udp", "tcp", "tls", "ws", "wss"} {
		if slices.ContainsFunc(stack.Listening(), func(f sipx.Flow) bool { return f.Transport == transport }) {
			all = append(all, transport)
		}
	}
	require.NotEmpty(t, all, "the stack listens on nothing")
	require.NoError(t, stack.Shutdown(context.Background()))
	return all
}

// patience is how long a test waits for what should come at once.
const patience = 5 * time.Second

// suite is one sub-test.
type suite struct {
	*testing.T
	newStack func(t *testing.T) sipx.Stack
	all      []string // the transports to test
}

// need skips the test where the stack has not this transport.
func (s *suite) need(transport string) {
	s.Helper()
	if !slices.Contains(s.all, transport) {
		s.Skipf("the stack does not listen on %s", transport)
	}
}

// best returns the transport for tests that are about something else: one that
// loses nothing, where there is one.
func (s *suite) best() string { return s.all[min(1, len(s.all)-1)] }

// streams returns the transports that have connections, and skips the test where
// there are none.
func (s *suite) streams() []string {
	s.Helper()
	list := slices.DeleteFunc(slices.Clone(s.all), func(t string) bool { return t == "udp" })
	if len(list) == 0 {
		s.Skip("the stack has no connections")
	}
	return list
}

// open returns the transports over which a stack can begin to speak to another: not
// those of browsers, whose connections only they can open.
func (s *suite) open() []string {
	return slices.DeleteFunc(slices.Clone(s.all), func(t string) bool { return t == "ws" || t == "wss" })
}

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
	return s.dialFrom(stack, transport, net.Dialer{})
}

func (s *suite) dialFrom(stack sipx.Stack, transport string, from net.Dialer) *peer {
	s.Helper()
	var c net.Conn
	var err error
	if d, ok := stack.(Dialer); ok {
		c, err = d.Dial(transport)
	} else {
		c, err = connect(from, transport, s.addr(stack, transport))
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
		message := p.next()
		if p.transport == "udp" && !bytes.HasPrefix(message, []byte("SIP/2.0 ")) {
			continue // a request that the stack repeats, since it has not come to our answer yet
		}
		res, err := sipx.ParseResponse(message)
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
