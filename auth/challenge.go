package auth

import (
	"crypto/rand"
	"errors"
	"iter"
	"time"
)

// KeyLength is the number of characters of X-BSS-auth (§2.10).
const KeyLength = 56

// newKey returns a challenge: digits from a cryptographic source, as §2.10 prints
// them, 186 bits. The tuz cipher uses the first 48 of them, 159 bits.
func newKey() string {
	// Bytes from 250 on are passed over, since they would favor the digits 0 to 5.
	const limit = 250
	key := make([]byte, 0, KeyLength)
	var random [KeyLength + 8]byte
	for {
		_, _ = rand.Read(random[:]) // never fails, see crypto/rand
		for _, b := range random {
			if b >= limit {
				continue
			}
			if key = append(key, '0'+b%10); len(key) == KeyLength {
				return string(key)
			}
		}
	}
}

// challenge makes the header of a 401. A client that does not say which of the two
// it speaks gets both. It speaks X-BSS if it has credentials of that kind, and
// Digest if it answers with Digest.
func (g *Guard) challenge(r *Request, o outcome) []HeaderField {
	digest := r.Digest && !r.hasRauth() && g.cfg.Digest != nil
	if digest && o.via == ViaDigest {
		return g.digestChallenge(r, errors.Is(o.reason, ErrStale))
	}
	now, key := time.Now(), newKey()
	g.challenges.update(g.clientKey("challenge", r), keyOf("source", text(sourceNet(r.Source))), now.Add(g.cfg.ChallengeLifetime),
		func(k keyring, _ bool) (keyring, bool) { return k.push(key, now), true })
	fields := []HeaderField{{HeaderAuth, key}}
	if digest {
		fields = append(fields, g.digestChallenge(r, false)...)
	}
	return fields
}

// decryptWith reads credentials by the client's keys, the newest first.
func (g *Guard) decryptWith(keys keyring, sealed []byte) (Credentials, error) {
	for key := range keys.good(time.Now()) {
		c, err := decrypt(g.cfg.Cipher, key, sealed)
		switch {
		case errors.Is(err, ErrWrongKey):
		case err == nil, errors.Is(err, ErrMalformed):
			return c, err
		default:
			return Credentials{}, ErrMalformed // the text of a host's cipher may hold anything
		}
	}
	return Credentials{}, ErrWrongKey
}

// keyring is a client's keys, the newest first.
//
// A client that sends two requests at once gets two 401s and answers both, and a
// 401 to right credentials makes it ask its user (§2.10). So a key stays good for a
// while after another one replaced it (BSP-2.10-3).
type keyring [4]struct {
	key    string
	issued time.Time
}

// overlap is how long a replaced key stays good: 64·T1, the longest that a
// transaction takes (RFC 3261 §17.1.2.2, Timer F).
const overlap = 32 * time.Second

func (k keyring) push(key string, now time.Time) keyring {
	copy(k[1:], k[:])
	k[0].key, k[0].issued = key, now
	return k
}

// good ranges over the keys that may be answered. The lifetime of the first is that
// of its record.
func (k keyring) good(now time.Time) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range k {
			if k[i].key == "" || i > 0 && now.Sub(k[i-1].issued) >= overlap || !yield(k[i].key) {
				return
			}
		}
	}
}
