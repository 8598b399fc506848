package wire

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"

	"github.com/openblustar/blustar/sipx"
)

const (
	maxDatagram = 64 << 10
	// kernelBuffer is asked for in both directions; the system may give less.
	kernelBuffer = 4 << 20
	// inbox is how many datagrams wait behind the kernel's buffer, which is
	// small on many systems: a change that a thousand watch brings a thousand
	// responses at once.
	inbox = 8192
)

// socket is a UDP socket. One goroutine empties the kernel's buffer, another
// one works on what came.
type socket struct {
	stack  *Stack
	number uint16 // its place in Stack.sockets
	conn   *net.UDPConn
	local  netip.AddrPort
	sentBy string // for Via, where it is always the same
	inbox  chan datagram
	pool   sync.Pool // of *[]byte, for what waits in inbox
}

type datagram struct {
	from netip.AddrPort
	data *[]byte
}

func listenUDP(s *Stack, address string) (*socket, error) {
	addr, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(kernelBuffer)
	_ = conn.SetWriteBuffer(kernelBuffer)
	k := &socket{stack: s, conn: conn, local: addrPort(conn.LocalAddr()), inbox: make(chan datagram, inbox)}
	if h, ok := s.advertisedFor("udp"); ok {
		if h.port == 0 {
			h.port = int(k.local.Port())
		}
		k.sentBy = h.name + ":" + strconv.Itoa(h.port)
	} else if !k.local.Addr().IsUnspecified() {
		k.sentBy = k.local.String()
	}
	return k, nil
}

// addrPort is the address of a TCP or UDP socket.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func (k *socket) read() {
	defer close(k.inbox)
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := k.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// What else a UDP socket reports is about a datagram sent earlier.
			k.stack.log.Debug("reading datagram", "error", err)
			continue
		}
		if n < 20 { // no message; a keep-alive (RFC 5626 §4.4.2)
			continue
		}
		data, _ := k.pool.Get().(*[]byte)
		if data == nil {
			data = new([]byte)
		}
		*data = append((*data)[:0], buf[:n]...)
		k.inbox <- datagram{netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), data}
	}
}

func (k *socket) receive() {
	for d := range k.inbox {
		flow := sipx.Flow{Transport: "udp", Local: k.local, Remote: d.from}
		k.stack.receive(flow, way{socket: k, to: d.from}, *d.data)
		if cap(*d.data) <= 8<<10 {
			k.pool.Put(d.data)
		}
	}
}

// write sends a datagram. It blocks no longer than the system takes to copy it.
func (k *socket) write(to netip.AddrPort, data []byte) error {
	_, err := k.conn.WriteToUDPAddrPort(data, to)
	if errors.Is(err, syscall.EMSGSIZE) {
		return fmt.Errorf("%w: %d bytes", sipx.ErrTooLarge, len(data))
	}
	return err
}

// socketFor returns the socket to send to an address from: one of its family,
// and one that is not bound to the loopback address where the peer is not there.
func (s *Stack) socketFor(to netip.Addr) *socket {
	var fallback *socket
	for _, k := range s.sockets {
		ip := k.local.Addr()
		if ip.Is4() != to.Is4() && !(ip.Is6() && ip.IsUnspecified()) {
			continue
		}
		if ip.IsUnspecified() || ip.IsLoopback() == to.IsLoopback() {
			return k
		}
		if fallback == nil {
			fallback = k
		}
	}
	return fallback
}

// isResponse reports whether a message is a response.
func isResponse(data []byte) bool {
	return len(data) > 4 && bytes.EqualFold(data[:4], []byte("SIP/"))
}
