package auth

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"
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
	if err := g.storeKey(ctx, g.clientKey(r), key, errors.Is(reason, errOvertaken)); err != nil {
		return nil, err
	}
	return []HeaderField{{HeaderAuth, key}}, nil
}

func (g *Guard) storeKey(ctx context.Context, client, key string, overtaken bool) error {
	const tries = 100
	for range tries {
		record, err := g.cfg.Store.Get(ctx, KindChallenge, client)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		keys := keyring(record.Value).push(key, overtaken)
		err = g.cfg.Store.Swap(ctx, KindChallenge, client, string(keys), g.cfg.ChallengeLifetime, record.Revision)
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrConflict
}

// decryptWith reads credentials by the client's key.
func (g *Guard) decryptWith(keys keyring, sealed []byte) (Credentials, error) {
	for key, good := range keys.recent() {
		c, err := decrypt(g.cfg.Cipher, key, sealed)
		switch {
		case errors.Is(err, ErrWrongKey):
			continue
		case !good:
			c.Wipe()
			return Credentials{}, errOvertaken
		case err == nil || errors.Is(err, ErrMalformed):
			return c, err
		}
		return Credentials{}, ErrMalformed // a host's cipher: its text may hold anything
	}
	return Credentials{}, ErrWrongKey
}

// errOvertaken: credentials for a key of this client that another 401 replaced
// just before.
var errOvertaken error = &overtaken{}

type overtaken struct{}

func (*overtaken) Error() string { return ErrWrongKey.Error() + ": replaced by a parallel 401" }
func (*overtaken) Unwrap() error { return ErrWrongKey }

// keyring is the stored form of a client's keys, the newest first. Each is its
// time of issue, whether it is good, and the key.
//
// Only the last key is good, with one exception. A client that sends two
// requests at once gets two 401s and answers both. The answer to the first is
// for a key that was replaced, so it gets a third 401; if that replaced the
// second key, the second answer would fail as well, and the two could go on
// overtaking each other for ever. So a 401 to such an answer leaves good what was
// good, for as long as a SIP transaction lasts.
type keyring string

const (
	keyEntry = 8 + 1 + KeyLength
	// maxKeys is how many parallel requests can be told from strange keys.
	maxKeys = 4
	// overtaking is how long a replaced key is remembered: 64·T1, the time that
	// a transaction may take (RFC 3261 §17.1.2.2, Timer F).
	overtaking = 32 * time.Second
)

func (k keyring) push(key string, keep bool) keyring {
	b := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
	b = append(b, 1)
	b = append(b, key...)
	for i := 0; i+keyEntry <= len(k) && i < (maxKeys-1)*keyEntry; i += keyEntry {
		at := len(b)
		b = append(b, k[i:i+keyEntry]...)
		if !keep {
			b[at+8] = 0
		}
	}
	return keyring(b)
}

// recent ranges over the keys that may still be answered, and whether they are
// good.
func (k keyring) recent() func(yield func(key string, good bool) bool) {
	return func(yield func(string, bool) bool) {
		for i := 0; i+keyEntry <= len(k); i += keyEntry {
			issued := time.Unix(0, int64(binary.BigEndian.Uint64([]byte(k[i:i+8]))))
			// The store sees to the lifetime of the first.
			if i > 0 && time.Since(issued) >= overtaking {
				return
			}
			if !yield(string(k[i+9:i+keyEntry]), k[i+8] == 1) {
				return
			}
		}
	}
}
