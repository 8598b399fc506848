//go:build !linux

package stack

import "net/netip"

type reader struct {
	data [maxDatagram]byte
	list [1]incoming
}

type writer struct{}

// init prepares reading and writing.
func (k *socket) init() error {
	_ = k.conn.SetReadBuffer(kernelBuffer)
	_ = k.conn.SetWriteBuffer(kernelBuffer)
	return nil
}

// read waits for datagrams, and returns with k.reading locked unless there is an error.
// What it returns is good until k.reading is unlocked.
func (k *socket) read() ([]incoming, error) {
	n, from, err := k.conn.ReadFromUDPAddrPort(k.in.data[:])
	if err != nil {
		return nil, err
	}
	k.reading.Lock()
	k.in.list[0] = incoming{netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), k.in.data[:n]}
	return k.in.list[:], nil
}

// come returns nothing: read alone can ask this system.
func (k *socket) come() []incoming { return nil }

// writeBatch sends datagrams and returns how many; an error is about the one after
// those.
func (k *socket) writeBatch(list []outgoing) (int, error) {
	for i, d := range list {
		if _, err := k.conn.WriteToUDPAddrPort(d.buf.b, d.to); err != nil {
			return i, err
		}
	}
	return len(list), nil
}
