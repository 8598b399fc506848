package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// nonceUses are the counts of a nonce that were used (RFC 7616 §3.4): the highest,
// and which of the 64 up to it were there, because requests overtake each other.
type nonceUses struct {
	highest uint32
	seen    uint64 // bit i: highest-i
}

// newNonce returns a nonce for the source of the request. It carries when it was made, and
// a digest by which the guard knows it again. So nothing is remembered of a nonce until it
// was used with the right password.
func (g *Guard) newNonce(r *Request) string {
	nonce := binary.BigEndian.AppendUint64(make([]byte, 0, 32), uint64(time.Since(g.began)))
	nonce = append(nonce, rand.Text()[:8]...)
	mac := g.nonceMAC(r, nonce)
	return base64.RawURLEncoding.EncodeToString(append(nonce, mac[:16]...))
}

func (g *Guard) nonceMAC(r *Request, nonce []byte) [32]byte {
	source := r.Source.As16()
	if g.cfg.AnySource {
		source = [16]byte{}
	}
	return g.mac("nonce", nonce, source[:])
}

// checkNonce returns when a nonce ends, or false where it has ended or is none that was
// made for the source of the request.
func (g *Guard) checkNonce(r *Request, nonce string) (expires time.Time, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(nonce)
	if err != nil || len(b) != 32 {
		return expires, false
	}
	mac := g.nonceMAC(r, b[:16])
	expires = g.began.Add(time.Duration(binary.BigEndian.Uint64(b)) + g.cfg.ChallengeLifetime)
	return expires, hmac.Equal(b[16:], mac[:16]) && time.Now().Before(expires)
}

// useNonce enters a count, and returns false where it was there already or is too old to
// know. What an account used is pushed out by others of its own, and is not good again:
// a nonce that is no younger than one that was pushed out may have been used itself.
func (g *Guard) useNonce(nonce string, expires time.Time, account string, count uint32) (fresh bool) {
	g.nonces.update(keyOf("nonce", nonce), keyOf("account", account), expires, func(u nonceUses, found bool) (nonceUses, bool) {
		fresh = (found || expires.After(g.nonces.evicted)) && u.add(count)
		return u, found || fresh
	})
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
