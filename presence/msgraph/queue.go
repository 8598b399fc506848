package msgraph

import (
	"context"
	"slices"
	"sync"
	"time"
)

// queue says what is due when. Those who work it off take some keys at a time; a key that is taken
// comes back with add. It is safe for concurrent use.
type queue struct {
	mu   sync.Mutex
	due  map[string]time.Time
	next time.Time // nothing is taken before
	wake chan struct{}
}

func newQueue() *queue { return &queue{due: make(map[string]time.Time), wake: make(chan struct{}, 1)} }

// add has key taken at a time, or before, where it is to be taken already.
func (q *queue) add(key string, at time.Time) {
	q.mu.Lock()
	if old, ok := q.due[key]; !ok || at.Before(old) {
		q.due[key] = at
	}
	q.mu.Unlock()
	q.signal()
}

func (q *queue) remove(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.due, key)
}

// hold has nothing taken for d.
func (q *queue) hold(d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if until := time.Now().Add(d); until.After(q.next) {
		q.next = until
	}
}

// held returns how long nothing is taken.
func (q *queue) held() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(0, time.Until(q.next))
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take waits until a key is due, and takes it: with up to most-1 of those that are due soonest,
// where fill is set, else alone. The next are not taken until apart has passed. It returns nil when
// ctx has ended.
func (q *queue) take(ctx context.Context, most int, fill bool, apart time.Duration) []string {
	for ctx.Err() == nil {
		keys, wait := q.ready(most, fill, apart)
		if keys != nil {
			return keys
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-q.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

// idle is how long a queue waits with nothing in it.
const idle = time.Hour

// ready takes keys, or returns how long to wait for them.
func (q *queue) ready(most int, fill bool, apart time.Duration) ([]string, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if wait := q.next.Sub(now); wait > 0 {
		return nil, wait
	}
	keys := make([]string, 0, len(q.due))
	earliest := now.Add(idle)
	for key, at := range q.due {
		if at.Before(earliest) {
			earliest = at
		}
		if fill || !at.After(now) {
			keys = append(keys, key)
		}
	}
	if wait := earliest.Sub(now); wait > 0 {
		return nil, wait
	}
	q.next = now.Add(apart)
	slices.SortFunc(keys, func(a, b string) int { return q.due[a].Compare(q.due[b]) })
	keys = keys[:min(len(keys), most)]
	for _, key := range keys {
		delete(q.due, key)
	}
	q.signal() // another worker may find more
	return keys, 0
}
