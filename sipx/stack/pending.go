package stack

import (
	"encoding/binary"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// The timers of RFC 3261 §17.1.2.2, table 4.
const (
	timerT1 = 500 * time.Millisecond
	timerT2 = 4 * time.Second
	timerF  = 64 * timerT1 // and J, how long a server may see a request again
)

const (
	tick   = 100 * time.Millisecond // of the wheel
	slots  = 512                    // of the wheel: more ticks than timer F has
	shards = 16                     // of tables
	// hostShare is the part of Config.MaxPending that one host may have.
	hostShare = 8
)

// pending is the requests that wait for their response, by the number in their
// branch. It is a table in parts, each with a wheel of timers (E and F of RFC 3261
// §17.1.2.2) and a lock of its own.
//
// The wheel turns by one tick for each tick of a clock that drops those that
// nobody took in time. So a process that was stopped, or had no processor, does
// not find all its timers at their end when it goes on, while the responses still
// wait in the sockets.
type pending struct {
	max    int
	seed   maphash.Seed
	count  atomic.Int64
	turn   atomic.Uint32 // which shard is next
	shards [shards]shard
	// hosts counts the requests of each host, or of the few that have the same
	// place here, which nobody outside can foretell.
	hosts [1 << 12]atomic.Int32

	closing atomic.Bool
	idle    chan struct{} // closed when none is left after closing was set
	once    sync.Once
}

type shard struct {
	mu     sync.Mutex
	calls  map[uint64]*call
	random *rand.ChaCha8 // nobody can foretell it
	now    uint64        // ticks
	wheel  [slots]*call  // by the tick at which a timer fires
	_      [64]byte      // of another processor's memory
}

func newPending(max int) *pending {
	p := &pending{max: max, seed: maphash.MakeSeed(), idle: make(chan struct{})}
	for i := range p.shards {
		p.shards[i].calls = make(map[uint64]*call)
		p.shards[i].random = newRandom()
	}
	return p
}

// enter gives c its number and counts it.
func (p *pending) enter(c *call) error {
	n := p.count.Add(1)
	switch {
	case p.closing.Load():
		p.leave()
		return sipx.ErrStackClosed
	case n > int64(p.max):
		p.leave()
		return sipx.ErrQueueFull
	}
	i := uint64(p.turn.Add(1) % shards)
	h := &p.shards[i]
	h.mu.Lock()
	defer h.mu.Unlock()
	for c.id == 0 || h.calls[c.id] != nil {
		c.id = h.random.Uint64()&^(shards-1) | i
	}
	h.calls[c.id] = c
	return nil
}

// leave is called when the outcome of a call was reported.
func (p *pending) leave() {
	if p.count.Add(-1) == 0 && p.closing.Load() {
		p.once.Do(func() { close(p.idle) })
	}
}

// close refuses new calls. The channel is closed when none is left.
func (p *pending) close() <-chan struct{} {
	p.closing.Store(true)
	p.count.Add(1)
	p.leave()
	return p.idle
}

// host returns the counter for the calls to a host.
func (p *pending) host(to netip.Addr) *atomic.Int32 {
	return &p.hosts[maphash.Comparable(p.seed, sipx.SourceOf(to))%uint64(len(p.hosts))]
}

// shard returns the part that knows a number.
func (p *pending) shard(id uint64) *shard { return &p.shards[id%shards] }

// method returns the method of the call with a number, or "" where there is none.
func (p *pending) method(id uint64) string {
	s := p.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.calls[id]; c != nil {
		return c.req.Method
	}
	return ""
}

// all returns the numbers of all calls.
func (p *pending) all() (list []uint64) {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		list = slices.AppendSeq(list, maps.Keys(s.calls))
		s.mu.Unlock()
	}
	return list
}

// link puts c on the wheel, to be looked at in so many ticks; s.mu is held.
func (s *shard) link(c *call, ticks uint64) {
	c.fires = s.now + min(max(ticks, 1), slots-1)
	at := &s.wheel[c.fires%slots]
	if c.next = *at; c.next != nil {
		c.next.prev = c
	}
	*at = c
}

// unlink takes c off the wheel; s.mu is held.
func (s *shard) unlink(c *call) {
	switch {
	case c.fires == 0:
		return
	case c.prev != nil:
		c.prev.next = c.next
	default:
		s.wheel[c.fires%slots] = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.next, c.prev, c.fires = nil, nil, 0
}

// turnWheels lets time pass until the stack is shut down.
func (s *Stack) turnWheels() {
	t := time.NewTicker(tick)
	defer t.Stop()
	var again []resend
	var late []uint64
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
		for i := range s.pending.shards {
			again, late = s.pending.shards[i].advance(again[:0], late[:0])
			for _, r := range again {
				s.stats.retransmitted.Add(1)
				if err := r.way.socket.send(r.way.to, r.buf, r.id); err != nil {
					s.finish(r.id, nil, err)
				}
				r.buf.drop()
			}
			for _, id := range late {
				s.finish(id, nil, sipx.ErrTimeout)
			}
			clear(again)
		}
		s.answers.expire(time.Now())
	}
}

// resend is a request to be repeated, whose message it holds.
type resend struct {
	id  uint64
	way way
	buf *buffer
}

// advance turns the wheel by a tick.
func (s *shard) advance(again []resend, late []uint64) ([]resend, []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now++
	c := s.wheel[s.now%slots]
	s.wheel[s.now%slots] = nil
	for c != nil {
		next := c.next
		c.next, c.prev, c.fires = nil, nil, 0
		if s.now >= c.ends {
			late = append(late, c.id)
		} else { // timer E, which only datagrams have
			c.interval = min(2*c.interval, uint64(timerT2/tick))
			s.link(c, min(c.interval, c.ends-s.now))
			again = append(again, resend{c.id, c.way, c.buf.hold()})
		}
		c = next
	}
	return again, late
}

// newRandom returns a source that nobody can foretell.
func newRandom() *rand.ChaCha8 {
	var seed [32]byte
	for i := 0; i < len(seed); i += 8 {
		binary.LittleEndian.PutUint64(seed[i:], randomUint64())
	}
	return rand.NewChaCha8(seed)
}
