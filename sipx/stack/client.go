package stack

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/openblustar/blustar/sipx"
)

// call is a request under way: a non-INVITE client transaction (RFC 3261
// §17.1.2). It is used again: who takes it out of its table has it, and gives it
// back. All others know its number alone. Until it is started, who starts it has it.
type call struct {
	req  *sipx.Request
	done sipx.ResponseHandler
	id   uint64 // in its branch

	// Guarded by the mu of its shard.
	held       bool  // it is not started yet
	failed     error // meanwhile
	way        way
	buf        *buffer // the message, to be repeated over udp
	host       *atomic.Int32
	next, prev *call  // on the wheel
	fires      uint64 // the tick of the wheel; 0 where it is not on it
	ends       uint64 // the tick of timer F
	interval   uint64 // of timer E, in ticks

	// Guarded by way.conn.mu.
	connNext, connPrev *call
	onConn             bool
}

// Send implements [sipx.Sender].
func (s *Stack) Send(req *sipx.Request, done sipx.ResponseHandler) {
	c, _ := s.calls.Get().(*call)
	if c == nil {
		c = new(call)
	}
	c.req, c.done, c.held = req, done, true
	if err := s.pending.enter(c); err != nil {
		*c = call{}
		s.calls.Put(c)
		done.HandleResponse(req, nil, err)
		return
	}
	if err := s.route(c); err != nil {
		s.giveUp(c, err)
	}
}

// start sends a request on its way. Calls to it are in order for each way. With an
// error the caller has c still.
func (s *Stack) start(c *call, w way) error {
	buf := newBuffer()
	defer buf.drop()
	var via [192]byte
	field := s.appendVia(via[:0], w, c.id)
	// AppendTo keeps nothing of what it is given.
	buf.b = c.req.AppendTo(buf.b, unsafe.String(unsafe.SliceData(field), len(field)))

	to := w.to.Addr()
	if w.conn != nil {
		to = w.conn.flow.Remote.Addr()
	}
	host := s.pending.host(to)
	if int(host.Add(1)) > max(1, s.pending.max/hostShare) {
		host.Add(-1)
		return sipx.ErrQueueFull
	}
	if w.conn != nil {
		if err := w.conn.add(c); err != nil {
			host.Add(-1)
			return err
		}
	}
	id := c.id
	h := s.pending.shard(id)
	h.mu.Lock()
	c.way, c.host = w, host
	if err := c.failed; err != nil {
		h.mu.Unlock()
		return err
	}
	// The timers start before the message is sent, so that a response finds them.
	c.held = false
	ticks := uint64((s.cfg.TransactionTimeout + tick - 1) / tick)
	c.ends = h.now + ticks
	if w.conn == nil {
		c.buf, c.interval = buf.hold(), uint64(timerT1/tick)
		ticks = min(ticks, c.interval)
	}
	h.link(c, ticks)
	h.mu.Unlock()

	var err error
	if w.conn != nil {
		err = w.conn.enqueue(buf)
	} else {
		err = w.socket.send(w.to, buf, id)
	}
	if err != nil {
		s.finish(id, nil, err)
	}
	return nil
}

// giveUp finishes a call that its caller has.
func (s *Stack) giveUp(c *call, err error) {
	id := c.id
	h := s.pending.shard(id)
	h.mu.Lock()
	c.held = false
	if c.failed != nil {
		err = c.failed
	}
	h.mu.Unlock()
	s.finish(id, nil, err)
}

// finish reports the outcome of a call, the first time it is called for that.
func (s *Stack) finish(id uint64, res *sipx.Response, err error) {
	h := s.pending.shard(id)
	h.mu.Lock()
	c := h.calls[id]
	if c == nil || c.held {
		if c != nil {
			c.failed = err // for who has it
		}
		h.mu.Unlock()
		return
	}
	delete(h.calls, id)
	h.unlink(c)
	h.mu.Unlock()
	if c.buf != nil {
		c.buf.drop()
	}
	if c.way.conn != nil {
		c.way.conn.remove(c)
	}
	if c.host != nil {
		c.host.Add(-1)
	}
	req, done := c.req, c.done
	*c = call{}
	s.calls.Put(c)
	done.HandleResponse(req, res, err)
	s.pending.leave()
}

