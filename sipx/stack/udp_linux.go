package stack

import (
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes
}

// vector is what recvmmsg and sendmmsg are given: headers, each with one part and
// one address. All pointers in it are to memory that Go knows.
type vector struct {
	raw   syscall.RawConn
	call  func(fd uintptr) bool // one system call; false where it would block
	hdrs  [maxBatch]mmsghdr
	parts [maxBatch]unix.Iovec
	addrs [maxBatch]unix.RawSockaddrInet6 // or RawSockaddrInet4, which is shorter
	want  int                             // how many
	got   int
	errno syscall.Errno
}

type reader struct {
	vector
	data []byte // maxBatch times maxDatagram; memory only where something was read
	list [maxBatch]incoming
}

type writer struct {
	vector
	six bool // the socket's addresses are IPv6, those of IPv4 mapped
}

func (v *vector) init(raw syscall.RawConn, trap uintptr, flags int) {
	v.raw = raw
	for i := range v.hdrs {
		h := &v.hdrs[i].hdr
		h.Iov = &v.parts[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&v.addrs[i]))
	}
	// The call does not wait, and so the runtime is not told of it: it would take the processor away from calls
	// that take longer than about 20 µs, and look for such calls as often.
	v.call = func(fd uintptr) bool {
		for {
			n, _, errno := unix.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(&v.hdrs[0])), uintptr(v.want), uintptr(flags), 0, 0)
			switch v.got, v.errno = int(n), errno; errno {
			case unix.EINTR:
			case unix.EAGAIN:
				return false
			default:
				return true
			}
		}
	}
}

// init prepares reading and writing.
func (k *socket) init() error {
	raw, err := k.conn.SyscallConn()
	if err != nil {
		return err
	}
	k.in.init(raw, unix.SYS_RECVMMSG, unix.MSG_DONTWAIT)
	k.out.init(raw, unix.SYS_SENDMMSG, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	k.in.data = make([]byte, maxBatch*maxDatagram)
	for i := range k.in.parts {
		k.in.parts[i].Base = &k.in.data[i*maxDatagram]
		k.in.parts[i].SetLen(maxDatagram)
	}
	k.in.want = maxBatch
	return raw.Control(func(fd uintptr) {
		// More than the system gives to everybody, where the process may.
		for opt, force := range map[int]int{unix.SO_RCVBUF: unix.SO_RCVBUFFORCE, unix.SO_SNDBUF: unix.SO_SNDBUFFORCE} {
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, force, kernelBuffer) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, opt, kernelBuffer)
			}
		}
		local, _ := unix.Getsockname(int(fd))
		_, k.out.six = local.(*unix.SockaddrInet6)
	})
}

// read waits for datagrams, and returns with k.reading locked unless there is an error.
// What it returns is good until k.reading is unlocked.
func (k *socket) read() ([]incoming, error) {
	err := k.in.raw.Read(func(fd uintptr) bool {
		k.reading.Lock()
		if k.in.receive(fd) {
			return true
		}
		k.reading.Unlock() // and wait
		return false
	})
	if err == nil && k.in.errno != 0 {
		err = k.in.errno
		k.reading.Unlock()
	}
	if err != nil {
		return nil, err
	}
	return k.in.datagrams(), nil
}

// come returns the datagrams that have come, without waiting for any. k.reading is
// locked.
func (k *socket) come() (list []incoming) {
	_ = k.in.raw.Control(func(fd uintptr) {
		if k.in.receive(fd) && k.in.errno == 0 {
			list = k.in.datagrams()
		}
	})
	return list
}

// receive makes one system call, and reports false where nothing has come.
func (in *reader) receive(fd uintptr) bool {
	for i := range in.hdrs {
		in.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	return in.call(fd)
}

func (in *reader) datagrams() []incoming {
	for i := range in.got {
		at := i * maxDatagram
		in.list[i] = incoming{in.addr(i), in.data[at : at+int(in.hdrs[i].n)]}
	}
	return in.list[:in.got]
}

// writeBatch sends at most maxBatch datagrams and returns how many of them; an
// error is about the one after those.
func (k *socket) writeBatch(list []outgoing) (int, error) {
	out := &k.out
	out.want = len(list)
	for i, d := range list {
		out.hdrs[i].hdr.Namelen = out.setAddr(i, d.to, out.six)
		out.parts[i].Base = unsafe.SliceData(d.buf.b)
		out.parts[i].SetLen(len(d.buf.b))
	}
	err := out.raw.Write(out.call)
	clear(out.parts[:len(list)])
	switch {
	case err != nil:
		return 0, err
	case out.errno != 0:
		return 0, out.errno
	}
	return out.got, nil
}

// addr returns the address of datagram i.
func (v *vector) addr(i int) netip.AddrPort {
	a := &v.addrs[i]
	port := (*[2]byte)(unsafe.Pointer(&a.Port))
	p := uint16(port[0])<<8 | uint16(port[1])
	if a.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(a)).Addr), p)
	}
	ip := netip.AddrFrom16(a.Addr).Unmap()
	if a.Scope_id != 0 && ip.Is6() {
		ip = ip.WithZone(strconv.Itoa(int(a.Scope_id)))
	}
	return netip.AddrPortFrom(ip, p)
}

// setAddr sets the address of datagram i and returns its length.
func (v *vector) setAddr(i int, to netip.AddrPort, six bool) uint32 {
	a := &v.addrs[i]
	port := (*[2]byte)(unsafe.Pointer(&a.Port))
	port[0], port[1] = byte(to.Port()>>8), byte(to.Port())
	if !six {
		a.Family = unix.AF_INET
		(*unix.RawSockaddrInet4)(unsafe.Pointer(a)).Addr = to.Addr().Unmap().As4()
		return unix.SizeofSockaddrInet4
	}
	a.Family, a.Addr, a.Scope_id = unix.AF_INET6, to.Addr().As16(), 0
	if zone := to.Addr().Zone(); zone != "" { // a number, as addr writes it
		n, _ := strconv.ParseUint(zone, 10, 32)
		a.Scope_id = uint32(n)
	}
	return unix.SizeofSockaddrInet6
}
