package wire

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// call is a request under way, and the party of its transaction.
type call struct {
	stack  *Stack
	req    *sipx.Request
	done   sipx.ResponseHandler
	branch string
	way    way
	tx     Client
	live   atomic.Bool // the message was written, and may be again

	mu       sync.Mutex
	data     *[]byte // the message as sent, to be repeated over udp; nil once finished
	finished bool
	timeout  *time.Timer // where Config.TransactionTimeout is set
}

// Send implements [sipx.Sender].
func (s *Stack) Send(req *sipx.Request, done sipx.ResponseHandler) {
	c := &call{stack: s, req: req, done: done}
	if err := c.enter(); err != nil {
		done.HandleResponse(req, nil, err)
		return
	}
	if err := s.route(c); err != nil {
		c.finish(nil, err)
	}
}

// enter counts the call as under way.
func (c *call) enter() error {
	s := c.stack
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return sipx.ErrStackClosed
	}
	if len(s.calls) >= s.cfg.MaxPending {
		s.mu.Unlock()
		return sipx.ErrQueueFull
	}
	s.number++
	c.branch = s.newBranch()
	s.calls[c.branch] = c
	s.mu.Unlock()
	return nil
}

// newBranch makes the branch of a request. A response is told by it alone, so
// nobody but those who have seen the request may know it: a watcher could end the
// subscriptions of others with a 481. s.mu is held.
func (s *Stack) newBranch() string {
	b := append(make([]byte, 0, 64), s.branch...)
	b = append(strconv.AppendUint(b, s.number, 36), '-')
	return string(strconv.AppendUint(b, s.random.Uint64(), 36))
}

// start sends the request on its way. Calls to it are in order for each way.
func (c *call) start(w way) {
	s := c.stack
	transport := "udp"
	if w.conn != nil {
		transport = w.conn.flow.Transport
	}
	buf := getBuffer()
	*buf = c.req.AppendTo((*buf)[:0], s.via(transport, w, c.branch))
	c.mu.Lock()
	if c.finished {
		c.mu.Unlock()
		putBuffer(buf)
		return
	}
	// The transaction starts before the message is written, so that a response
	// cannot find it without its timers.
	c.way, c.data = w, buf
	c.tx = s.engine.Client(transport, c.req.Method, c.branch, c)
	if d := s.cfg.TransactionTimeout; d > 0 && d < s.engine.Timeout() {
		c.timeout = time.AfterFunc(d, func() { c.finish(nil, sipx.ErrTimeout) })
	}
	c.mu.Unlock()
	if w.conn != nil {
		if err := w.conn.carry(c); err != nil {
			c.finish(nil, err)
			return
		}
	}
	c.live.Store(true)
	if err := c.transmit(); err != nil {
		c.finish(nil, err)
	}
}

// transmit writes the message: once to a connection, which keeps it then.
func (c *call) transmit() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	data := c.data
	if data == nil {
		return nil
	}
	if c.way.conn != nil {
		c.data = nil
		return c.way.conn.enqueue(data)
	}
	return c.way.socket.write(c.way.to, *data)
}

// Write implements [ClientParty].
func (c *call) Write() error {
	if !c.live.Load() {
		return nil
	}
	return c.transmit()
}

// End implements [ClientParty].
func (c *call) End(err error) { c.finish(nil, err) }

// finish reports the outcome, the first time it is called.
func (c *call) finish(res *sipx.Response, err error) {
	c.mu.Lock()
	if c.finished {
		c.mu.Unlock()
		return
	}
	c.finished = true
	tx, data, timeout := c.tx, c.data, c.timeout
	c.data = nil
	c.mu.Unlock()
	if timeout != nil {
		timeout.Stop()
	}
	if tx != nil {
		status := 0
		if res != nil {
			status = res.Status
		}
		tx.Terminate(status)
	}
	if data != nil {
		putBuffer(data)
	}
	s := c.stack
	s.mu.Lock()
	delete(s.calls, c.branch)
	if c.way.conn != nil {
		delete(c.way.conn.calls, c)
	}
	s.mu.Unlock()
	c.done.HandleResponse(c.req, res, err)
	s.mu.Lock()
	if len(s.calls) == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
	s.mu.Unlock()
}

// response takes a response from the network, and reports whether it is to a
// request of the stack.
func (s *Stack) response(data []byte) bool {
	res, err := sipx.ParseResponse(data)
	if err != nil {
		s.log.Debug("response rejected", "error", err)
		return false
	}
	via, err := res.Header.TopVia()
	if err != nil {
		return false
	}
	branch := via.Branch()
	s.mu.Lock()
	c := s.calls[branch]
	s.mu.Unlock()
	switch {
	case c == nil || !strings.EqualFold(res.Header.CSeqMethod(), c.req.Method):
		return strings.HasPrefix(branch, s.branch) // a retransmission
	case res.Status >= 200:
		c.finish(res, nil)
	default:
		c.mu.Lock()
		tx := c.tx
		c.mu.Unlock()
		if tx != nil {
			tx.Provisional(res.Status, s.spawn)
		}
	}
	return true
}
