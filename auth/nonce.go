package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
)

// nonceUses are the counts of a nonce that were used (RFC 7616 §3.4): the highest,
// and which of the 64 up to it were there, because requests overtake each other.
type nonceUses struct {
	highest uint32
	seen    uint64 // bit i: highest-i
}

// nonce is one that came back.
type nonce struct {
	text    string
	node    string    // that made it; "" for this one
	expires time.Time // where this one made it
}

// newNonce returns a nonce for the source of the request. It carries when it was made, and
// a digest by which the guard knows it again. So nothing is remembered of a nonce until it
// was used with the right password. One of several nodes puts its name behind it.
func (g *Guard) newNonce(r *Request) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 32), uint64(time.Since(g.began)))
	b = append(b, rand.Text()[:8]...)
	mac := g.nonceMAC(r.Source, b)
	text := base64.RawURLEncoding.EncodeToString(append(b, mac[:16]...))
	if g.nodes != nil {
		text += "." + g.nodes.Node()
	}
	return text
}

func (g *Guard) nonceMAC(source netip.Addr, nonce []byte) [32]byte {
	b := source.As16()
	if g.cfg.AnySource {
		b = [16]byte{}
	}
	return g.mac("nonce", nonce, b[:])
}

// findNonce returns a nonce that was made for the source of the request and has not ended.
func (g *Guard) findNonce(ctx context.Context, r *Request, text string) (n nonce, ok bool) {
	n.text, n.node, _ = strings.Cut(text, ".")
	if g.nodes == nil || n.node == g.nodes.Node() {
		n.node = ""
	}
	if n.node != "" {
		return n, g.askNonce(ctx, r, question{Nonce: n.text}, n.node)
	}
	n.expires, ok = g.checkNonce(r.Source, n.text)
	return n, ok
}

// checkNonce returns when a nonce of this node ends, or false where it has ended or is none that
// was made for the source.
func (g *Guard) checkNonce(source netip.Addr, text string) (expires time.Time, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != 32 {
		return expires, false
	}
	mac := g.nonceMAC(source, b[:16])
	expires = g.began.Add(time.Duration(binary.BigEndian.Uint64(b)) + g.cfg.ChallengeLifetime)
	return expires, hmac.Equal(b[16:], mac[:16]) && time.Now().Before(expires)
}

// useNonce enters a count, at the node that made the nonce. It returns false where it was there
// already or is too old to know. What an account used is pushed out by others of its own, and is
// not good again: a nonce that is no younger than one that was pushed out may have been used itself.
func (g *Guard) useNonce(ctx context.Context, r *Request, n nonce, account string, count uint32) (fresh bool) {
	if n.node != "" {
		return g.askNonce(ctx, r, question{Nonce: n.text, Account: account, Count: count}, n.node)
	}
	g.nonces.update(keyOf("nonce", n.text), keyOf("account", account), n.expires,
		func(u nonceUses, found bool) (nonceUses, bool) {
			fresh = (found || n.expires.After(g.nonces.evicted)) && u.add(count)
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
