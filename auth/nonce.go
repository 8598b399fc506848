package auth

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

// A nonce is the time of its issue, 8 random bytes and a MAC of both and of the
// source that it was given to, so that the guard knows its own without a table
// (RFC 7616 §5.4). The time is that since the guard was made, which does not go
// back. Only nonces that were used with success are remembered, for their counts.
type nonceID [16]byte

const nonceMAC = 16

func (n nonceID) issued() time.Duration { return time.Duration(binary.BigEndian.Uint64(n[:8])) }

func (g *Guard) newNonce(r *Request) string {
	var id nonceID
	binary.BigEndian.PutUint64(id[:8], uint64(time.Since(g.nonces.start)))
	_, _ = rand.Read(id[8:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(append(id[:], g.nonceMAC(id, r)...))
}

func (g *Guard) nonceMAC(id nonceID, r *Request) []byte {
	source := ""
	if !g.cfg.AnySource {
		source = text(r.Source.Unmap().WithZone(""))
	}
	mac := g.mac("nonce", id[:], []byte(source))
	return mac[:nonceMAC]
}

// readNonce returns false for a nonce that is not ours, was given to another source,
// or has expired.
func (g *Guard) readNonce(nonce string, r *Request) (id nonceID, ok bool) {
	if len(nonce) != base64.RawURLEncoding.EncodedLen(len(id)+nonceMAC) {
		return id, false
	}
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil {
		return id, false
	}
	copy(id[:], b)
	return id, hmac.Equal(g.nonceMAC(id, r), b[len(id):]) && time.Since(g.nonces.start)-id.issued() < g.cfg.ChallengeLifetime
}

// nonceTable remembers which counts of which nonces were used (RFC 7616 §3.4).
// It is bounded: at the bound the oldest nonce goes, and with it all that were
// issued before, so that none of them can be used a second time.
type nonceTable struct {
	start time.Time // of the guard
	limit int

	mu    sync.Mutex
	floor time.Duration // nonces issued at or before this time are stale
	uses  map[nonceID]*list.Element
	order list.List // of *nonceUses, in order of first use
}

// nonceUses are the counts of a nonce: the highest, and which of the 64 up to it
// were there, because requests overtake each other.
type nonceUses struct {
	id      nonceID
	highest uint32
	seen    uint64 // bit i: highest-i
}

func newNonceTable(limit int) *nonceTable {
	return &nonceTable{start: time.Now(), limit: limit, floor: -1, uses: make(map[nonceID]*list.Element)}
}

// use enters a count and returns false where it was there already, is too old to
// know, or belongs to a nonce that was forgotten.
func (t *nonceTable) use(id nonceID, count uint32, lifetime time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if count == 0 || id.issued() <= t.floor {
		return false
	}
	e := t.uses[id]
	if e == nil {
		t.sweep(lifetime)
		if len(t.uses) >= t.limit {
			t.dropOldest()
			if id.issued() <= t.floor {
				return false
			}
		}
		t.uses[id] = t.order.PushBack(&nonceUses{id: id, highest: count, seen: 1})
		return true
	}
	return e.Value.(*nonceUses).add(count)
}

func (u *nonceUses) add(count uint32) bool {
	if count > u.highest {
		u.seen = u.seen<<min(count-u.highest, 64) | 1
		u.highest = count
		return true
	}
	behind := u.highest - count
	if behind >= 64 || u.seen>>behind&1 == 1 {
		return false
	}
	u.seen |= 1 << behind
	return true
}

// sweep drops nonces that have expired, from the front; one behind a younger one
// goes a little later.
func (t *nonceTable) sweep(lifetime time.Duration) {
	now := time.Since(t.start)
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		id := e.Value.(*nonceUses).id
		if now-id.issued() < lifetime {
			return
		}
		t.order.Remove(e)
		delete(t.uses, id)
	}
}

func (t *nonceTable) dropOldest() {
	e := t.order.Front()
	id := t.order.Remove(e).(*nonceUses).id
	delete(t.uses, id)
	t.floor = max(t.floor, id.issued())
}

func (t *nonceTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.uses)
}
