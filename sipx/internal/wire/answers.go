package wire

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// exchangeKey tells the requests of one peer apart.
type exchangeKey struct {
	remote netip.AddrPort
	hash   uint64
}

// answers absorbs retransmissions (RFC 3261 §17.2.2): it knows the exchanges
// that are under way and, for as long as a client may retransmit, those answered.
type answers struct {
	stack *Stack
	max   int
	seed  maphash.Seed

	mu     sync.Mutex
	byKey  map[exchangeKey]*exchange
	old    []answered // in the order of their end, from first on
	first  int
	timer  *time.Timer // for the end of the first
	closed bool
}

type answered struct {
	x   *exchange
	end time.Time
}

func (a *answers) init(s *Stack, max int) {
	a.stack, a.max, a.seed = s, max, maphash.MakeSeed()
	a.byKey = make(map[exchangeKey]*exchange)
}

// known reports whether x is a retransmission, and deals with it. Else it is
// known from now on.
func (a *answers) known(x *exchange) bool {
	key := x.req.TransactionKey()
	x.key = exchangeKey{x.req.Flow.Remote, maphash.String(a.seed, key)}
	a.mu.Lock()
	seen := a.byKey[x.key]
	if seen == nil && !a.closed && x.req.Method != "ACK" {
		a.byKey[x.key] = x
		if x.req.Method == "INVITE" {
			x.invite = a.stack.engine.Invite(key, x)
		}
	}
	a.mu.Unlock()
	if seen != nil {
		seen.again(x.req.Method)
	}
	return seen != nil
}

// drop forgets an exchange.
func (a *answers) drop(x *exchange) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.byKey, x.key)
}

// keep remembers an answered exchange for a while.
func (a *answers) keep(x *exchange) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.old = append(a.old, answered{x, time.Now().Add(a.stack.engine.Timeout())})
	if len(a.old)-a.first > a.max {
		a.forget()
	}
	if a.timer == nil {
		a.timer = time.AfterFunc(a.stack.engine.Timeout(), a.expire)
	}
}

// forget drops the oldest answer; a.mu is held.
func (a *answers) forget() {
	delete(a.byKey, a.old[a.first].x.key)
	a.old[a.first] = answered{}
	if a.first++; a.first > 1024 && a.first > len(a.old)/2 {
		a.old = append(a.old[:0:0], a.old[a.first:]...)
		a.first = 0
	}
}

func (a *answers) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for a.first < len(a.old) && !a.old[a.first].end.After(now) {
		a.forget()
	}
	switch {
	case a.closed:
	case a.first == len(a.old):
		a.old, a.first, a.timer = nil, 0, nil
	default:
		// Not for each one: a little late is no harm.
		a.timer.Reset(max(time.Until(a.old[a.first].end), 100*time.Millisecond))
	}
}

func (a *answers) close() {
	a.mu.Lock()
	a.closed = true
	if a.timer != nil {
		a.timer.Stop()
	}
	under := values(a.byKey)
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
