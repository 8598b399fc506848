package stack

import (
	"crypto/rand"
	mathrand "math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// rates bounds the requests per second of each source: a bucket of as many
// tokens as the rate, that fills within a second, and another one of four times as
// many for requests that say to keep or end something.
type rates struct {
	rate float64

	mu      sync.Mutex
	buckets map[rateKey]bucket
}

type rateKey struct {
	source      netip.Addr
	established bool
}

// establishedShare is how many times the rate those requests may come that say to
// keep or end something.
const establishedShare = 4

type bucket struct {
	tokens float64
	at     time.Time
}

// maxBuckets bounds the sources that are told apart. Beyond, all full buckets
// are forgotten, which changes nothing for their sources.
const maxBuckets = 1 << 16

func newRates(perSecond int) *rates {
	return &rates{rate: float64(perSecond), buckets: make(map[rateKey]bucket)}
}

func (r *rates) allow(source netip.Addr, established bool, now time.Time) bool {
	if r.rate == 0 {
		return true
	}
	rate := r.rate
	if established {
		rate *= establishedShare
	}
	key := rateKey{source, established}
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.buckets[key]
	if !ok {
		if len(r.buckets) >= maxBuckets && !r.sweep(now) {
			return false
		}
		b = bucket{rate, now}
	}
	b.tokens = min(rate, b.tokens+now.Sub(b.at).Seconds()*rate)
	b.at = now
	allowed := b.tokens >= 1
	if allowed {
		b.tokens--
	}
	r.buckets[key] = b
	return allowed
}

// sweep forgets the buckets that have filled up; r.mu is held.
func (r *rates) sweep(now time.Time) bool {
	for key, b := range r.buckets {
		if now.Sub(b.at) > time.Second {
			delete(r.buckets, key)
		}
	}
	return len(r.buckets) < maxBuckets
}

// retryAfter is when a refused client may try again, in seconds: not all at the
// same time.
func retryAfter() string { return strconv.Itoa(5 + mathrand.IntN(10)) }

// token returns n random characters that nobody can guess.
func token(n int) string { return rand.Text()[:n] }
