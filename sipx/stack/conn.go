package stack

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/dispatch"
)

// conn is a connection. One goroutine reads it, and while something is to be
// sent another one writes, so that a peer that does not read holds up nobody
// else.
type conn struct {
	stack     *Stack
	transport string
	hop       hop            // where the stack opened it
	group     dispatch.Group // of the requests that came
	flow      sipx.Flow      // set before reading starts
	via       []byte         // "SIP/2.0/TCP host:port;branch="; immutable
	codec     codec          // set before reading and writing start
	proven    atomic.Bool    // a request was accepted over it, or the stack opened it

	from  *source // guarded by conns.mu, as is place
	place place

	mu      sync.Mutex
	net     net.Conn // nil while it is being opened
	out     []*buffer
	size    int // of out, in bytes
	calls   *call
	writing bool
	closing bool // to be closed when out is empty
	closed  bool
	why     error // it was closed, as callers are told
}

// codec frames messages on a connection.
type codec interface {
	// next returns the next message, which is good until the call after. A
	// *frameError is about a message; others end the connection.
	next() ([]byte, error)
	// write writes messages, within the deadline that was set.
	write(batch []*buffer) error
}

// writeBatch is how many messages have Config.WriteTimeout together.
const writeBatch = 64

// maxQueued is how many bytes may wait for a connection besides the last
// message.
const maxQueued = 4 << 20

// listener is a listening socket for connections.
type listener struct {
	net.Listener
	transport string
}

// accept takes connections until its listener is closed.
func (s *Stack) accept(l *listener) {
	for {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of file descriptors, most likely
			s.log.Warn("accepting connection", "error", err)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-s.ctx.Done():
				return
			}
			continue
		}
		c := &conn{stack: s, transport: l.transport, net: nc,
			flow: sipx.Flow{Transport: l.transport, Local: addrPort(nc.LocalAddr()), Remote: addrPort(nc.RemoteAddr())}}
		c.via = s.viaOf(c.flow)
		taken, yields := s.conns.accept(c)
		if yields != nil {
			s.stats.yielded.Add(1)
			yields.close()
		}
		if !taken || !s.spawn(c.serve) {
			s.stats.refused[refusedConnection].Add(1)
			s.log.Debug("connection refused", "remote", nc.RemoteAddr().String())
			s.conns.remove(c)
			_ = nc.Close()
		}
	}
}

// serve reads an accepted connection until it ends. Handshakes take their time
// here, and hold up nobody else.
func (c *conn) serve() {
	s := c.stack
	nc := c.net
	_ = nc.SetDeadline(time.Now().Add(s.cfg.ReadTimeout))
	if c.flow.Secure() {
		nc = tls.Server(nc, s.cfg.TLS)
	}
	var err error
	if c.transport == "ws" || c.transport == "wss" {
		err = upgrade(nc)
	}
	if err == nil {
		_ = nc.SetDeadline(time.Time{})
		c.attach(nc)
		err = c.read()
	}
	c.ended(err)
}

// ended is the last thing that a reader does.
func (c *conn) ended(err error) {
	c.stack.log.Debug("connection ended", "flow", c.flow.String(), "error", err)
	c.close()
	c.stack.jobs.After(&c.group, func() { c.stack.flowClosed(c.flow) })
}

// attach gives the connection its stream, and sends what waits.
func (c *conn) attach(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.net = nc
	if c.transport == "ws" || c.transport == "wss" {
		c.codec = newFrames(c, nc)
	} else {
		c.codec = newStream(c, nc)
	}
	if c.closed {
		_ = nc.Close()
		return
	}
	if len(c.out) > 0 {
		c.startWriting()
	}
}

func (c *conn) read() error {
	s := c.stack
	for {
		msg, err := c.codec.next()
		if frame, ok := errors.AsType[*frameError](err); ok {
			s.stats.malformed.Add(1)
			s.reject(c.flow, way{conn: c}, frame.head, frame.err)
			if frame.fatal {
				c.linger()
				return frame.err
			}
			continue
		}
		if err != nil {
			return err
		}
		s.receive(c.flow, way{conn: c}, msg)
	}
}

// silence is how long the connection may be silent between messages.
func (c *conn) silence() time.Duration {
	if c.proven.Load() {
		return c.stack.cfg.IdleTimeout
	}
	return c.stack.cfg.ReadTimeout
}

