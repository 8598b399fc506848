package caldav

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// maxRefusals bounds the credentials that are remembered as refused.
const maxRefusals = 10_000

// refusals remembers credentials that a server refused, so that they are not
// sent with each attempt of each mailbox: servers lock accounts. It is safe for
// concurrent use.
type refusals struct {
	pause time.Duration
	key   []byte // of the process: digests of passwords must not be worth stealing

	mu    sync.Mutex
	until map[[sha256.Size]byte]time.Time
}

func newRefusals(pause time.Duration) *refusals {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &refusals{pause: pause, key: key, until: make(map[[sha256.Size]byte]time.Time)}
}

func (r *refusals) digest(c Credentials) (d [sha256.Size]byte) {
	h := hmac.New(sha256.New, r.key)
	h.Write([]byte(c.User))
	h.Write([]byte{0})
	h.Write(c.Password.Reveal())
	h.Sum(d[:0])
	return d
}

// note remembers that c was refused just now.
func (r *refusals) note(c Credentials) {
	d, now := r.digest(c), time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.until) >= maxRefusals {
		for k, until := range r.until {
			if !now.Before(until) {
				delete(r.until, k)
			}
		}
	}
	if len(r.until) < maxRefusals {
		r.until[d] = now.Add(r.pause)
	}
}

// recent reports whether c was refused, and not long enough ago to try again.
func (r *refusals) recent(c Credentials) bool {
	d := r.digest(c)
	r.mu.Lock()
	defer r.mu.Unlock()
	until, ok := r.until[d]
	if ok && !time.Now().Before(until) {
		delete(r.until, d)
		ok = false
	}
	return ok
}
