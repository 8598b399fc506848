package main

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// address stands for the virtual address, or the load balancer, before the nodes: it
// passes on the datagrams of each client to one node, and of a node that is out to the
// next. What nodes send by themselves does not come through it.
type address struct {
	conn *net.UDPConn
	work sync.WaitGroup

	mu      sync.Mutex
	nodes   []netip.AddrPort // that take requests
	next    int
	clients map[netip.AddrPort]*way
}

// way is that of one client.
type way struct {
	conn *net.UDPConn
	node netip.AddrPort
}

func newAddress() (*address, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	a := &address{conn: conn, clients: make(map[netip.AddrPort]*way)}
	a.work.Go(a.read)
	return a, nil
}

func (a *address) String() string { return a.conn.LocalAddr().String() }

// add has a node take requests.
func (a *address) add(node netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nodes = append(a.nodes, node)
}

// remove takes a node out.
func (a *address) remove(node netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, n := range a.nodes {
		if n == node {
			a.nodes = append(a.nodes[:i:i], a.nodes[i+1:]...)
			break
		}
	}
	for _, w := range a.clients {
		if w.node == node {
			w.node = a.pick()
		}
	}
}

func (a *address) pick() netip.AddrPort {
	if len(a.nodes) == 0 {
		return netip.AddrPort{}
	}
	node := a.nodes[a.next%len(a.nodes)]
	a.next++
	return node
}

func (a *address) read() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := a.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			a.pass(from, buf[:n])
		}
	}
}

func (a *address) pass(from netip.AddrPort, data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.clients[from]
	if w == nil {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return
		}
		w = &way{conn: conn, node: a.pick()}
		a.clients[from] = w
		a.work.Go(func() { a.back(conn, from) })
	}
	_, _ = w.conn.WriteToUDPAddrPort(data, w.node) // a datagram may be lost
}

// back passes on what nodes answer a client.
func (a *address) back(conn *net.UDPConn, to netip.AddrPort) {
	buf := make([]byte, 64<<10)
	for {
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = a.conn.WriteToUDPAddrPort(buf[:n], to)
		}
	}
}

// close ends it.
func (a *address) close() {
	_ = a.conn.Close()
	a.mu.Lock()
	for _, w := range a.clients {
		_ = w.conn.Close()
	}
	a.mu.Unlock()
	a.work.Wait()
}
