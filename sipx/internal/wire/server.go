package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/dispatch"
)

// way is how to answer a message: a connection, or a socket and an address.
type way struct {
	conn   *conn
	socket *socket
	to     netip.AddrPort
}

// answer hands a response to the network, or to the queue of its connection.
// It keeps buf.
func (w way) answer(buf *[]byte) error {
	if w.conn == nil {
		defer putBuffer(buf)
		return w.socket.write(w.to, *buf)
	}
	err := w.conn.enqueue(buf)
	if errors.Is(err, sipx.ErrQueueFull) {
		w.conn.close() // requests come, but responses are not read
	}
	return err
}

// receive takes a message from the network. It does not keep data.
func (s *Stack) receive(flow sipx.Flow, back way, data []byte) {
	if isResponse(data) {
		if !s.response(data) {
			s.diverted(flow, nil, data)
		}
		return
	}
	req, err := sipx.ParseRequest(bytes.TrimLeft(data, "\x00"))
	if err == nil {
		var to netip.AddrPort
		if to, err = req.Arrived(flow); back.socket != nil {
			back.to = to
		}
	}
	if err != nil {
		s.reject(flow, back, data, err)
		return
	}
	if s.diverted(flow, req, data) {
		return
	}
	var group *dispatch.Group
	x := &exchange{stack: s, way: back, req: req}
	if back.conn != nil {
		group = &back.conn.group
	} else if s.answers.known(x) {
		return
	}
	switch req.Method {
	case "ACK":
		return
	case "CANCEL":
		// A request of the event framework cannot be canceled: it is answered
		// at once, or soon (RFC 3261 §9.2).
		_ = x.Respond(sipx.NewResponse(481))
	default:
		s.handle(x, group)
	}
}

// reject answers what is no valid request, where it can be answered.
func (s *Stack) reject(flow sipx.Flow, back way, data []byte, err error) {
	s.log.Debug("message rejected", "flow", flow.String(), "error", err)
	buf := getBuffer()
	if *buf = sipx.AppendRejection((*buf)[:0], data, err); len(*buf) > 0 {
		_ = back.answer(buf)
	}
}

// exchange is a request and its answer: a [sipx.ResponseWriter], and of what
// came by datagram the server transaction.
type exchange struct {
	stack *Stack
	way   way
	hash  uint64 // tells datagram exchanges apart

	mu       sync.Mutex
	req      *sipx.Request // nil once answered
	answered bool
	answer   []byte      // of a datagram exchange, to be repeated
	invite   Invite      // of an INVITE by datagram
	overdue  *time.Timer // where the handler returned without an answer
}

var errAnswered = errors.New("sipx: the request has been answered")

// Respond implements [sipx.ResponseWriter].
func (x *exchange) Respond(res *sipx.Response) error {
	x.mu.Lock()
	if x.answered {
		x.mu.Unlock()
		return errAnswered
	}
	x.answered = true
	req := x.req
	x.req = nil
	if x.overdue != nil {
		x.overdue.Stop()
	}
	if res.ToTag == "" && res.Status != 100 && req.To.Tag() == "" {
		tagged := *res
		tagged.ToTag = token(8)
		res = &tagged
	}
	buf := getBuffer()
	*buf = res.AppendTo((*buf)[:0], req)
	if x.way.conn != nil {
		x.mu.Unlock()
		return x.way.answer(buf)
	}
	invite := x.invite
	if invite != nil {
		x.answer = bytes.Clone(*buf)
	}
	x.mu.Unlock()
	defer putBuffer(buf)
	if invite != nil {
		return invite.Respond(res.Status)
	}
	x.stack.answers.keep(x, *buf)
	return x.way.socket.write(x.way.to, *buf)
}

// again is called for a retransmission of what is not answered yet, and of an
// INVITE.
func (x *exchange) again(method string) {
	x.mu.Lock()
	invite := x.invite
	x.mu.Unlock()
	if invite != nil {
		invite.Again(method)
	}
}

// returned is called when the handler has returned. Should it never answer, the
// stack does: the peer has given up by then, but a transaction must end.
func (x *exchange) returned() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.answered {
		x.overdue = time.AfterFunc(x.stack.engine.Timeout(), func() {
			x.stack.log.Error("handler did not answer")
			_ = x.Respond(sipx.NewResponse(500))
		})
	}
}

// Write implements [ServerParty].
func (x *exchange) Write(status int) error {
	x.mu.Lock()
	data := x.answer
	if status == 100 && x.req != nil {
		data = sipx.NewResponse(100).AppendTo(nil, x.req)
	}
	x.mu.Unlock()
	if data == nil {
		return nil
	}
	return x.way.socket.write(x.way.to, data)
}

// End implements [ServerParty].
func (x *exchange) End() { x.stack.answers.drop(x) }
