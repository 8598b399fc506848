package stack

import (
	"bytes"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
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

// send hands a message to the network, or to the queue of its connection. The
// caller still holds buf.
func (w way) send(buf *buffer) error {
	if w.conn == nil {
		return w.socket.send(w.to, buf, 0)
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
			s.tapped(flow, nil, data)
		}
		return
	}
	x := s.newExchange()
	req := &x.req
	err := req.Parse(bytes.TrimLeft(data, "\x00"))
	if err == nil {
		var to netip.AddrPort
		if to, err = req.Arrived(flow); back.socket != nil {
			back.to = to
		}
	}
	x.way = back
	switch {
	case err != nil:
		s.stats.malformed.Add(1)
		s.reject(flow, back, data, err)
	case s.tapped(flow, req, data):
		return // x is the tap's
	case req.Method == "ACK":
	case req.Method == "INVITE":
		x.invite()
	default:
		if s.admit(x) {
			return // x is the job's
		}
	}
	x.free()
}

// admit absorbs a retransmission, or has a request handled. It reports whether it is.
func (s *Stack) admit(x *exchange) bool {
	switch v, answer := s.answers.admit(x); v {
	case isKept:
		s.stats.absorbed.Add(1)
		buf := x.render(unpack(answer))
		_ = x.way.send(buf)
		buf.drop()
	case isOpen:
		s.stats.absorbed.Add(1)
	case isMerged:
		s.stats.refused[refusedMerged].Add(1)
		_ = x.Respond(sipx.NewResponse(482))
	default:
		if x.req.Method != "CANCEL" {
			return s.handle(x)
		}
		// A request of the event framework cannot be canceled: it is answered
		// at once, or soon (RFC 3261 §9.2).
		_ = x.Respond(sipx.NewResponse(481))
	}
	return false
}

// isResponse reports whether a message is a response.
func isResponse(data []byte) bool {
	return len(data) > 4 && bytes.EqualFold(data[:4], []byte("SIP/"))
}

// reject answers what is no valid request, where it can be answered.
func (s *Stack) reject(flow sipx.Flow, back way, data []byte, err error) {
	s.log.Debug("message rejected", "flow", flow.String(), "error", err)
	buf := newBuffer()
	defer buf.drop()
	if buf.b = sipx.AppendRejection(buf.b, data, err); len(buf.b) > 0 {
		_ = back.send(buf)
	}
}

// handle has the handler called for a request, or refuses it and reports false.
func (s *Stack) handle(x *exchange) bool {
	r := &x.req
	source := r.Flow.Source()
	x.established = dispatch.IsEstablished(r)
	if !s.rates.allow(source, x.established, time.Now()) {
		x.refuse(refusedRate)
		return false
	}
	job := dispatch.Job{Lane: dispatch.LaneOf(r), Source: source, Established: x.established, Task: x}
	if x.way.conn != nil {
		job.Group = &x.way.conn.group
	}
	if !s.jobs.Submit(job) {
		x.refuse(refusedOverload)
		return false
	}
	return true
}

// exchange is a request and its answer: a [sipx.ResponseWriter], and the
// [dispatch.Task] of having it handled.
type exchange struct {
	stack       *Stack
	way         way
	req         sipx.Request
	hash        uint64 // tells exchanges apart
	key         uint64 // by which it is known; 0 where its answer is not kept
	established bool
	answered    atomic.Bool
	sent        atomic.Bool // the answer is on its way

	mu      sync.Mutex
	overdue *time.Timer // where the handler returned without an answer
}

func (s *Stack) newExchange() *exchange {
	x, _ := s.exchanges.Get().(*exchange)
	if x == nil {
		x = new(exchange)
	}
	x.stack = s
	return x
}

// maxSpare bounds the header fields that an exchange keeps room for.
const maxSpare = 64

// free has x used again, with the room of its header. Nobody may have it.
func (x *exchange) free() {
	s, fields := x.stack, x.req.Header[:cap(x.req.Header)]
	*x = exchange{}
	if len(fields) <= maxSpare {
		clear(fields)
		x.req.Header = fields[:0]
	}
	s.exchanges.Put(x)
}

