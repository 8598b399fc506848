package stack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"

	"github.com/openblustar/blustar/sipx"
)

const (
	maxDatagram = 64 << 10
	// kernelBuffer is asked for in both directions; the system may give less.
	kernelBuffer = 4 << 20
	// flushAt is how many datagrams whoever adds to a queue leaves to its writer.
	flushAt = 32
	// flushAnswersAt is the same for answers, while more requests wait: their
	// senders are closer.
	flushAnswersAt = 16
	// maxUnsent is how many datagrams wait in a queue before whoever adds to it
	// waits for the system to take some.
	maxUnsent = 4096
	// maxBatch is how many datagrams one system call reads or writes.
	maxBatch = 64
)

// socket is a UDP socket. One goroutine reads it and works on what came; while there
// are jobs, those who do them look as well. What is to be sent goes through a queue, so
// that the messages of a change that many watch leave with few system calls: it is emptied
// by a goroutine of its own, or by whoever makes it long.
type socket struct {
	stack *Stack
	conn  *net.UDPConn
	local netip.AddrPort
	via   []byte // "SIP/2.0/UDP host:port;branch=", where it is always the same
	out   writer

	reading sync.Mutex // held from a read until what it brought was worked on
	in      reader

	mu      sync.Mutex
	queue   []outgoing
	spare   []outgoing    // to be the next queue
	writing bool          // somebody empties the queue
	closed  bool          // nothing more is sent
	wake    chan struct{} // for the writer
	room    sync.Cond     // the queue has become shorter
}

// outgoing is a datagram in a queue, which holds buf.
type outgoing struct {
	to  netip.AddrPort
	buf *buffer
	id  uint64 // of the call that it is, which is told of a failure; or 0
}

// incoming is a datagram that was read; data is good until the next read.
type incoming struct {
	from netip.AddrPort
	data []byte
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
	k := &socket{stack: s, conn: conn, local: addrPort(conn.LocalAddr()), wake: make(chan struct{}, 1)}
	k.room.L = &k.mu
	if err := k.init(); err != nil {
		return nil, errors.Join(err, conn.Close())
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

// receive reads the socket until it is closed.
func (k *socket) receive() {
	defer close(k.wake) // nobody sends after it
	for {
		list, err := k.read()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// What else a UDP socket reports is about a datagram sent earlier.
			k.stack.log.Debug("reading datagram", "error", err)
			continue
		}
		k.handle(list)
		k.reading.Unlock()
		// Under load more has come by the time that the others had their turn. To
		// look for it costs less than to be woken.
		runtime.Gosched()
	}
}

// poll is receive for what has come by now, where nobody else is at it.
func (k *socket) poll() {
	if k.reading.TryLock() {
		k.handle(k.come())
		k.reading.Unlock()
	}
}

// handle works on datagrams. The socket is locked for reading.
func (k *socket) handle(list []incoming) {
	for _, d := range list {
		k.stack.stats.bytesIn.Add(uint64(len(d.data)))
		if len(d.data) < 20 { // no message; a keep-alive (RFC 5626 §4.4.2)
			continue
		}
		flow := sipx.Flow{Transport: "udp", Local: k.local, Remote: d.from}
		k.stack.receive(flow, way{socket: k, to: d.from}, d.data)
	}
}

// send has a datagram sent, after those sent before. It holds buf for as long as
// it needs it.
func (k *socket) send(to netip.AddrPort, buf *buffer, id uint64) error {
	return k.sendBy(flushAt, to, buf, id)
}

// sendBy is send where the caller empties the queue once it has that many datagrams.
func (k *socket) sendBy(flushAt int, to netip.AddrPort, buf *buffer, id uint64) error {
	if to.Addr().Is6() && k.local.Addr().Is4() {
		return errNoSocket
	}
	if most := maxPayload(to.Addr()); len(buf.b) > most {
		return fmt.Errorf("%w: %d bytes", sipx.ErrTooLarge, len(buf.b))
	}
	k.mu.Lock()
	for len(k.queue) >= maxUnsent && k.writing && !k.closed {
		k.room.Wait()
	}
	if k.closed {
		k.mu.Unlock()
		return sipx.ErrStackClosed
	}
	k.queue = append(k.queue, outgoing{to, buf.hold(), id})
	n := len(k.queue)
	flush := !k.writing && n >= flushAt
	if flush {
		k.writing = true
	} else if !k.writing && n == 1 {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
	k.mu.Unlock()
	if flush {
		k.flush(4)
	}
	return nil
}

// maxPayload is how many bytes a datagram to an address may have.
func maxPayload(to netip.Addr) int {
	if to.Is4() {
		return 65535 - 20 - 8
	}
	return 65535 - 8
}

// write empties the queue whenever something is in it, until the socket is closed.
func (k *socket) write() {
	for range k.wake {
		k.mu.Lock()
		mine := !k.writing && len(k.queue) > 0
		k.writing = k.writing || mine
		k.mu.Unlock()
		if mine {
			k.flush(1 << 20)
		}
	}
}

// flush sends what is in the queue, and what is added meanwhile for so many
// rounds. The caller has set k.writing.
func (k *socket) flush(rounds int) {
	var failed []failure
	for {
		k.mu.Lock()
		list := k.queue
		if len(list) == 0 || rounds == 0 || len(failed) > 0 {
			k.writing = false
			if len(list) > 0 && !k.closed {
				select {
				case k.wake <- struct{}{}:
				default:
				}
			}
			k.room.Broadcast()
			k.mu.Unlock()
			break
		}
		k.queue, k.spare = k.spare[:0], nil
		k.room.Broadcast()
		k.mu.Unlock()
		rounds--
		failed = k.transmit(list)
		k.mu.Lock()
		k.spare = list[:0]
		k.mu.Unlock()
	}
	for _, f := range failed { // who is told may send, and wait for room
		k.stack.finish(f.id, nil, f.err)
	}
}

// failure is a request that could not be sent.
type failure struct {
	id  uint64
	err error
}

// transmit hands datagrams to the system. What cannot be sent is skipped.
func (k *socket) transmit(all []outgoing) (failed []failure) {
	list := all
	if !k.stack.maySend() {
		list = nil
		for _, d := range all {
			if d.id != 0 {
				failed = append(failed, failure{d.id, sipx.ErrStackClosed})
			} else if mayAlways(d.buf) {
				list = append(list, d)
			}
		}
	}
	for len(list) > 0 {
		n, err := k.writeBatch(list[:min(len(list), maxBatch)])
		for _, d := range list[:n] {
			k.stack.stats.bytesOut.Add(uint64(len(d.buf.b)))
		}
		list = list[n:]
		if err == nil || len(list) == 0 {
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			err = sipx.ErrStackClosed
		}
		if id := list[0].id; id != 0 {
			failed = append(failed, failure{id, err})
		} else {
			k.stack.log.Debug("datagram not sent", "to", list[0].to.String(), "error", err)
		}
		list = list[1:]
	}
	for i := range all {
		all[i].buf.drop()
		all[i] = outgoing{}
	}
	return failed
}

// close sends what waits, and closes the socket.
func (k *socket) close() error {
	k.mu.Lock()
	for k.writing {
		k.room.Wait()
	}
	k.closed, k.writing = true, true
	list := k.queue
	k.queue = nil
	k.room.Broadcast()
	k.mu.Unlock()
	failed := k.transmit(list)
	for _, f := range failed {
		k.stack.finish(f.id, nil, f.err)
	}
	return k.conn.Close()
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
