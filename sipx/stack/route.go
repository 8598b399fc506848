package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// hop is where a request goes next: a host by name or address.
type hop struct {
	transport string
	host      string
	port      int // 0: to be found by DNS
}

// names resolves host names, few at a time: each look-up holds a descriptor or two
// for as long as a server is silent. What was found, and what was not, is good for
// some time.
type names struct {
	turns chan struct{} // one for each look-up that may run

	mu      sync.Mutex
	closed  bool
	waiting map[hop]*lookup
	known   map[hop]resolved
}

// lookup is a host name that is being resolved, with the calls that wait for it.
type lookup struct{ calls []*call }

// resolved is what became of a look-up.
type resolved struct {
	to  netip.AddrPort
	err error
	at  time.Time
}

const (
	maxRunning = 32   // look-ups that run
	maxLookups = 1024 // host names that are being resolved or wait for that
	maxKnown   = 4096 // host names whose address is known
	goodFor    = 30 * time.Second
)

func (n *names) init() {
	n.turns = make(chan struct{}, maxRunning)
	n.waiting, n.known = make(map[hop]*lookup), make(map[hop]resolved)
}

var errNoSocket = errors.New("sipx: no udp socket to send from")

// route finds the way of a request, and starts it.
func (s *Stack) route(c *call) error {
	f := c.req.Flow
	switch {
	case f.Conn != 0:
		conn := s.conns.find(f.Conn)
		if conn == nil {
			return sipx.ErrFlowClosed
		}
		return s.start(c, way{conn: conn})
	case f.Remote.IsValid():
		return s.head(c, f.Transport, f.Remote, "")
	}
	h, err := s.nextHop(c.req)
	if err != nil {
		return err
	}
	if ip, err := netip.ParseAddr(strings.Trim(h.host, "[]")); err == nil {
		return s.head(c, h.transport, netip.AddrPortFrom(ip.Unmap(), h.portOr()), h.host)
	}
	return s.resolve(c, h)
}

// nextHop is the first URI of the route set, else the Request-URI (RFC 3261
// §8.1.2), with the transport that it asks for.
func (s *Stack) nextHop(req *sipx.Request) (hop, error) {
	u := req.URI
	if len(req.Route) > 0 {
		a, err := sipx.ParseAddress(req.Route[0])
		if err != nil {
			return hop{}, err
		}
		u = a.URI
	}
	if u.Scheme != "sip" && u.Scheme != "sips" || u.Host == "" {
		return hop{}, fmt.Errorf("sipx: no way to a %s URI", u.Scheme)
	}
	transport, ok := u.Param("transport")
	transport = strings.ToLower(transport)
	switch {
	case u.Scheme == "sips" && (transport == "" || transport == "tcp"):
		transport = "tls"
	case !ok && len(s.sockets) > 0:
		transport = "udp"
	case !ok:
		transport = "tcp"
	}
	return hop{transport, u.Host, u.Port}, nil
}

func (h hop) portOr() uint16 {
	switch {
	case h.port != 0:
		return uint16(h.port)
	case h.transport == "tls":
		return 5061
	}
	return 5060
}

// head starts a call to an address. name is what a certificate there must be for; if
// empty, the address.
func (s *Stack) head(c *call, transport string, to netip.AddrPort, name string) error {
	switch transport {
	case "", "udp":
		k := s.socketFor(to.Addr())
		for _, other := range s.sockets {
			if other.local == c.req.Flow.Local {
				k = other
			}
		}
		if k == nil {
			return errNoSocket
		}
		return s.start(c, way{socket: k, to: to})
	case "tcp", "tls":
		if name == "" {
			name = to.Addr().String()
		}
		conn, err := s.connect(hop{transport, name, int(to.Port())}, to)
		if err != nil {
			return err
		}
		return s.start(c, way{conn: conn})
	case "ws", "wss": // clients open these, and are reached by their flow
		return sipx.ErrFlowClosed
	}
	return fmt.Errorf("sipx: no transport %q", transport)
}

// connect returns the connection that the stack has to a hop, or opens one.
func (s *Stack) connect(h hop, to netip.AddrPort) (*conn, error) {
	c, fresh, yields, err := s.conns.dial(h, func() *conn {
		c := &conn{stack: s, transport: h.transport, hop: h, flow: sipx.Flow{Transport: h.transport, Remote: to}}
		c.proven.Store(true)
		c.via = s.viaOf(c.flow)
		return c
	})
	if yields != nil {
		s.stats.yielded.Add(1)
		yields.close()
	}
	if fresh && !s.spawn(func() { c.dial(to, strings.Trim(h.host, "[]")) }) {
		c.fail(sipx.ErrStackClosed)
	}
	return c, err
}

// resolve starts a call when the address of its hop is known. Calls for one hop
// keep their order.
func (s *Stack) resolve(c *call, h hop) error {
	n := &s.names
	n.mu.Lock()
	l := n.waiting[h]
	if l == nil {
		if r, ok := n.known[h]; ok && time.Since(r.at) < goodFor {
			n.mu.Unlock()
			if r.err != nil {
				return r.err
			}
			return s.head(c, h.transport, r.to, h.host)
		}
	}
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return sipx.ErrStackClosed
	case l == nil && len(n.waiting) >= maxLookups, l != nil && len(l.calls) >= s.cfg.SendQueue:
		return sipx.ErrQueueFull
	case l == nil:
		l = &lookup{}
		if !s.spawn(func() { s.look(h, l) }) {
			return sipx.ErrStackClosed
		}
		n.waiting[h] = l
	}
	l.calls = append(l.calls, c)
	return nil
}

