package stack

import (
	"fmt"
	"net/netip"

	"github.com/openblustar/blustar/sipx"
)

// Tap takes messages for another SIP library that lives on the same sockets. It is
// given each request before the stack does anything about it, so that the library
// absorbs retransmissions itself, and each response to a request that is not the
// stack's. It reports whether it takes the message; the stack goes on with a
// request that it leaves.
//
// It runs where the network is read, and must not block. What the library sends
// goes by [Stack.Write].
type Tap func(Tapped) bool

// Tapped is a message that a [Tap] is given.
type Tapped struct {
	Flow sipx.Flow // how it came
	// Request is the request, which has been checked (see package sipx), its
	// topmost Via with received and rport; nil for a response. It is the Tap's
	// where that takes the message.
	Request *sipx.Request
	// Data is the message as it came. It is good until the Tap returns.
	Data []byte
}

// Tap has messages given to t from now on, and to no other. It is for the time
// before Serve; nil ends it.
func (s *Stack) Tap(t Tap) { s.tap.Store(&t) }

// tapped reports whether the tap has taken a message.
func (s *Stack) tapped(f sipx.Flow, req *sipx.Request, data []byte) bool {
	t := s.tap.Load()
	return t != nil && *t != nil && (*t)(Tapped{f, req, data})
}

// Write sends a message that is not the stack's own, as it is: over the connection
// of f, or where f has none to f.Remote by f.Transport, as a datagram or over the
// connection to there, which is opened where there is none. It does not block and
// does not keep data. The errors are those of [sipx.Sender].
func (s *Stack) Write(f sipx.Flow, data []byte) error {
	if s.pending.closing.Load() && s.ctx.Err() != nil {
		return sipx.ErrStackClosed
	}
	buf := newBuffer()
	defer buf.drop()
	buf.b = append(buf.b, data...)
	if f.Conn != 0 {
		c := s.conns.find(f.Conn)
		if c == nil {
			return sipx.ErrFlowClosed
		}
		return c.enqueue(buf)
	}
	to := netip.AddrPortFrom(f.Remote.Addr().Unmap(), f.Remote.Port())
	if c := s.conns.to(f.Transport, to); c != nil {
		return c.enqueue(buf)
	}
	switch f.Transport {
	case "udp":
		k := s.socketFor(to.Addr())
		if k == nil {
			return errNoSocket
		}
		return k.send(to, buf, 0)
	case "tcp", "tls":
		c, err := s.connect(hop{f.Transport, to.Addr().String(), int(to.Port())}, to)
		if err != nil {
			return err
		}
		return c.enqueue(buf)
	case "ws", "wss":
		return sipx.ErrFlowClosed // clients open these
	}
	return fmt.Errorf("stack: no transport %q", f.Transport)
}
