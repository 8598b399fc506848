package sipx_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/dispatch"
)

// udpStack is a complete, small sipx.Stack: what it takes to put the presence
// server on a SIP stack of your own. This one has a UDP socket and its own
// transactions; yours has what your library gives, and the rest is as here.
type udpStack struct {
	conn    *net.UDPConn
	local   netip.AddrPort
	jobs    *dispatch.Dispatcher // order, bounds, panics
	timeout time.Duration        // of a request that nobody answers
	reading sync.WaitGroup
	down    chan struct{} // closed by Shutdown

	mu       sync.Mutex
	handler  sipx.Handler
	leaving  bool
	handling context.Context
	stop     context.CancelFunc
	closing  bool
	calls    map[string]*call           // requests under way, by branch
	answers  map[string]*datagramAnswer // requests taken, by transaction; at most maxAnswers
	drained  chan struct{}              // closed when calls is empty, once Shutdown waits
}

// Bounds of what the network can make a udpStack hold.
const (
	maxAnswers = 100_000
	maxCalls   = 10_000
)

// listenUDP opens the socket. Responses are read from now on, and requests wait
// in the dispatcher until Serve.
func listenUDP(address string, timeout time.Duration) (*udpStack, error) {
	conn, err := net.ListenPacket("udp4", address)
	if err != nil {
		return nil, err
	}
	s := &udpStack{
		conn:    conn.(*net.UDPConn),
		local:   conn.LocalAddr().(*net.UDPAddr).AddrPort(),
		jobs:    dispatch.New(dispatch.Config{}),
		timeout: timeout,
		down:    make(chan struct{}),
		calls:   make(map[string]*call),
		answers: make(map[string]*datagramAnswer),
	}
	s.reading.Go(s.read)
	return s, nil
}

func (s *udpStack) Listening() []sipx.Flow {
	return []sipx.Flow{{Transport: "udp", Local: s.local}}
}

func (s *udpStack) Contact(sipx.Flow) string { return "<sip:" + s.local.String() + ">" }

func (s *udpStack) Serve(ctx context.Context, h sipx.Handler) error {
	s.mu.Lock()
	s.handler = h
	s.handling, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Unlock()
	s.jobs.Start()
	select {
	case <-ctx.Done():
		s.mu.Lock()
		s.leaving = true // what would begin something is refused
		s.mu.Unlock()
	case <-s.down:
	}
	return nil
}

func (s *udpStack) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return nil
	}
	s.closing = true
	drained := make(chan struct{})
	if s.drained = drained; len(s.calls) == 0 {
		close(drained)
		s.drained = nil
	}
	s.mu.Unlock()
	close(s.down)

	err := s.jobs.Stop(ctx) // handlers
	select {
	case <-drained: // requests under way
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	if s.stop != nil {
		s.stop()
	}
	var left []*call
	for _, c := range s.calls {
		left = append(left, c)
	}
	for _, a := range s.answers {
		a.forget.Stop()
	}
	s.mu.Unlock()
	for _, c := range left {
		c.finish(nil, sipx.ErrStackClosed)
	}
	_ = s.conn.Close()
	s.reading.Wait()
	return err
}

// read takes messages from the network, one at a time: that is their order.
func (s *udpStack) read() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // about a datagram sent before
		case bytes.HasPrefix(buf[:n], []byte("SIP/2.0 ")):
			s.response(buf[:n])
		default:
			s.request(buf[:n], from)
		}
	}
}