// look resolves a hop and starts the calls that wait for it.
func (s *Stack) look(h hop, l *lookup) {
	n := &s.names
	ctx, cancel := context.WithTimeout(s.ctx, 2*s.cfg.DialTimeout) // to wait for a turn, too
	defer cancel()
	r := resolved{err: sipx.ErrQueueFull}
	select {
	case n.turns <- struct{}{}:
		ctx, cancel := context.WithTimeout(ctx, s.cfg.DialTimeout)
		r.to, r.err = s.address(ctx, h)
		cancel()
		<-n.turns
	case <-ctx.Done():
	}
	r.at = time.Now()
	for {
		n.mu.Lock()
		calls := l.calls
		l.calls = nil
		if len(calls) == 0 {
			delete(n.waiting, h)
			if len(n.known) >= maxKnown {
				clear(n.known)
			}
			n.known[h] = r
		}
		n.mu.Unlock()
		if len(calls) == 0 {
			return
		}
		for _, c := range calls {
			failed := r.err
			if failed == nil {
				failed = s.head(c, h.transport, r.to, h.host)
			}
			if failed != nil {
				s.giveUp(c, failed)
			}
		}
	}
}

// address finds the address of a host name: by its SRV records where no port is
// given, and by its A and AAAA records else (RFC 3263 §4.2; the transport is
// settled, so no NAPTR records are asked for).
func (s *Stack) address(ctx context.Context, h hop) (netip.AddrPort, error) {
	name, port := h.host, h.portOr()
	if h.port == 0 {
		service, proto := "sip", h.transport
		if h.transport == "tls" {
			service, proto = "sips", "tcp"
		}
		if _, records, err := net.DefaultResolver.LookupSRV(ctx, service, proto, h.host); err == nil && len(records) > 0 {
			name, port = strings.TrimSuffix(records[0].Target, "."), records[0].Port
		}
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for _, ip := range ips {
		if h.transport != "udp" || s.socketFor(ip.Unmap()) != nil {
			return netip.AddrPortFrom(ip.Unmap(), port), nil
		}
	}
	return netip.AddrPort{}, errNoSocket
}

// Contact implements [sipx.Sender].
func (s *Stack) Contact(f sipx.Flow) string {
	if f.Transport == "" {
		f = s.listening[0]
	}
	for i, l := range s.listening {
		if l.Transport == f.Transport && l.Local == f.Local && s.contacts[i] != "" {
			return s.contacts[i]
		}
	}
	return s.contact(f)
}

func (s *Stack) contact(f sipx.Flow) string {
	name, port := s.place(f)
	params := ""
	if f.Transport != "udp" {
		params = ";transport=" + f.Transport
	}
	return "<sip:" + name + ":" + strconv.Itoa(port) + params + ">"
}

// place returns where the stack is reached by the way of f.
func (s *Stack) place(f sipx.Flow) (name string, port int) {
	var local netip.AddrPort
	for _, l := range s.listening {
		switch {
		case l.Transport != f.Transport:
		case l.Local == f.Local:
			local = l.Local
		case !local.IsValid() || l.Local.Port() == f.Local.Port() && local.Port() != f.Local.Port():
			local = l.Local
		}
	}
	if !local.IsValid() { // nothing listens there: peers can only answer
		local = s.listening[0].Local
	}
	port = int(local.Port())
	if h, ok := s.advertisedFor(f.Transport); ok {
		if h.port != 0 {
			port = h.port
		}
		return h.name, port
	}
	ip := local.Addr()
	if ip.IsUnspecified() {
		ip = f.Local.Addr()
	}
	if !ip.IsValid() || ip.IsUnspecified() {
		ip = s.ways.from(f.Remote.Addr())
	}
	if ip.Is6() {
		return "[" + ip.String() + "]", port
	}
	return ip.String(), port
}

func (s *Stack) advertisedFor(transport string) (host, bool) {
	h, ok := s.advertised[transport]
	if !ok {
		h, ok = s.advertised[""]
	}
	return h, ok
}

// appendVia appends the Via field of the request with this number, which goes by w.
func (s *Stack) appendVia(dst []byte, w way, id uint64) []byte {
	switch {
	case w.conn != nil:
		dst = append(dst, w.conn.via...)
	case w.socket.via != nil:
		dst = append(dst, w.socket.via...)
	default:
		dst = append(dst, s.viaOf(sipx.Flow{Transport: "udp", Local: w.socket.local, Remote: w.to})...)
	}
	return append(s.appendBranch(dst, id), ";rport"...)
}

// viaOf returns the start of the Via field of requests that go by f.
func (s *Stack) viaOf(f sipx.Flow) []byte {
	name, port := s.place(f)
	return []byte("SIP/2.0/" + strings.ToUpper(f.Transport) + " " + name + ":" + strconv.Itoa(port) + ";branch=")
}

// ways knows by which of its addresses the machine reaches others, for sockets
// on all of them. What it knows is good for a minute.
type ways struct {
	mu    sync.Mutex
	known map[netip.Addr]netip.Addr
	since time.Time
}

func (w *ways) from(remote netip.Addr) netip.Addr {
	if !remote.IsValid() {
		remote = netip.AddrFrom4([4]byte{192, 0, 2, 1}) // RFC 5737: any host outside
	}
	w.mu.Lock()
	if time.Since(w.since) > time.Minute || len(w.known) > 4096 {
		w.known, w.since = make(map[netip.Addr]netip.Addr), time.Now()
	}
	local, ok := w.known[remote]
	w.mu.Unlock()
	if ok {
		return local
	}
	local = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	// Connecting a datagram socket sends nothing; the system chooses the address.
	if c, err := net.Dial("udp", netip.AddrPortFrom(remote, 9).String()); err == nil {
		local = addrPort(c.LocalAddr()).Addr()
		_ = c.Close()
	}
	w.mu.Lock()
	w.known[remote] = local
	w.mu.Unlock()
	return local
}
