package auth

import (
	"context"
	"crypto/rand"
	"encoding/binary"
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
func (g *Guard) challenge(ctx context.Context, r *Request, o outcome) ([]HeaderField, error) {
	digest := r.Digest && !r.hasRauth() && g.cfg.Digest != nil
	if digest && o.via == ViaDigest {
		return g.digestChallenge(errors.Is(o.reason, ErrStale)), nil
	}
	key := newKey()
	if err := g.storeKey(ctx, g.clientKey(r), key); err != nil {
		return nil, err
	}
	fields := []HeaderField{{HeaderAuth, key}}
	if digest {
		fields = append(fields, g.digestChallenge(false)...)
	}
	return fields, nil
}

func (g *Guard) storeKey(ctx context.Context, client, key string) error {
	const tries = 100
	for range tries {
		record, err := g.cfg.Store.Get(ctx, KindChallenge, client)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		keys := keyring(record.Value).push(key)
		err = g.cfg.Store.Swap(ctx, KindChallenge, client, string(keys), g.cfg.ChallengeLifetime, record.Revision)
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrConflict
}

// decryptWith reads credentials by the client's keys, the newest first.
func (g *Guard) decryptWith(keys keyring, sealed []byte) (Credentials, error) {
	for key := range keys.good() {
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

// keyring is the stored form of a client's keys, the newest first. Each is its
// time of issue and the key.
//
// A client that sends two requests at once gets two 401s and answers both, and a
// 401 to right credentials makes it ask its user (§2.10). So a key stays good for a
// while after another one replaced it (BSP-2.10-3).
type keyring string

const (
	keyEntry = 8 + KeyLength
	// maxKeys is how many requests a client may send at once.
	maxKeys = 4
	// overlap is how long a replaced key stays good: 64·T1, the longest that a
	// transaction takes (RFC 3261 §17.1.2.2, Timer F).
	overlap = 32 * time.Second
)

func (k keyring) push(key string) keyring {
	b := make([]byte, 0, maxKeys*keyEntry)
	b = binary.BigEndian.AppendUint64(b, uint64(time.Now().UnixNano()))
	b = append(b, key...)
	return keyring(append(b, k[:min(len(k), (maxKeys-1)*keyEntry)]...))
}

// good ranges over the keys that may be answered. The store sees to the lifetime
// of the first.
func (k keyring) good() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := 0; (i+1)*keyEntry <= len(k); i++ {
			entry := k[i*keyEntry:]
			if i > 0 {
				replaced := int64(binary.BigEndian.Uint64([]byte(k[(i-1)*keyEntry:][:8])))
				if age := time.Since(time.Unix(0, replaced)); age < 0 || age >= overlap {
					return
				}
			}
			if !yield(string(entry[8:keyEntry])) {
				return
			}
		}
	}
}
