package sipxtest

import (
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// call is a request under way: a client transaction (RFC 3261 §17.1.2).
type call struct {
	stack    *Stack
	req      *sipx.Request
	method   string
	done     sipx.ResponseHandler
	branch   string
	conn     *conn // nil over udp
	to       netip.AddrPort
	data     []byte
	deadline time.Time
	interval time.Duration
	once     sync.Once

	mu       sync.Mutex
	timer    *time.Timer
	finished bool
}

// Send implements sipx.Sender.
func (s *Stack) Send(req *sipx.Request, done sipx.ResponseHandler) {
	n := s.network
	c := &call{stack: s, req: req, method: req.Method, done: done, interval: n.cfg.T1,
		branch: "z9hG4bK-" + strconv.FormatUint(n.number(), 36)}
	transport, err := c.route()
	if err == nil {
		sentBy := s.addr
		if c.conn != nil {
			sentBy = c.conn.flow.Local
		}
		c.data = req.AppendTo(nil, "SIP/2.0/"+strings.ToUpper(transport)+" "+sentBy.String()+";branch="+c.branch+";rport")
		err = s.enter(c) // from here on a Shutdown may finish it
	}
	if err != nil {
		done.HandleResponse(req, nil, err)
		return
	}
	c.deadline = time.Now().Add(n.cfg.Timeout)
	c.mu.Lock()
	if c.finished {
		c.mu.Unlock()
		return
	}
	wait := n.cfg.Timeout
	if c.conn == nil && transport == "udp" {
		wait = min(c.interval, wait)
	}
	c.timer = time.AfterFunc(wait, c.tick)
	c.mu.Unlock()
	if c.conn == nil && transport == "udp" && len(c.data) > maxDatagram {
		c.finish(nil, sipx.ErrTooLarge)
		return
	}
	c.transmit(transport)
}

// maxDatagram is what IPv4 lets a datagram have, in bytes.
const maxDatagram = 65507

// route finds the way of the request (RFC 3261 §8.1.2, §12.2.1.1).
func (c *call) route() (transport string, err error) {
	s, req := c.stack, c.req
	if req.Flow.Conn != 0 {
		s.mu.Lock()
		c.conn = s.conns[req.Flow.Conn]
		s.mu.Unlock()
		if c.conn == nil {
			return "", sipx.ErrFlowClosed
		}
		return c.conn.flow.Transport, nil
	}
	if req.Flow.Remote.IsValid() {
		c.to, transport = req.Flow.Remote, req.Flow.Transport
	} else {
		next := req.URI
		if len(req.Route) > 0 {
			a, err := sipx.ParseAddress(req.Route[0])
			if err != nil {
				return "", err
			}
			next = a.URI
		}
		if c.to, err = s.network.resolve(next.Host, next.Port); err != nil {
			return "", err
		}
		transport, _ = next.Param("transport")
		transport = strings.ToLower(transport)
		if next.Scheme == "sips" {
			transport = "tls"
		}
	}
	if transport == "" {
		transport = "udp"
	}
	if transport != "udp" {
		c.conn, err = s.connect(dialKey{transport, c.to})
	}
	return transport, err
}

// enter notes the call as under way.
func (s *Stack) enter(c *call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return sipx.ErrStackClosed
	case len(s.calls) >= s.network.cfg.MaxPending:
		return sipx.ErrQueueFull
	}
	s.calls[c.branch] = c
	return nil
}

func (c *call) transmit(transport string) {
	n := c.stack.network
	if c.conn != nil {
		n.carry(Packet{transport, c.conn.flow.Local, c.conn.flow.Remote, c.data}, c.conn, c.conn.peer.receive)
	} else if transport == "udp" {
		n.datagram(c.stack.addr, c.to, c.data)
	}
}

// tick retransmits, or gives up.
func (c *call) tick() {
	left := time.Until(c.deadline)
	if left <= 0 {
		c.finish(nil, sipx.ErrTimeout)
		return
	}
	c.transmit("udp")
	c.interval = min(2*c.interval, 8*c.stack.network.cfg.T1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.finished { // meanwhile
		c.timer.Reset(min(c.interval, left))
	}
}

// finish reports the outcome, the first time it is called.
func (c *call) finish(res *sipx.Response, err error) {
	c.once.Do(func() {
		c.mu.Lock()
		c.finished = true
		if c.timer != nil {
			c.timer.Stop()
		}
		c.mu.Unlock()
		s := c.stack
		s.mu.Lock()
		delete(s.calls, c.branch)
		s.mu.Unlock()
		c.done.HandleResponse(c.req, res, err)
		s.mu.Lock()
		if len(s.calls) == 0 && s.idle != nil {
			close(s.idle)
			s.idle = nil
		}
		s.mu.Unlock()
	})
}

// response takes a response that came for this stack.
func (s *Stack) response(data []byte) {
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
	if c != nil && res.Header.CSeqMethod() == c.method {
		c.finish(res, nil)
	}
}
