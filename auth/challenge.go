package auth

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"iter"
	"time"
)

// KeyLength is the number of characters of X-BSS-auth (§2.10).
const KeyLength = 56

// digits writes 256 random bits as a key: as §2.10 prints it, of 186 bits. The tuz cipher
// uses its first 48 digits, of 159 bits.
func digits(random [32]byte) string {
	var key [KeyLength]byte
	for i := range 4 {
		n := binary.BigEndian.Uint64(random[8*i:])
		for j := range KeyLength / 4 {
			key[KeyLength/4*i+j] = '0' + byte(n%10)
			n /= 10
		}
	}
	return string(key[:])
}

// challenge makes the header of a 401. A client that does not say which of the two
// it speaks gets both. It speaks X-BSS if it has credentials of that kind, and
// Digest if it answers with Digest.
func (g *Guard) challenge(r *Request, o outcome) []HeaderField {
	digest := r.Digest && !r.hasRauth() && g.cfg.Digest != nil
	if digest && o.via == ViaDigest {
		return g.digestChallenge(r, errors.Is(o.reason, ErrStale))
	}
	fields := []HeaderField{{HeaderAuth, g.newKey(r)}}
	if digest {
		fields = append(fields, g.digestChallenge(r, false)...)
	}
	return fields
}

// newKey returns the key of a 401. It is remembered as one of its client's, unless there
// is no room for it: who asks for many, as the client or from its address, which a
// datagram may lie about, must not push out what was sent to others. Then the key is
// derived: one of two by turns, each good for one to two lifetimes.
func (g *Guard) newKey(r *Request) string {
	now, client, key := time.Now(), g.clientKey("challenge", r), ""
	kept := g.challenges.update(client, keyOf("source", text(sourceNet(r.Source))), now.Add(g.cfg.ChallengeLifetime),
		func(k keyring, _ bool) (keyring, bool) {
			if !k.full(now) {
				var random [32]byte
				_, _ = rand.Read(random[:]) // never fails, see crypto/rand
				key = digits(random)
				k.push(key, now)
			}
			return k, true
		})
	if !kept || key == "" {
		key = g.derivedKey(client, 2*g.lifetime(now)+g.derived.Add(1)%2)
	}
	return key
}

// lifetime numbers the lifetimes of challenges since the guard was made.
func (g *Guard) lifetime(now time.Time) uint64 {
	return uint64(now.Sub(g.began) / g.cfg.ChallengeLifetime)
}

// derivedKey is a key of a client, two for each lifetime.
func (g *Guard) derivedKey(client recordKey, number uint64) string {
	return digits(g.mac("challenge", client[:], binary.BigEndian.AppendUint64(nil, number)))
}

// keysOf ranges over the keys that a client may answer, the likeliest first.
func (g *Guard) keysOf(client recordKey) iter.Seq[string] {
	return func(yield func(string) bool) {
		now := time.Now()
		if k, ok := g.challenges.get(client); ok {
			for key := range k.good(now, g.cfg.ChallengeLifetime) {
				if !yield(key) {
					return
				}
			}
		}
		last := 2*g.lifetime(now) + 1
		for n := last; n+4 > last && yield(g.derivedKey(client, n)) && n > 0; n-- {
		}
	}
}

// decryptWith reads credentials by one of the keys, and returns which.
func (g *Guard) decryptWith(keys iter.Seq[string], sealed []byte) (Credentials, string, error) {
	for key := range keys {
		c, err := decrypt(g.cfg.Cipher, key, sealed)
		switch {
		case errors.Is(err, ErrWrongKey):
		case err == nil, errors.Is(err, ErrMalformed):
			return c, key, err
		default:
			return Credentials{}, "", ErrMalformed // the text of a host's cipher may hold anything
		}
	}
	return Credentials{}, "", ErrWrongKey
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

// full reports whether another key would replace one that is still good.
func (k *keyring) full(now time.Time) bool {
	return k[len(k)-1].key != "" && now.Sub(k[len(k)-2].issued) < overlap
}

func (k *keyring) push(key string, now time.Time) {
	copy(k[1:], k[:])
	k[0].key, k[0].issued = key, now
}

// good ranges over the keys that may be answered: the newest within its lifetime, and
// those that were replaced within theirs, not long ago.
func (k *keyring) good(now time.Time, lifetime time.Duration) iter.Seq[string] {
	return func(yield func(string) bool) {
		replaced := now
		for i := range k {
			if k[i].key == "" || replaced.Sub(k[i].issued) >= lifetime || now.Sub(replaced) >= overlap || !yield(k[i].key) {
				return
			}
			replaced = k[i].issued
		}
	}
}
