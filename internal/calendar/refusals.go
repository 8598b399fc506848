package calendar

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/openblustar/blustar/auth"
)

// maxRefusals bounds the credentials that are remembered as refused.
const maxRefusals = 10_000

// Refusals remembers credentials that a server refused, so that they are not sent
// with each attempt of each mailbox: servers lock accounts. It is safe for concurrent
// use. Make one with [NewRefusals].
type Refusals struct {
	pause time.Duration
	key   []byte // of the process: digests of passwords must not be worth stealing

	mu    sync.Mutex
	until map[[sha256.Size]byte]time.Time
}

// NewRefusals returns one that remembers credentials for pause.
func NewRefusals(pause time.Duration) *Refusals {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return &Refusals{pause: pause, key: key, until: make(map[[sha256.Size]byte]time.Time)}
}

func (r *Refusals) digest(user string, password auth.Secret) (d [sha256.Size]byte) {
	h := hmac.New(sha256.New, r.key)
	h.Write([]byte(user))
	h.Write([]byte{0})
	h.Write(password.Reveal())
	h.Sum(d[:0])
	return d
}

// Note remembers that the credentials were refused just now.
func (r *Refusals) Note(user string, password auth.Secret) {
	d, now := r.digest(user, password), time.Now()
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

// Recent reports whether the credentials were refused, and not long enough ago to try
// them again.
func (r *Refusals) Recent(user string, password auth.Secret) bool {
	d := r.digest(user, password)
	r.mu.Lock()
	defer r.mu.Unlock()
	until, ok := r.until[d]
	if ok && !time.Now().Before(until) {
		delete(r.until, d)
		ok = false
	}
	return ok
}