// request checks a request at the edge, absorbs retransmissions, and has it
// handled in its turn.
func (s *udpStack) request(data []byte, from netip.AddrPort) {
	flow := sipx.Flow{Transport: "udp", Local: s.local, Remote: from}
	req, err := sipx.ParseRequest(data)
	to := from
	if err == nil {
		to, err = req.Arrived(flow)
	}
	if err != nil {
		if answer := sipx.AppendRejection(nil, data, err); answer != nil {
			_, _ = s.conn.WriteToUDPAddrPort(answer, from)
		}
		return
	}
	key := from.String() + req.TransactionKey()
	s.mu.Lock()
	a := s.answers[key]
	again := a != nil
	full := !again && len(s.answers) >= maxAnswers
	if !again && !full && req.Method != "ACK" {
		a = &datagramAnswer{stack: s, req: req, to: to}
		a.forget = time.AfterFunc(s.timeout, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.answers, key)
		})
		s.answers[key] = a
	}
	s.mu.Unlock()
	switch {
	case again:
		a.repeat()
	case full: // it will come again
	case req.Method == "ACK":
	case req.Method == "INVITE": // there are no calls here
		_ = a.Respond(sipx.NewResponse(405, sipx.Field{Name: "Allow", Value: "SUBSCRIBE, PUBLISH, NOTIFY, OPTIONS"}))
	case req.Method == "CANCEL":
		_ = a.Respond(sipx.NewResponse(481))
	default:
		s.handle(a)
	}
}

func (s *udpStack) handle(a *datagramAnswer) {
	busy := sipx.NewResponse(503, sipx.Field{Name: "Retry-After", Value: "10"})
	req := a.req
	established := dispatch.IsEstablished(req)
	taken := s.jobs.Submit(dispatch.Job{
		Lane:        dispatch.LaneOf(req),
		Source:      req.Flow.Source(),
		Established: established,
		Task: dispatch.TaskFunc(func() {
			s.mu.Lock()
			h, ctx, leaving := s.handler, s.handling, s.leaving
			s.mu.Unlock()
			if leaving && !established {
				_ = a.Respond(busy)
				return
			}
			dispatch.Serve(ctx, h, a, req, slog.New(slog.DiscardHandler))
		}),
	})
	if !taken {
		_ = a.Respond(busy)
	}
}

// datagramAnswer is the ResponseWriter of a request, and afterwards what is
// sent when the request comes again.
type datagramAnswer struct {
	stack  *udpStack
	req    *sipx.Request
	to     netip.AddrPort
	forget *time.Timer

	mu   sync.Mutex
	data []byte
}

func (a *datagramAnswer) Respond(res *sipx.Response) error {
	a.mu.Lock()
	if a.data != nil {
		a.mu.Unlock()
		return errors.New("answered already")
	}
	if res.ToTag == "" {
		tagged := *res
		tagged.ToTag = rand.Text()[:8]
		res = &tagged
	}
	a.data = res.AppendTo(nil, a.req)
	a.mu.Unlock()
	a.repeat()
	return nil
}

func (a *datagramAnswer) repeat() {
	a.mu.Lock()
	data := a.data
	a.mu.Unlock()
	if data != nil {
		_, _ = a.stack.conn.WriteToUDPAddrPort(data, a.to)
	}
}

// call is a request under way, with timers E and F of RFC 3261 §17.1.2.2.
type call struct {
	stack  *udpStack
	req    *sipx.Request
	method string
	done   sipx.ResponseHandler
	branch string
	to     netip.AddrPort
	data   []byte
	once   sync.Once

	mu       sync.Mutex
	interval time.Duration
	timer    *time.Timer
	finished bool
}

func (s *udpStack) Send(req *sipx.Request, done sipx.ResponseHandler) {
	c := &call{stack: s, req: req, method: req.Method, done: done, branch: "z9hG4bK" + rand.Text(), interval: 500 * time.Millisecond}
	c.data = req.AppendTo(nil, "SIP/2.0/UDP "+s.local.String()+";branch="+c.branch+";rport")
	var err error
	c.to, err = destination(req)
	c.mu.Lock() // until it has its timer: Shutdown may finish it before
	s.mu.Lock()
	switch {
	case err != nil:
	case s.closing:
		err = sipx.ErrStackClosed
	case len(s.calls) >= maxCalls:
		err = sipx.ErrQueueFull
	default:
		s.calls[c.branch] = c
	}
	s.mu.Unlock()
	if err != nil {
		c.mu.Unlock()
		done.HandleResponse(req, nil, err)
		return
	}
	deadline := time.Now().Add(s.timeout)
	c.timer = time.AfterFunc(min(c.interval, s.timeout), func() { c.again(deadline) })
	c.mu.Unlock()
	c.transmit()
}

