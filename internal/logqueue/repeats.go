package logqueue

import (
	"log/slog"
	"sync"
	"time"
)

// Repeats keeps what happens again and again from filling a log. Of one source and reason, one
// line a minute is written, and the others are counted. The counts are written with the first
// after that minute. It is safe for concurrent use.
type Repeats struct {
	Logger  *slog.Logger
	Message string // of the line with a count

	mu    sync.Mutex
	since time.Time
	seen  map[repeated]int // lines that were held back
}

type repeated struct{ source, reason string }

// maxRepeats is how many sources and reasons have a line of their own in a minute. The rest
// count as one.
const maxRepeats = 100

// First reports whether a line is to be written.
func (l *Repeats) First(source, reason string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.since) >= time.Minute {
		for k, n := range l.seen {
			if n > 0 {
				l.Logger.Warn(l.Message, "times", n, "source", k.source, "reason", k.reason, "since", l.since)
			}
		}
		l.since, l.seen = now, make(map[repeated]int)
	}
	k := repeated{source, reason}
	n, again := l.seen[k]
	if !again && len(l.seen) >= maxRepeats {
		k = repeated{"others", "any"}
		n, again = l.seen[k]
	}
	if !again {
		l.seen[k] = 0
		return true
	}
	l.seen[k] = n + 1
	return false
}
