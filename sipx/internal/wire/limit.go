package wire

import (
	"crypto/rand"
	mathrand "math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// rates bounds the requests per second of each source: a bucket of as many
// tokens as the rate, that fills within a second.
type rates struct {
	rate float64

	mu      sync.Mutex
	buckets map[netip.Addr]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// maxBuckets bounds the sources that are told apart. Beyond, all full buckets
// are forgotten, which changes nothing for their sources.
const maxBuckets = 1 << 16

func newRates(perSecond int) *rates {
	return &rates{rate: float64(perSecond), buckets: make(map[netip.Addr]bucket)}
}

func (r *rates) allow(source netip.Addr, now time.Time) bool {
	if r.rate == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.buckets[source]
	if !ok {
		if len(r.buckets) >= maxBuckets && !r.sweep(now) {
			return false
		}
		b = bucket{r.rate, now}
	}
	b.tokens = min(r.rate, b.tokens+now.Sub(b.at).Seconds()*r.rate)
	b.at = now
	allowed := b.tokens >= 1
	if allowed {
		b.tokens--
	}
	r.buckets[source] = b
	return allowed
}

// sweep forgets the buckets that have filled up; r.mu is held.
func (r *rates) sweep(now time.Time) bool {
	for source, b := range r.buckets {
		if now.Sub(b.at) > time.Second {
			delete(r.buckets, source)
		}
	}
	return len(r.buckets) < maxBuckets
}

// retryAfter is when a refused client may try again, in seconds: not all at the
// same time.
func retryAfter() string { return strconv.Itoa(5 + mathrand.IntN(10)) }

// token returns n random characters that nobody can guess.
func token(n int) string { return rand.Text()[:n] }

// buffers are for messages on their way out.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(b *[]byte) {
	if cap(*b) <= 64<<10 {
		buffers.Put(b)
	}
}

// newRandom returns a source that nobody can foretell.
func newRandom() *mathrand.ChaCha8 {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails
	return mathrand.NewChaCha8(seed)
}
