package sipxtest

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// Dial connects to the stack as a peer that writes its own bytes, from an
// address of its own. Each Write is one message; for all transports but "udp" a
// Read may return a part of one. It fails where the stack is shut down.
func (s *Stack) Dial(transport string) (net.Conn, error) {
	if s.isClosed() {
		return nil, fmt.Errorf("sipxtest: %s: connection refused", s.addr)
	}
	n := s.network
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns++
	host := netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + n.conns%250)}) // TEST-NET-2
	r := &raw{network: n, transport: transport, remote: s.addr, more: make(chan struct{}, 1),
		local: netip.AddrPortFrom(host, uint16(49152+n.conns%16384))}
	n.raws[r.local] = r
	if transport == "udp" {
		return r, nil
	}
	r.near = &conn{raw: r, network: n,
		flow: sipx.Flow{Transport: transport, Local: r.local, Remote: s.addr}}
	far := &conn{stack: s, network: n, peer: r.near,
		flow: sipx.Flow{Transport: transport, Local: s.addr, Remote: r.local, Conn: 2 * n.conns}}
	r.near.peer = far
	s.mu.Lock()
	s.conns[far.flow.Conn] = far
	s.mu.Unlock()
	return r, nil
}

// raw is the peer's end.
type raw struct {
	network       *Network
	transport     string
	local, remote netip.AddrPort
	near          *conn // nil over udp

	mu       sync.Mutex
	in       [][]byte
	closed   bool
	lost     bool
	deadline time.Time
	more     chan struct{} // something of the above changed
}

func (r *raw) changed() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

func (r *raw) receive(data []byte) {
	r.mu.Lock()
	r.in = append(r.in, data)
	r.mu.Unlock()
	r.changed()
}

func (r *raw) gone() {
	r.mu.Lock()
	r.lost = true
	r.mu.Unlock()
	r.changed()
}

// Read implements net.Conn, for one goroutine at a time.
func (r *raw) Read(p []byte) (int, error) {
	for {
		r.mu.Lock()
		var err error
		switch {
		case r.closed:
			err = net.ErrClosed
		case len(r.in) > 0:
			n := copy(p, r.in[0])
			if r.in[0] = r.in[0][n:]; r.near == nil || len(r.in[0]) == 0 {
				r.in = r.in[1:]
			}
			r.mu.Unlock()
			return n, nil
		case r.lost:
			err = io.EOF
		case !r.deadline.IsZero() && !time.Now().Before(r.deadline):
			err = os.ErrDeadlineExceeded
		}
		deadline := r.deadline
		r.mu.Unlock()
		if err != nil {
			return 0, err
		}
		var timeout <-chan time.Time
		if !deadline.IsZero() {
			timeout = time.After(time.Until(deadline))
		}
		select {
		case <-r.more:
		case <-timeout:
		}
	}
}

// Write implements net.Conn.
func (r *raw) Write(p []byte) (int, error) {
	r.mu.Lock()
	closed := r.closed || r.lost
	r.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	data := append([]byte(nil), p...)
	if r.near == nil {
		r.network.datagram(r.local, r.remote, data)
	} else {
		r.network.carry(Packet{r.transport, r.local, r.remote, data}, r.near, r.near.peer.receive)
	}
	return len(p), nil
}

// Close implements net.Conn.
func (r *raw) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.changed()
	r.network.mu.Lock()
	delete(r.network.raws, r.local)
	r.network.mu.Unlock()
	if r.near != nil {
		r.near.close()
	}
	return nil
}

func (r *raw) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(r.local) }
func (r *raw) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(r.remote) }

func (r *raw) SetDeadline(t time.Time) error { return r.SetReadDeadline(t) }
func (r *raw) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	r.deadline = t
	r.mu.Unlock()
	r.changed()
	return nil
}
func (r *raw) SetWriteDeadline(time.Time) error { return nil }
