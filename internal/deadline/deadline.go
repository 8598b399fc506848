// Package deadline is one queue for everything that expires: a heap with one
// timer, because a timer for each idle subscription would be a tenth of what it
// takes. It goes by the monotonic clock: who sets the clock on the wall moves nothing, but
// what begins at a time of day, such as an appointment, begins by the clock as it was.
package deadline

import (
	"sync"
	"sync/atomic"
	"time"
)

// Expirer is told that its time has come. Expired runs on the queue's own
// goroutine, one call after another: it must not block.
type Expirer interface{ Expired() }

// Item is a place in a [Queue], to be a field of what expires. The zero Item is
// in no queue.
type Item struct {
	who   Expirer
	until atomic.Int64 // its time, as Now counts; 0 where it is in no queue
	place int          // in the heap, counted from 1; 0 for none
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
//
// An item that is put off, as by each refresh, is not moved, which takes no lock: the
// queue finds out when it comes to it.
type Queue struct {
	mu      sync.Mutex
	heap    []entry
	timer   *time.Timer
	grace   int64 // when the last grace ended
	stopped bool
	firing  sync.Mutex // held while Expired calls run
}

// entry is an item and when to look at it, which is not after its time.
type entry struct {
	at   int64 // as Now counts
	item *Item
}

// Set has who told at a moment, instead of when it would have been told before; who is
// the same in all calls for an item. After Stop it does nothing.
func (q *Queue) Set(it *Item, who Expirer, at time.Time) {
	until := max(At(at), Now()) // one set too late is not late
	if old := it.until.Load(); old != 0 && old <= until && it.until.CompareAndSwap(old, until) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return
	}
	it.who = who
	it.until.Store(until)
	if it.place == 0 {
		q.heap = append(q.heap, entry{})
		it.place = len(q.heap)
	}
	if q.settle(it.place-1, entry{until, it}); it.place == 1 {
		q.arm()
	}
}

// Remove takes an item out. A call of Expired that has begun goes on.
func (q *Queue) Remove(it *Item) {
	if it.until.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.remove(it)
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
	for _, e := range q.heap {
		e.item.place = 0
		e.item.until.Store(0)
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
	wait := time.Duration(q.heap[0].at - Now())
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, q.fire)
	} else {
		q.timer.Reset(wait)
	}
}

func (q *Queue) fire() {
	q.firing.Lock()
	defer q.firing.Unlock()
	now := Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.heap) > 0 && now-q.heap[0].at > int64(late) && now-q.grace > int64(late) {
		q.grace = now + int64(grace)
		q.timer.Reset(grace)
		return
	}
	for len(q.heap) > 0 && q.heap[0].at <= now {
		it := q.heap[0].item
		until := it.until.Load()
		if until > now { // it was put off
			q.settle(0, entry{until, it})
			continue
		}
		if !it.until.CompareAndSwap(until, 0) { // it is being put off
			continue
		}
		q.remove(it)
		who := it.who
		q.mu.Unlock()
		who.Expired()
		q.mu.Lock()
	}
	q.arm()
}

// remove takes an item out of the heap. q.mu is held.
func (q *Queue) remove(it *Item) {
	if it.place == 0 {
		return
	}
	place, last := it.place-1, len(q.heap)-1
	moved := q.heap[last]
	q.heap[last] = entry{}
	q.heap = q.heap[:last]
	it.place = 0
	it.until.Store(0)
	if place < last {
		q.settle(place, moved)
	}
}

// settle moves e up or down from a place that is free. q.mu is held.
func (q *Queue) settle(i int, e entry) {
	for i > 0 {
		parent := (i - 1) / 2
		if q.heap[parent].at <= e.at {
			break
		}
		q.put(i, q.heap[parent])
		i = parent
	}
	for {
		child := 2*i + 1
		if child+1 < len(q.heap) && q.heap[child+1].at < q.heap[child].at {
			child++
		}
		if child >= len(q.heap) || q.heap[child].at >= e.at {
			break
		}
		q.put(i, q.heap[child])
		i = child
	}
	q.put(i, e)
}

func (q *Queue) put(i int, e entry) {
	q.heap[i] = e
	e.item.place = i + 1
}
