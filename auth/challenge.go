package auth

import (
	"context"
	"crypto/rand"
	"errors"
)

// KeyLength is the number of characters of X-BSS-auth (§2.10).
const KeyLength = 56

// newKey returns a challenge: letters and digits from a cryptographic source,
// 333 bits of them. (The tuz cipher uses the first 48 characters.)
func newKey() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	// Bytes beyond the last multiple of the alphabet's length are passed over,
	// since they would favor its first letters.
	const limit = 256 - 256%len(alphabet)
	key := make([]byte, 0, KeyLength)
	var random [KeyLength + 16]byte
	for {
		_, _ = rand.Read(random[:]) // never fails, see crypto/rand
		for _, b := range random {
			if int(b) >= limit {
				continue
			}
			if key = append(key, alphabet[int(b)%len(alphabet)]); len(key) == KeyLength {
				return string(key)
			}
		}
	}
}

// challenge makes the header of a 401. An X-BSS key replaces the client's last
// one (BSP-2.10-3); a nonce replaces nothing.
func (g *Guard) challenge(ctx context.Context, r *Request, reason error) ([]HeaderField, error) {
	if r.Digest && !r.hasRauth() {
		return g.digestChallenge(errors.Is(reason, ErrStale)), nil
	}
	key := newKey()
	if err := g.cfg.Store.Put(ctx, KindChallenge, g.clientKey(r), key, g.cfg.ChallengeLifetime); err != nil {
		return nil, err
	}
	return []HeaderField{{HeaderAuth, key}}, nil
}
