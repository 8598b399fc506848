// Package sipxtest is for tests of what is built on package sipx, in the spirit
// of net/http/httptest: stacks on a network in memory, and stand-ins for the
// two ends of a handler.
//
// A [Network] carries the messages of each [Stack] as rendered bytes, which the
// receiver parses, so that a test sees what a real peer would. It can lose,
// double, delay and reorder datagrams, make a host disappear and break
// connections. It uses no sockets; inside a testing/synctest bubble all its time is
// the bubble's, and Shutdown ends the goroutines that wait for requests.
//
//	network := sipxtest.NewNetwork(sipxtest.Config{})
//	server := network.NewStack("192.0.2.1:5060")
//	go server.Serve(t.Context(), handler)
//	client := network.NewStack("192.0.2.7:5060")
//	res, err := sipx.Do(t.Context(), client, sipxtest.NewRequest(`OPTIONS sip:192.0.2.1 SIP/2.0 …`))
package sipxtest

import (
	"container/heap"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Config sets a [Network] up. The zero value is a perfect network.
type Config struct {
	// Timeout is how long a request waits for its final response before it
	// fails with sipx.ErrTimeout; 32 s if zero (RFC 3261 §17.1.2.2, timer F).
	// Servers know retransmissions for as long.
	Timeout time.Duration
	// T1 is the first retransmission interval over udp; 500 ms if zero. It
	// doubles up to 8 times that.
	T1 time.Duration
	// MaxPending bounds the requests of one stack that wait for a response; then
	// Send fails with sipx.ErrQueueFull. 1<<20 if zero.
	MaxPending int
	// MaxHandlers and MaxWaiting bound the requests that a stack hands to its
	// handler at once, and that wait for it; 256 and 4096 if zero.
	MaxHandlers, MaxWaiting int
	// OnPacket, where set, decides what becomes of each message. It is called
	// from the goroutine of the sender and must not block.
	OnPacket func(Packet) Fate
}

// Packet is a message that is about to travel.
type Packet struct {
	Transport string // "udp", "tcp", …
	From, To  netip.AddrPort
	Data      []byte // the message as written; not to be changed
}

// Fate is what becomes of a [Packet]. The zero value is prompt delivery.
type Fate struct {
	Drop   bool          // it is lost
	Delay  time.Duration // it arrives so much later; on connections those after it do too
	Copies int           // it arrives so many times more; only over udp
}

// Network connects stacks. Its methods may be called from any goroutine.
type Network struct {
	cfg Config

	mu     sync.Mutex
	stacks map[netip.AddrPort]*Stack
	raws   map[netip.AddrPort]*raw
	names  map[string]netip.AddrPort
	dark   map[netip.Addr]bool
	wire   wire
	seq    uint64 // orders events of one moment, and makes branches and tags unique
	moving bool   // a goroutine is delivering
	wake   chan struct{}
	conns  uint64
}

// NewNetwork makes a network. Inside a synctest bubble it must be made there.
func NewNetwork(cfg Config) *Network {
	if cfg.Timeout == 0 {
		cfg.Timeout = 32 * time.Second
	}
	if cfg.T1 == 0 {
		cfg.T1 = 500 * time.Millisecond
	}
	if cfg.MaxPending == 0 {
		cfg.MaxPending = 1 << 20
	}
	return &Network{
		cfg:    cfg,
		stacks: make(map[netip.AddrPort]*Stack),
		raws:   make(map[netip.AddrPort]*raw),
		names:  make(map[string]netip.AddrPort),
		dark:   make(map[netip.Addr]bool),
		wake:   make(chan struct{}, 1),
	}
}

// Name makes host resolve to addr ("192.0.2.1:5060").
func (n *Network) Name(host, addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[host] = netip.MustParseAddrPort(addr)
}

// Blackhole makes everything from and to the host disappear, or ends that.
// Connections stay open, as they do where a cable was pulled.
func (n *Network) Blackhole(host string, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dark[netip.MustParseAddr(host)] = on
}

// resolve finds the address of a host and port.
func (n *Network) resolve(host string, port int) (netip.AddrPort, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if to, ok := n.names[host]; ok {
		return to, nil
	}
	ip, err := netip.ParseAddr(trimBrackets(host))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("sipxtest: no such host: %s", host)
	}
	if port == 0 {
		port = 5060
	}
	return netip.AddrPortFrom(ip, uint16(port)), nil
}

func trimBrackets(host string) string {
	if len(host) > 2 && host[0] == '[' {
		return host[1 : len(host)-1]
	}
	return host
}

func (n *Network) number() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seq++
	return n.seq
}

// event is something that happens at a moment: a message arrives, or a
// connection is found closed.
type event struct {
	at  time.Time
	seq uint64
	do  func()
}

type wire []event

func (w wire) Len() int      { return len(w) }
func (w wire) Swap(i, j int) { w[i], w[j] = w[j], w[i] }
func (w wire) Less(i, j int) bool {
	if !w[i].at.Equal(w[j].at) {
		return w[i].at.Before(w[j].at)
	}
	return w[i].seq < w[j].seq
}
func (w *wire) Push(e any) { *w = append(*w, e.(event)) }
func (w *wire) Pop() any {
	old := *w
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*w = old[:len(old)-1]
	return e
}

// carry sends a message on its way.
func (n *Network) carry(p Packet, c *conn, deliver func(data []byte)) {
	var fate Fate
	if n.cfg.OnPacket != nil {
		fate = n.cfg.OnPacket(p)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if fate.Drop || n.dark[p.From.Addr()] || n.dark[p.To.Addr()] {
		return
	}
	at := time.Now().Add(fate.Delay)
	if c != nil {
		fate.Copies = 0
		if at.Before(c.last) { // a connection keeps the order
			at = c.last
		}
		c.last = at
	}
	for range 1 + fate.Copies {
		n.schedule(at, func() { deliver(p.Data) })
	}
}

// schedule has do called at a moment, in order; n.mu is held.
func (n *Network) schedule(at time.Time, do func()) {
	n.seq++
	heap.Push(&n.wire, event{at, n.seq, do})
	if !n.moving {
		n.moving = true
		go n.move()
		return
	}
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// move lets events happen, one after another, until there is none.
func (n *Network) move() {
	for {
		n.mu.Lock()
		if len(n.wire) == 0 {
			n.moving = false
			n.mu.Unlock()
			return
		}
		wait := time.Until(n.wire[0].at)
		if wait <= 0 {
			e := heap.Pop(&n.wire).(event)
			n.mu.Unlock()
			e.do()
			continue
		}
		n.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-n.wake:
			timer.Stop()
		}
	}
}