var errAnswered = errors.New("stack: the request has been answered")

// Run implements [dispatch.Task].
func (x *exchange) Run() {
	serving := x.stack.serving.Load()
	if serving.leaving.Load() && !x.established {
		x.refuse(refusedLeaving)
		x.free()
		return
	}
	dispatch.Serve(serving.ctx, serving.handler, x, &x.req, x.stack.log)
	switch {
	case !x.answered.Load():
		x.returned()
	case x.stack.cfg.ReuseRequests && x.sent.Load():
		x.free()
	}
}

// returned is called when the handler has returned without an answer. Should it
// never answer, the stack does: the peer has given up by then, but a transaction
// must end.
func (x *exchange) returned() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.answered.Load() {
		return
	}
	x.overdue = time.AfterFunc(timerF, func() {
		if x.stack.ctx.Err() == nil {
			x.stack.log.Error("handler did not answer", "method", x.req.Method)
			_ = x.Respond(sipx.NewResponse(500))
		}
	})
}

// Respond implements [sipx.ResponseWriter].
func (x *exchange) Respond(res *sipx.Response) error {
	if x.answered.Swap(true) {
		return errAnswered
	}
	defer x.sent.Store(true)
	x.mu.Lock()
	if x.overdue != nil {
		x.overdue.Stop()
	}
	x.mu.Unlock()
	s := x.stack
	buf := x.render(res)
	defer buf.drop()
	if x.way.conn == nil {
		if x.key != 0 {
			s.answers.keep(x, res)
		}
	} else {
		if x.key != 0 {
			s.answers.done(x)
		}
		if res.Status >= 200 && res.Status < 300 && x.req.Method != "OPTIONS" {
			x.way.conn.accepted()
		}
		return x.way.send(buf)
	}
	flushAt := 1 // to wake the writer would take longer than to send one datagram
	if s.jobs.Busy() {
		flushAt = flushAnswersAt // the next answers are about to come
	}
	return x.way.socket.sendBy(flushAt, x.way.to, buf, 0)
}

// render writes a response, with a tag where it needs one: always the same for one
// request, and nothing that anybody can guess.
func (x *exchange) render(res *sipx.Response) *buffer {
	buf := newBuffer()
	if res.ToTag == "" && res.Status != 100 && x.req.To.Tag() == "" {
		var tag [13]byte
		for i, rest := range tag {
			rest = byte(x.hash >> (5 * i) & 31)
			tag[i] = digits[rest]
		}
		tagged := *res
		tagged.ToTag = string(tag[:])
		buf.b = tagged.AppendTo(buf.b, &x.req)
		return buf
	}
	buf.b = res.AppendTo(buf.b, &x.req)
	return buf
}

// refuse answers that it is no good time.
func (x *exchange) refuse(why refusal) {
	x.stack.stats.refused[why].Add(1)
	x.stack.log.Debug("request refused", "reason", why.String(), "method", x.req.Method, "flow", x.req.Flow.String())
	_ = x.Respond(sipx.NewResponse(503, sipx.Field{Name: "Retry-After", Value: retryAfter()}))
}

// invite answers an INVITE once, as a stateless server does (RFC 3261 §8.2.7): it
// is answered again when it comes again, and nothing of it is kept. To repeat an
// answer until an ACK comes would serve who forges the address of a victim.
func (x *exchange) invite() {
	s := x.stack
	s.stats.refused[refusedInvite].Add(1)
	var scratch [256]byte
	x.hash = s.answers.hash(x.req.Flow, x.req.AppendTransactionKey(scratch[:0]))
	buf := x.render(sipx.NewResponse(405, sipx.Field{Name: "Allow", Value: "SUBSCRIBE, PUBLISH, NOTIFY, OPTIONS"}))
	defer buf.drop()
	_ = x.way.send(buf)
}
