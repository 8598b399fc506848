package wire

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// answers absorbs retransmissions of what came by datagram (RFC 3261 §17.2.2).
// It knows the exchanges that are under way and, for as long as a client may
// repeat itself, the answers that were given. At thousands of requests in a
// second those are what a server has most of, so they are packed into pages of
// bytes, which the garbage collector need not look into.
type answers struct {
	stack *Stack
	max   int
	seed  maphash.Seed

	mu      sync.Mutex
	open    map[uint64]*exchange // not answered yet, or an INVITE
	invites int                  // transactions of INVITEs
	kept    map[uint64]place     // where the answer is
	pages   []*page              // the oldest first
	size    int                  // of the pages' data, in bytes
	next    uint32               // number of the next page
	timer   *time.Timer          // for the end of the first page
	closed  bool
}

// maxInvites bounds the transactions of INVITEs. Each answer to one is repeated
// until the ACK, for half a minute, and who forges a source address sends none.
// Beyond the bound it is repeated only when the INVITE is, as that to any other
// request.
const maxInvites = 256

// answerSize is how many bytes an answer may take on average: an answer repeats
// what the request says of its way, which may be a whole datagram.
const answerSize = 1 << 10

// place is where a record is: in which page, and at which of its bytes.
type place struct{ page, at uint32 }

// page holds records one behind the other, and is never changed but at its end.
type page struct {
	data []byte
	end  time.Time // when the last of its records may be forgotten
}

const pageSize = 64 << 10

// A record is the hash of the request, the address and port of the peer, the
// number of the socket, the length of the answer, and the answer.
const recordHead = 8 + 16 + 2 + 2 + 4

func (a *answers) init(s *Stack, max int) {
	a.stack, a.max, a.seed = s, max, maphash.MakeSeed()
	a.open, a.kept = make(map[uint64]*exchange), make(map[uint64]place)
}

// known reports whether x is a retransmission, and deals with it. Else it is
// known from now on.
func (a *answers) known(x *exchange) bool {
	key := x.req.TransactionKey()
	x.hash = a.hash(x.req.Flow.Remote, key)
	a.mu.Lock()
	seen := a.open[x.hash]
	to, socket, data := a.find(x.hash)
	if seen == nil && data == nil && !a.closed && x.req.Method != "ACK" {
		a.open[x.hash] = x
		if x.req.Method == "INVITE" && a.invites < maxInvites {
			if x.invite = a.stack.engine.Invite(key, x); x.invite != nil {
				a.invites++
			}
		}
	}
	a.mu.Unlock()
	switch {
	case data != nil && x.req.Method == "ACK": // it has come
	case data != nil:
		_ = socket.write(to, data)
	case seen != nil:
		seen.again(x.req.Method)
	}
	return seen != nil || data != nil
}

// hash tells the requests of all peers apart. Nobody outside can make two that
// have the same.
func (a *answers) hash(from netip.AddrPort, key string) uint64 {
	var h maphash.Hash
	h.SetSeed(a.seed)
	ip := from.Addr().As16()
	_, _ = h.Write(ip[:])
	_, _ = h.Write(binary.BigEndian.AppendUint16(nil, from.Port()))
	_, _ = h.WriteString(key)
	return h.Sum64()
}

// keep has an answer instead of the exchange.
func (a *answers) keep(x *exchange, answer []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, x.hash)
	if a.closed {
		return
	}
	p := a.room(recordHead + len(answer))
	a.kept[x.hash] = place{a.next - 1, uint32(len(p.data))}
	ip := x.way.to.Addr().As16()
	p.data = binary.BigEndian.AppendUint64(p.data, x.hash)
	p.data = append(p.data, ip[:]...)
	p.data = binary.BigEndian.AppendUint16(p.data, x.way.to.Port())
	p.data = binary.BigEndian.AppendUint16(p.data, x.way.socket.number)
	p.data = binary.BigEndian.AppendUint32(p.data, uint32(len(answer)))
	p.data = append(p.data, answer...)
	p.end = time.Now().Add(a.stack.engine.Timeout())
	a.size += recordHead + len(answer)
	for (len(a.kept) > a.max || a.size > a.max*answerSize) && len(a.pages) > 1 {
		a.forget()
	}
	if a.timer == nil {
		a.timer = time.AfterFunc(a.stack.engine.Timeout(), a.expire)
	}
}

// room returns the last page, or a new one where that has not so much room.
func (a *answers) room(size int) *page {
	if n := len(a.pages); n > 0 {
		if p := a.pages[n-1]; cap(p.data)-len(p.data) >= size {
			return p
		}
	}
	p := &page{data: make([]byte, 0, max(size, pageSize))}
	a.pages = append(a.pages, p)
	a.next++
	return p
}

// find returns the answer to a request, and how to send it; a.mu is held. What
// it returns stays as it is.
func (a *answers) find(hash uint64) (to netip.AddrPort, socket *socket, data []byte) {
	at, ok := a.kept[hash]
	if !ok {
		return to, nil, nil
	}
	first := a.next - uint32(len(a.pages))
	record := a.pages[at.page-first].data[at.at:]
	ip := netip.AddrFrom16([16]byte(record[8:])).Unmap()
	to = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(record[24:]))
	socket = a.stack.sockets[binary.BigEndian.Uint16(record[26:])]
	return to, socket, record[recordHead:][:binary.BigEndian.Uint32(record[28:])]
}

// forget drops the oldest page; a.mu is held.
func (a *answers) forget() {
	number := a.next - uint32(len(a.pages))
	for record := a.pages[0].data; len(record) > 0; {
		hash := binary.BigEndian.Uint64(record)
		if a.kept[hash].page == number {
			delete(a.kept, hash)
		}
		record = record[recordHead+binary.BigEndian.Uint32(record[28:]):]
	}
	a.size -= len(a.pages[0].data)
	a.pages[0] = nil
	a.pages = a.pages[1:]
}

func (a *answers) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for len(a.pages) > 0 && !a.pages[0].end.After(now) {
		a.forget()
	}
	switch {
	case a.closed:
	case len(a.pages) == 0:
		// A map does not shrink; a burst is not remembered for ever.
		a.pages, a.kept, a.timer = nil, make(map[uint64]place), nil
	default:
		// Not for each one: a little late is no harm.
		a.timer.Reset(max(time.Until(a.pages[0].end), 100*time.Millisecond))
	}
}

// drop forgets an INVITE whose transaction has ended.
func (a *answers) drop(x *exchange) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[x.hash] == x {
		delete(a.open, x.hash)
		a.invites--
	}
}

func (a *answers) close() {
	a.mu.Lock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
	under := values(a.open)
	a.mu.Unlock()
	for _, x := range under {
		x.mu.Lock()
		invite := x.invite
		if x.overdue != nil {
			x.overdue.Stop()
		}
		x.mu.Unlock()
		if invite != nil {
			invite.Terminate()
		}
	}
}
