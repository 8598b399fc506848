package sipxtest

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// serverKey tells the requests of one peer apart.
type serverKey struct {
	remote netip.AddrPort
	conn   uint64
	key    string
}

// server is what a stack remembers of a request, to know retransmissions and to
// answer them (RFC 3261 §17.2.2).
type server struct {
	mu     sync.Mutex
	answer []byte
	timer  *time.Timer
}

// datagram carries a message over udp.
func (n *Network) datagram(from, to netip.AddrPort, data []byte) {
	n.carry(Packet{"udp", from, to, data}, nil, func(data []byte) {
		n.mu.Lock()
		s, r := n.stacks[to], n.raws[to]
		n.mu.Unlock()
		if r != nil && r.near == nil && r.remote == from {
			r.receive(data)
		}
		if s == nil {
			return
		}
		flow := sipx.Flow{Transport: "udp", Local: to, Remote: from}
		s.receive(flow, nil, data)
	})
}

// receive takes a message that arrived over the connection.
func (c *conn) receive(data []byte) {
	if c.raw != nil {
		c.raw.receive(data)
		return
	}
	c.stack.mu.Lock()
	open := c.stack.conns[c.flow.Conn] == c
	c.stack.mu.Unlock()
	if open {
		c.stack.receive(c.flow, c, data)
	}
}

func (s *Stack) receive(flow sipx.Flow, c *conn, data []byte) {
	if bytes.HasPrefix(data, []byte("SIP/")) {
		s.response(data)
		return
	}
	w := &responder{stack: s, flow: flow, conn: c, to: flow.Remote}
	req, err := sipx.ParseRequest(data)
	if err == nil {
		w.to, err = req.Arrived(flow)
	}
	if err != nil {
		if answer := sipx.AppendRejection(nil, data, err); answer != nil {
			w.write(answer)
		}
		return
	}
	if req.Method == "ACK" {
		return
	}
	w.req = req
	key := serverKey{flow.Remote, flow.Conn, req.TransactionKey()}
	s.mu.Lock()
	known := s.servers[key]
	if known == nil && !s.closed {
		w.server = &server{}
		w.server.timer = time.AfterFunc(s.network.cfg.Timeout, func() {
			s.mu.Lock()
			delete(s.servers, key)
			s.mu.Unlock()
		})
		s.servers[key] = w.server
	}
	closed := s.closed
	s.mu.Unlock()
	switch {
	case known != nil:
		known.mu.Lock()
		answer := known.answer
		known.mu.Unlock()
		if answer != nil {
			w.write(answer)
		}
	case closed:
	case req.Method == "INVITE":
		_ = w.Respond(sipx.NewResponse(405, sipx.Field{Name: "Allow", Value: "SUBSCRIBE, PUBLISH, NOTIFY, OPTIONS"}))
	case req.Method == "CANCEL": // nothing here can be canceled (RFC 3261 §9.2)
		_ = w.Respond(sipx.NewResponse(481))
	default:
		if c != nil {
			s.serve(w, req, &c.group)
		} else {
			s.serve(w, req, nil)
		}
	}
}

// forget drops what is known of requests.
func (s *Stack) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.servers {
		known.timer.Stop()
	}
	clear(s.servers)
}

var errAnswered = errors.New("sipxtest: the request has been answered")

// responder answers a request.
type responder struct {
	stack  *Stack
	flow   sipx.Flow
	conn   *conn
	to     netip.AddrPort // of datagrams
	req    *sipx.Request
	server *server
}

// Respond implements sipx.ResponseWriter.
func (w *responder) Respond(res *sipx.Response) error {
	if res.ToTag == "" && res.Status != 100 {
		tagged := *res
		tagged.ToTag = "t" + strconv.FormatUint(w.stack.network.number(), 36)
		res = &tagged
	}
	data := res.AppendTo(nil, w.req)
	w.server.mu.Lock()
	if w.server.answer != nil {
		w.server.mu.Unlock()
		return errAnswered
	}
	w.server.answer = data
	w.server.mu.Unlock()
	w.write(data)
	return nil
}

func (w *responder) write(data []byte) {
	n := w.stack.network
	if w.conn == nil {
		n.datagram(w.stack.addr, w.to, data)
		return
	}
	n.carry(Packet{w.flow.Transport, w.flow.Local, w.flow.Remote, data}, w.conn, w.conn.peer.receive)
}
