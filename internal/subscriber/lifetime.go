package subscriber

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/openblustar/blustar/sipx"
)

const (
	// MaxExpires bounds lifetimes.
	MaxExpires = 24 * time.Hour
	// TimerN is how long the first NOTIFY may take (RFC 6665 §4.1.2.4: 64*T1).
	TimerN = 32 * time.Second
	// MinRefresh keeps a server that grants next to nothing from being flooded.
	MinRefresh = time.Second

	maxRetryAfter = time.Hour // how long a server can make us wait
)

// Lifetime checks a lifetime that a user gave; 0 is the default.
func Lifetime(d, byDefault time.Duration) (time.Duration, error) {
	if d == 0 {
		d = byDefault
	}
	if d < time.Second || d > MaxExpires || d%time.Second != 0 {
		return 0, fmt.Errorf("%v is not a number of seconds from 1 s to %v", d, MaxExpires)
	}
	return d, nil
}

// RefreshAfter is when to refresh what was granted for d: at 70 to 80 % of it,
// which leaves time for lost requests and spreads the load of what started
// together; [MinRefresh] at least.
func RefreshAfter(d time.Duration) time.Duration {
	return max(d*7/10+rand.N(max(d, 0)/10+1), MinRefresh)
}

// seconds reads a number of seconds, 0 where it is none.
func seconds(value string, most time.Duration) time.Duration {
	n, _ := sipx.Seconds(value)
	return min(time.Duration(n)*time.Second, most)
}
