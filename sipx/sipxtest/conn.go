package sipxtest

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/dispatch"
)

// conn is one end of a connection.
type conn struct {
	flow    sipx.Flow
	network *Network
	stack   *Stack // nil for a raw end
	raw     *raw
	peer    *conn
	last    time.Time      // when the last message from this end arrives; guarded by Network.mu
	group   dispatch.Group // of the requests that came to this end
	dial    dialKey        // where this end opened it
}

// dialKey finds the connection to a destination that this stack opened.
type dialKey struct {
	transport string
	to        netip.AddrPort
}

// connect returns the connection to a destination, opening one where needed.
func (s *Stack) connect(key dialKey) (*conn, error) {
	s.mu.Lock()
	c := s.dialed[key]
	s.mu.Unlock()
	if c != nil {
		return c, nil
	}
	n := s.network
	n.mu.Lock()
	to := n.stacks[key.to]
	n.conns++
	id := n.conns
	dark := n.dark[key.to.Addr()] || n.dark[s.addr.Addr()]
	n.mu.Unlock()
	switch {
	case dark:
		return nil, nil
	case to == nil || to.isClosed():
		return nil, fmt.Errorf("sipxtest: %s: connection refused", key.to)
	}
	local := netip.AddrPortFrom(s.addr.Addr(), uint16(49152+id%16384))
	near := &conn{stack: s, network: n, dial: key,
		flow: sipx.Flow{Transport: key.transport, Local: local, Remote: key.to, Conn: 2*id - 1}}
	far := &conn{stack: to, network: n, peer: near,
		flow: sipx.Flow{Transport: key.transport, Local: key.to, Remote: local, Conn: 2 * id}}
	near.peer = far
	s.mu.Lock()
	s.dialed[key] = near
	s.conns[near.flow.Conn] = near
	s.mu.Unlock()
	to.mu.Lock()
	to.conns[far.flow.Conn] = far
	to.mu.Unlock()
	return near, nil
}

func (s *Stack) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Flows returns the open connections of the stack, in no order.
func (s *Stack) Flows() []sipx.Flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	var flows []sipx.Flow
	for _, c := range s.conns {
		flows = append(flows, c.flow)
	}
	return flows
}

// CloseFlow breaks the connection f of this stack. This end knows at once, the
// other when what is under way has arrived.
func (s *Stack) CloseFlow(f sipx.Flow) {
	s.mu.Lock()
	c := s.conns[f.Conn]
	s.mu.Unlock()
	if c != nil {
		c.close()
	}
}

func (c *conn) close() {
	n, peer := c.network, c.peer
	c.lost()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dark[c.flow.Local.Addr()] || n.dark[c.flow.Remote.Addr()] {
		return // nobody tells the peer
	}
	at := time.Now()
	if at.Before(c.last) {
		at = c.last
	}
	n.schedule(at, peer.lost)
}

// lost is how an end learns that its connection is gone.
func (c *conn) lost() {
	s := c.stack
	if s == nil {
		c.raw.gone()
		return
	}
	s.mu.Lock()
	if s.conns[c.flow.Conn] != c {
		s.mu.Unlock()
		return
	}
	delete(s.conns, c.flow.Conn)
	if s.dialed[c.dial] == c {
		delete(s.dialed, c.dial)
	}
	var pending []*call
	for _, call := range s.calls {
		if call.conn == c {
			pending = append(pending, call)
		}
	}
	s.mu.Unlock()
	for _, call := range pending {
		call.finish(nil, sipx.ErrFlowClosed)
	}
	s.jobs.After(&c.group, func() {
		if o := s.observer(); o != nil {
			o.FlowClosed(c.flow)
		}
	})
}
