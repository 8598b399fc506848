// Package backoff says when to try again what has failed, and waits for it.
//
// A client that meets a failing server uses three things of it. [Backoff] is the
// pause after one more failure. [RetryAfter] reads what the server itself asked
// for, which counts where it is longer. [Sleep] waits, no longer than a context
// lasts. [Spread] and [Beyond] keep what began together from coming back together.
package backoff

import (
	"cmp"
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Defaults of [Backoff].
const (
	DefaultFirst = time.Second
	DefaultMax   = time.Minute
)

// MaxRetryAfter is the longest wait that [RetryAfter] returns.
const MaxRetryAfter = 24 * time.Hour

// A Backoff counts failures in a row and says how long to wait after each. The
// pauses double from First to Max. The last quarter of each is random, so that a
// pause is never longer than Max.
//
// The zero value is ready: it doubles from 1 s to 1 min. A Backoff is not safe for
// concurrent use.
type Backoff struct {
	First time.Duration // the pause after the first failure; 0: DefaultFirst
	Max   time.Duration // the longest pause; 0: DefaultMax

	failures int
}

// Next notes one more failure and returns the pause after it.
func (b *Backoff) Next() time.Duration {
	d, longest := cmp.Or(b.First, DefaultFirst), cmp.Or(b.Max, DefaultMax)
	for range b.failures {
		if d >= longest/2 {
			d = longest
			break
		}
		d *= 2
	}
	b.failures++
	d = min(d, longest)
	return d - rand.N(d/4+1)
}

// Failures returns how many there have been since the last Reset.
func (b *Backoff) Failures() int { return b.failures }

// Reset forgets the failures: it works again.
func (b *Backoff) Reset() { b.failures = 0 }

// Spread returns a random duration within a quarter of d around d. It is for what
// many do every d: in the long run they do it evenly.
func Spread(d time.Duration) time.Duration { return d - d/4 + rand.N(d/2+1) }

// Beyond returns a random duration from d to a tenth and one second more. It is for
// a wait that somebody asked for: it is kept, and not all who were asked come back
// at once.
func Beyond(d time.Duration) time.Duration { return d + rand.N(d/10+time.Second) }

// RetryAfter reads the value of a Retry-After field: a number of seconds or an
// HTTP-date (RFC 9110 §10.2.3). What follows a number, as the comment that RFC 3261
// §20.33 allows, is not looked at. A date is counted from now: the server's own time
// where its Date field says it, so that a wrong clock on either side does no harm.
// The result is 0 where the value says nothing or is in the past, and never more
// than [MaxRetryAfter].
func RetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	digits := len(value) - len(strings.TrimLeft(value, "0123456789"))
	if digits > 0 {
		n, err := strconv.ParseInt(value[:digits], 10, 64)
		if err != nil || n > int64(MaxRetryAfter/time.Second) {
			return MaxRetryAfter
		}
		return time.Duration(n) * time.Second
	}
	for _, layout := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC} {
		if at, err := time.Parse(layout, value); err == nil {
			return min(max(at.Sub(now), 0), MaxRetryAfter)
		}
	}
	return 0
}

// FormatRetryAfter writes a Retry-After field: d in whole seconds, rounded up, from 0
// to [MaxRetryAfter].
func FormatRetryAfter(d time.Duration) string {
	return strconv.FormatInt(int64((min(max(d, 0), MaxRetryAfter)+time.Second-1)/time.Second), 10)
}

// Sleep waits for d. It returns nil after that, or the error of ctx as soon as that
// has ended; also at once, where it has ended before.
func Sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