// accepted notes that a request was accepted over the connection. It is silent for
// longer from then on.
func (c *conn) accepted() {
	if c.proven.Load() || c.proven.Swap(true) {
		return
	}
	c.stack.conns.proven(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.codec != nil && !c.closed { // the reader waits by the short time, most likely
		_ = c.net.SetReadDeadline(time.Now().Add(c.stack.cfg.IdleTimeout))
	}
}

// linger gives the peer the time to read an answer before the connection is
// closed: closing it with bytes unread would take the answer back.
func (c *conn) linger() {
	_ = c.net.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, _ = io.CopyN(io.Discard, c.net, maxSkip)
}

// dial opens the connection and reads it until it ends.
func (c *conn) dial(to netip.AddrPort, name string) {
	s := c.stack
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.DialTimeout)
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", to.String())
	if err == nil && c.transport == "tls" {
		cfg := &tls.Config{}
		if s.cfg.TLS != nil {
			cfg = s.cfg.TLS.Clone()
		}
		cfg.ServerName = name
		secure := tls.Client(nc, cfg)
		if err = secure.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
		}
		nc = secure
	}
	cancel()
	if err != nil {
		s.log.Debug("connecting", "to", to.String(), "error", err)
		c.fail(err)
		return
	}
	c.flow.Local = addrPort(nc.LocalAddr())
	c.attach(nc)
	c.ended(c.read())
}

// add notes that a call is under way over the connection. The error is why it is
// closed.
func (c *conn) add(k *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.why
	}
	if k.connNext = c.calls; k.connNext != nil {
		k.connNext.connPrev = k
	}
	c.calls, k.onConn = k, true
	return nil
}

// remove notes that a call is over.
func (c *conn) remove(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !k.onConn {
		return
	}
	if k.connPrev != nil {
		k.connPrev.connNext = k.connNext
	} else {
		c.calls = k.connNext
	}
	if k.connNext != nil {
		k.connNext.connPrev = k.connPrev
	}
	k.connNext, k.connPrev, k.onConn = nil, nil, false
}

// enqueue has a message sent, after those enqueued before. It holds buf for as
// long as it needs it.
func (c *conn) enqueue(buf *buffer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return c.why
	case c.closing:
		return sipx.ErrFlowClosed
	case len(c.out) >= c.stack.cfg.SendQueue || c.size > maxQueued:
		return sipx.ErrQueueFull
	}
	c.out = append(c.out, buf.hold())
	c.size += len(buf.b)
	if c.codec != nil && !c.writing {
		c.startWriting()
	}
	return nil
}

// startWriting starts the writer; c.mu is held.
func (c *conn) startWriting() {
	c.writing = true
	c.stack.wg.Add(1)
	go c.write()
}

// write sends what is in the queue, and ends with it.
func (c *conn) write() {
	defer c.stack.wg.Done()
	for {
		c.mu.Lock()
		batch := c.out
		if len(batch) > writeBatch {
			batch = batch[:writeBatch:writeBatch]
		}
		c.out = c.out[len(batch):]
		bytes := 0
		for _, buf := range batch {
			bytes += len(buf.b)
		}
		c.size -= bytes
		if len(batch) == 0 || c.closed {
			c.out, c.writing = nil, false
			last := c.closing && !c.closed
			c.mu.Unlock()
			if last {
				c.bye()
			}
			return
		}
		c.mu.Unlock()
		_ = c.net.SetWriteDeadline(time.Now().Add(c.stack.cfg.WriteTimeout))
		err := sipx.ErrStackClosed
		if c.stack.maySend() || !slices.ContainsFunc(batch, func(b *buffer) bool { return !mayAlways(b) }) {
			err = c.codec.write(batch)
		}
		for _, buf := range batch {
			buf.drop()
		}
		if err != nil {
			c.stack.log.Debug("connection does not take messages", "flow", c.flow.String(), "error", err)
			c.close()
		} else {
			c.stack.stats.bytesOut.Add(uint64(bytes))
		}
	}
}

// close ends the connection; what waits is lost, and requests under way fail.
func (c *conn) close() { c.fail(sipx.ErrFlowClosed) }

func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed, c.why = true, err
	switch nc := c.net.(type) {
	case nil:
	case *tls.Conn:
		_ = nc.NetConn().Close() // Close would wait for the peer
	default:
		_ = nc.Close()
	}
	if !c.writing {
		c.out = nil
	}
	var calls []uint64
	for k := c.calls; k != nil; k = k.connNext {
		calls = append(calls, k.id)
	}
	c.mu.Unlock()
	c.stack.conns.remove(c)
	for _, id := range calls {
		c.stack.finish(id, nil, err)
	}
}

// closeWhenSent ends the connection when its queue is empty.
func (c *conn) closeWhenSent() {
	c.mu.Lock()
	c.closing = true
	idle := !c.writing
	c.mu.Unlock()
	if idle {
		c.bye()
	}
}

// bye closes the connection in the way of its protocol.
func (c *conn) bye() {
	c.mu.Lock()
	nc := c.net
	c.mu.Unlock()
	if secure, ok := nc.(*tls.Conn); ok {
		_ = secure.SetWriteDeadline(time.Now().Add(time.Second))
		_ = secure.CloseWrite()
	}
	c.close()
}
