package stack

import (
	"container/list"
	"net/netip"
	"sync"

	"github.com/openblustar/blustar/sipx"
)

// conns is the open connections, and who has how many of them.
type conns struct {
	max int

	mu      sync.Mutex
	closed  bool
	last    uint64 // number given to a connection
	byID    map[uint64]*conn
	byPeer  map[peer]*conn // the latest
	dialed  map[hop]*conn
	sources map[netip.Addr]*source
	// unproven is the connections over which no request was accepted, the oldest
	// first: they cost nothing to make, and yield where there is no room.
	unproven list.List
}

// peer is the other end of a connection.
type peer struct {
	transport string
	remote    netip.AddrPort
}

// source is where connections come from.
type source struct {
	open     int
	unproven list.List
}

// place is where a connection stands in the lists of unproven ones.
type place struct{ all, own *list.Element }

func (t *conns) init(max int) {
	t.max = max
	t.byID = make(map[uint64]*conn)
	t.byPeer = make(map[peer]*conn)
	t.dialed = make(map[hop]*conn)
	t.sources = make(map[netip.Addr]*source)
}

// accept takes a connection that a peer opened. It may say which other one is to
// make room.
func (t *conns) accept(c *conn) (taken bool, yields *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false, nil
	}
	from := t.sources[c.flow.Source()]
	switch {
	case from != nil && from.open >= (t.max+1)/2:
		if yields = oldest(&from.unproven); yields == nil {
			return false, nil
		}
	case len(t.byID) >= t.max:
		if yields = oldest(&t.unproven); yields == nil {
			return false, nil
		}
	}
	if yields != nil {
		t.drop(yields)
	}
	if from = t.sources[c.flow.Source()]; from == nil {
		from = new(source)
		t.sources[c.flow.Source()] = from
	}
	from.open++
	c.from, c.place = from, place{t.unproven.PushBack(c), from.unproven.PushBack(c)}
	t.add(c)
	return true, yields
}

func oldest(l *list.List) *conn {
	if e := l.Front(); e != nil {
		return e.Value.(*conn)
	}
	return nil
}

// add makes c known; t.mu is held.
func (t *conns) add(c *conn) {
	t.last++
	c.flow.Conn = t.last
	t.byID[t.last] = c
	t.byPeer[peer{c.transport, c.flow.Remote}] = c
}

// dial returns the connection to h, or adds the one that open makes. It may say
// which other one is to make room. Whoever names many hosts takes no room from those
// who connect.
func (t *conns) dial(h hop, open func() *conn) (c *conn, fresh bool, yields *conn, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch c = t.dialed[h]; {
	case c != nil:
		return c, false, nil, nil
	case t.closed:
		return nil, false, nil, sipx.ErrStackClosed
	case len(t.dialed) >= (t.max+1)/2:
		return nil, false, nil, sipx.ErrQueueFull
	case len(t.byID) >= t.max:
		if yields = oldest(&t.unproven); yields == nil {
			return nil, false, nil, sipx.ErrQueueFull
		}
		t.drop(yields)
	}
	c = open()
	t.add(c)
	t.dialed[h] = c
	return c, true, yields, nil
}

// proven notes that a request was accepted over c.
func (t *conns) proven(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle(c)
}

// settle takes c off the lists of unproven connections; t.mu is held.
func (t *conns) settle(c *conn) {
	if c.place.all != nil {
		t.unproven.Remove(c.place.all)
		c.from.unproven.Remove(c.place.own)
		c.place = place{}
	}
}

// remove forgets c.
func (t *conns) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(c)
}

// drop forgets c; t.mu is held.
func (t *conns) drop(c *conn) {
	if t.byID[c.flow.Conn] != c {
		return
	}
	delete(t.byID, c.flow.Conn)
	if key := (peer{c.transport, c.flow.Remote}); t.byPeer[key] == c {
		delete(t.byPeer, key)
	}
	if t.dialed[c.hop] == c {
		delete(t.dialed, c.hop)
	}
	t.settle(c)
	if c.from != nil {
		if c.from.open--; c.from.open == 0 {
			delete(t.sources, c.flow.Source())
		}
	}
}

func (t *conns) find(id uint64) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// to returns a connection to a peer, whoever opened it.
func (t *conns) to(transport string, remote netip.AddrPort) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byPeer[peer{transport, remote}]
}

// all returns all connections.
func (t *conns) all() []*conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*conn, 0, len(t.byID))
	for _, c := range t.byID {
		list = append(list, c)
	}
	return list
}

// close refuses new connections, and returns those that are left.
func (t *conns) close() []*conn {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	return t.all()
}
