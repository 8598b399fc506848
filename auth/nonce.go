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

// A nonce is the time of its issue, 8 random bytes and a MAC of both, so that
// the guard knows its own without a table (RFC 7616 §5.4). Only those that were
// used with success are remembered, for their counts.
type nonceID [16]byte

const nonceMAC = 16

func (n nonceID) issued() int64 { return int64(binary.BigEndian.Uint64(n[:8])) }

func (g *Guard) newNonce() string {
	var id nonceID
	binary.BigEndian.PutUint64(id[:8], uint64(time.Now().UnixNano()))
	_, _ = rand.Read(id[8:]) // never fails, see crypto/rand
	mac := g.mac("nonce", id[:])
	return base64.RawURLEncoding.EncodeToString(append(id[:], mac[:nonceMAC]...))
}

// readNonce returns false for a nonce that is not ours or has expired.
func (g *Guard) readNonce(nonce string) (id nonceID, ok bool) {
	if len(nonce) != base64.RawURLEncoding.EncodedLen(len(id)+nonceMAC) {
		return id, false
	}
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil {
		return id, false
	}
	copy(id[:], b)
	mac := g.mac("nonce", id[:])
	age := time.Since(time.Unix(0, id.issued()))
	return id, hmac.Equal(mac[:nonceMAC], b[len(id):]) && 0 <= age && age < g.cfg.ChallengeLifetime
}

// nonceTable remembers which counts of which nonces were used (RFC 7616 §3.4).
// It is bounded: at the bound the oldest nonce goes, and with it all that were
// issued before, so that none of them can be used a second time.
type nonceTable struct {
	mu    sync.Mutex
	limit int
	floor int64 // nonces issued at or before this time are stale
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
	return &nonceTable{limit: limit, uses: make(map[nonceID]*list.Element)}
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
	now := time.Now()
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		id := e.Value.(*nonceUses).id
		if now.Sub(time.Unix(0, id.issued())) < lifetime {
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
