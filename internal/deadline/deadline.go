// Package deadline is one queue for everything that expires: a heap with one
// timer, because a timer for each idle subscription would be a tenth of what it
// takes.
package deadline

import (
	"container/heap"
	"sync"
	"time"
)

// Expirer is told that its time has come. Expired runs on the queue's own
// goroutine, one call after another: it must not block.
type Expirer interface{ Expired() }

// Item is a place in a [Queue], to be a field of what expires. The zero Item is
// in no queue.
type Item struct {
	who   Expirer
	at    int64 // Unix time in nanoseconds
	place int   // in the heap, counted from 1; 0 for none
}

// Where the queue finds itself so late, its process was stopped or had no processor.
// What would have kept an item alive may wait in a socket then, and gets so long to
// arrive.
const (
	late  = 500 * time.Millisecond
	grace = time.Second
)

// Queue tells each [Item] when its time has come. The zero Queue is empty and
// ready. It is safe for concurrent use.
type Queue struct {
	mu      sync.Mutex
	heap    items
	timer   *time.Timer
	grace   int64 // Unix time in nanoseconds: when the last grace ended
	stopped bool
	firing  sync.Mutex // held while Expired calls run
}

// Set has who told at a moment, instead of when it would have been told before.
// After Stop it does nothing.
func (q *Queue) Set(it *Item, who Expirer, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return
	}
	it.who, it.at = who, max(at.UnixNano(), time.Now().UnixNano()) // one set too late is not late
	if it.place > 0 {
		heap.Fix(&q.heap, it.place-1)
	} else {
		heap.Push(&q.heap, it)
	}
	if it.place == 1 {
		q.arm()
	}
}

// Remove takes an item out. A call of Expired that has begun goes on.
func (q *Queue) Remove(it *Item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if it.place > 0 {
		heap.Remove(&q.heap, it.place-1)
	}
}

// Len returns how many items wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.heap)
}

// Stop drops all items and waits for a call of Expired that is running. It must
// not be called from one.
func (q *Queue) Stop() {
	q.mu.Lock()
	q.stopped = true
	for _, it := range q.heap {
		it.place = 0
	}
	q.heap = nil
	if q.timer != nil {
		q.timer.Stop()
	}
	q.mu.Unlock()
	q.firing.Lock()
	defer q.firing.Unlock()
}

// arm sets the timer for the first item. A timer that fires early, because its
// item has gone, does no harm. q.mu is held.
func (q *Queue) arm() {
	if len(q.heap) == 0 {
		return
	}
	wait := time.Until(time.Unix(0, q.heap[0].at))
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, q.fire)
	} else {
		q.timer.Reset(wait)
	}
}

func (q *Queue) fire() {
	q.firing.Lock()
	defer q.firing.Unlock()
	now := time.Now().UnixNano()
	q.mu.Lock()
	if len(q.heap) > 0 && now-q.heap[0].at > int64(late) && now-q.grace > int64(late) {
		q.grace = now + int64(grace)
		q.timer.Reset(grace)
		q.mu.Unlock()
		return
	}
	q.mu.Unlock()
	for {
		q.mu.Lock()
		if len(q.heap) == 0 || q.heap[0].at > now {
			q.arm()
			q.mu.Unlock()
			return
		}
		who := heap.Pop(&q.heap).(*Item).who
		q.mu.Unlock()
		who.Expired()
	}
}

type items []*Item

func (h items) Len() int           { return len(h) }
func (h items) Less(i, j int) bool { return h[i].at < h[j].at }
func (h items) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}
func (h *items) Push(x any) {
	it := x.(*Item)
	*h = append(*h, it)
	it.place = len(*h)
}
func (h *items) Pop() any {
	last := len(*h) - 1
	it := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	it.place = 0
	return it
}