// proceeding makes repetitions rarer after a provisional response (RFC 3261
// §17.1.2.2).
func (s *Stack) proceeding(id uint64) {
	h := s.pending.shard(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.calls[id]
	if c == nil || c.buf == nil {
		return
	}
	c.interval = uint64(timerT2 / tick)
	h.unlink(c)
	h.link(c, min(c.interval, c.ends-h.now))
}

// response takes a response from the network, and reports whether it is to a
// request of the stack. Nobody but those who have seen the request can know its
// branch, and a response is told by it alone.
func (s *Stack) response(data []byte) bool {
	r, ok := peek(data)
	if !ok {
		s.stats.malformed.Add(1)
		s.log.Debug("response rejected")
		return false
	}
	id, ours := s.parseBranch(r.branch)
	if !ours {
		return false
	}
	switch method := s.pending.method(id); {
	case method == "" || string(r.method) != method:
		s.stats.strays.Add(1) // a retransmission
	case r.status < 200:
		s.proceeding(id)
	case r.status == 200 && method == "NOTIFY":
		// It says nothing else, and there are more of them than of all others.
		s.finish(id, &s.accepted, nil)
	default:
		res, err := sipx.ParseResponse(data)
		if err != nil {
			s.stats.malformed.Add(1)
			s.log.Debug("response rejected", "error", err)
			return true
		}
		s.finish(id, res, nil)
	}
	return true
}

// peeked is what finds the request of a response.
type peeked struct {
	status         int
	branch, method []byte
}

// peek reads as much of a response as finds its request: the status, the branch
// of the topmost Via and the method of CSeq.
func peek(data []byte) (r peeked, ok bool) {
	line, rest, ok := bytes.Cut(data, []byte{'\n'})
	if !ok || len(line) < 12 || !bytes.EqualFold(line[:8], []byte("SIP/2.0 ")) {
		return r, false
	}
	for _, d := range line[8:11] {
		if d < '0' || d > '9' {
			return r, false
		}
		r.status = 10*r.status + int(d-'0')
	}
	if next := line[11]; next != ' ' && next != '\r' || r.status < 100 || r.status > 699 {
		return r, false
	}
	for r.branch == nil || r.method == nil {
		if line, rest, ok = bytes.Cut(rest, []byte{'\n'}); !ok || len(bytes.TrimRight(line, "\r")) == 0 {
			return r, false
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		// A fold belongs to the value. It is rare.
		for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
			var more []byte
			more, rest, _ = bytes.Cut(rest, []byte{'\n'})
			value = append(append(bytes.Clone(bytes.TrimRight(value, "\r")), ' '), more...)
		}
		switch name = bytes.TrimRight(name, " \t"); {
		case r.branch == nil && (bytes.EqualFold(name, []byte("Via")) || bytes.EqualFold(name, []byte{'v'})):
			if r.branch = branchIn(value); r.branch == nil {
				return r, false
			}
		case r.method == nil && bytes.EqualFold(name, []byte("CSeq")):
			value = bytes.TrimSpace(value)
			if i := bytes.LastIndexAny(value, " \t"); i > 0 {
				r.method = value[i+1:]
			} else {
				return r, false
			}
		}
	}
	return r, true
}

// branchIn finds the branch of the first element of a Via value.
func branchIn(via []byte) []byte {
	for {
		i := bytes.IndexAny(via, ";,")
		if i < 0 || via[i] == ',' {
			return nil
		}
		via = via[i+1:]
		name, value, _ := bytes.Cut(via, []byte{'='})
		if bytes.EqualFold(bytes.TrimSpace(name), []byte("branch")) {
			if end := bytes.IndexAny(value, ";,\r"); end >= 0 {
				value = value[:end]
			}
			return bytes.TrimSpace(value)
		}
	}
}

// branchStart starts every branch that is unique (RFC 3261 §8.1.1.7).
const branchStart = "z9hG4bK"

const digits = "0123456789abcdefghijklmnopqrstuv"

// appendBranch appends the branch of the request with this number.
func (s *Stack) appendBranch(dst []byte, id uint64) []byte {
	dst = append(dst, branchStart...)
	dst = append(dst, s.name...)
	for shift := 60; shift >= 0; shift -= 5 {
		dst = append(dst, digits[id>>shift&31])
	}
	return dst
}

// parseBranch returns the number in a branch of this stack.
func (s *Stack) parseBranch(branch []byte) (id uint64, ours bool) {
	n := len(branchStart) + len(s.name)
	if len(branch) != n+13 || string(branch[len(branchStart):n]) != s.name ||
		!bytes.EqualFold(branch[:len(branchStart)], []byte(branchStart)) {
		return 0, false
	}
	for _, c := range branch[n:] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'v':
			c -= 'a' - 10
		default:
			return 0, false
		}
		id = id<<5 | uint64(c)
	}
	return id, true
}

func randomUint64() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
