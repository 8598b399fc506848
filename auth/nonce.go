package auth

import (
	"crypto/rand"
	"time"
)

// nonceUses are the counts of a nonce that were used (RFC 7616 §3.4): the highest,
// and which of the 64 up to it were there, because requests overtake each other.
type nonceUses struct {
	highest uint32
	seen    uint64 // bit i: highest-i
}

// newNonce returns a nonce for the source of the request, and remembers it. A nonce
// that is forgotten is stale, so that none is used twice.
func (g *Guard) newNonce(r *Request) string {
	nonce := rand.Text()
	g.nonces.put(nonceKey(g, nonce, r), keyOf("source", text(sourceNet(r.Source))), nonceUses{}, time.Now().Add(g.cfg.ChallengeLifetime))
	return nonce
}

// nonceKey has the source in it: a nonce that was fetched elsewhere is not found.
func nonceKey(g *Guard, nonce string, r *Request) recordKey {
	if g.cfg.AnySource {
		return keyOf("nonce", nonce)
	}
	return keyOf("nonce", nonce, text(r.Source))
}

// useNonce enters a count, and returns false where it was there already or is too old to know.
func (g *Guard) useNonce(nonce recordKey, count uint32) (fresh bool) {
	g.nonces.change(nonce, func(u *nonceUses) { fresh = u.add(count) })
	return fresh
}

func (u *nonceUses) add(count uint32) bool {
	if count > u.highest {
		u.seen = u.seen<<min(count-u.highest, 64) | 1
		u.highest = count
		return true
	}
	behind := u.highest - count
	if count == 0 || behind >= 64 || u.seen>>behind&1 == 1 {
		return false
	}
	u.seen |= 1 << behind
	return true
}