// destination is the next hop: the flow, else the first route, else the URI. A
// real stack asks DNS for names (RFC 3263).
func destination(req *sipx.Request) (netip.AddrPort, error) {
	if req.Flow.Remote.IsValid() {
		return req.Flow.Remote, nil
	}
	next := req.URI
	if len(req.Route) > 0 {
		route, err := sipx.ParseAddress(req.Route[0])
		if err != nil {
			return netip.AddrPort{}, err
		}
		next = route.URI
	}
	if next.Port == 0 {
		next.Port = 5060
	}
	return netip.ParseAddrPort(net.JoinHostPort(next.Host, strconv.Itoa(next.Port)))
}

func (c *call) transmit() {
	_, err := c.stack.conn.WriteToUDPAddrPort(c.data, c.to)
	if errors.Is(err, syscall.EMSGSIZE) {
		err = sipx.ErrTooLarge
	}
	if err != nil {
		c.finish(nil, err)
	}
}

func (c *call) again(deadline time.Time) {
	left := time.Until(deadline)
	if left <= 0 {
		c.finish(nil, sipx.ErrTimeout)
		return
	}
	c.transmit()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished { // meanwhile
		return
	}
	c.interval = min(2*c.interval, 4*time.Second)
	c.timer.Reset(min(c.interval, left))
}

func (s *udpStack) response(data []byte) {
	res, err := sipx.ParseResponse(data)
	if err != nil || res.Status < 200 {
		return
	}
	via, err := res.Header.TopVia()
	if err != nil {
		return
	}
	s.mu.Lock()
	c := s.calls[via.Branch()]
	s.mu.Unlock()
	if c != nil && c.method == res.Header.CSeqMethod() {
		c.finish(res, nil)
	}
}

// finish reports the outcome, once.
func (c *call) finish(res *sipx.Response, err error) {
	c.once.Do(func() {
		c.mu.Lock()
		c.finished = true
		c.timer.Stop()
		c.mu.Unlock()
		s := c.stack
		s.mu.Lock()
		delete(s.calls, c.branch)
		s.mu.Unlock()
		c.done.HandleResponse(c.req, res, err)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.calls) == 0 && s.drained != nil {
			close(s.drained)
			s.drained = nil
		}
	})
}

// Wiring your own stack: implement sipx.Stack, hold it to its promises with
// stacktest.Run, and give it to the presence server like any other. This stack
// has one UDP socket; its test is
//
//	func TestWiring(t *testing.T) {
//		stacktest.Run(t, func(t *testing.T) sipx.Stack {
//			s, err := listenUDP("127.0.0.1:0", 2*time.Second)
//			require.NoError(t, err)
//			return s
//		})
//	}
func Example_wiringYourOwnStack() {
	server, err := listenUDP("127.0.0.1:0", 32*time.Second)
	if err != nil {
		panic(err)
	}
	defer server.Shutdown(context.Background())
	go server.Serve(context.Background(), sipx.HandlerFunc(
		func(_ context.Context, w sipx.ResponseWriter, r *sipx.Request) {
			_ = w.Respond(sipx.NewResponse(489, sipx.Field{Name: "Allow-Events", Value: "presence"}))
		}))

	client, err := listenUDP("127.0.0.1:0", 32*time.Second)
	if err != nil {
		panic(err)
	}
	defer client.Shutdown(context.Background())
	me, _ := sipx.ParseAddress("<sip:alice@example.com>;tag=1")
	there, _ := sipx.ParseAddress(server.Contact(sipx.Flow{}))
	res, err := sipx.Do(context.Background(), client, &sipx.Request{
		Method: "SUBSCRIBE", URI: there.URI, From: me, To: sipx.Address{URI: me.URI},
		CallID: "a84b4c76e66710", CSeq: 1,
		Header: sipx.Header{{Name: "Event", Value: "weather"}},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(res.Status, res.ReasonPhrase(), res.Header.Get("Allow-Events"))
	// Output: 489 Bad Event presence
}
