package presence

import (
	"container/heap"
	"sync"
	"time"
)

// expiries is when each dialog expires: one timer for all of them, because a
// timer each would be a tenth of what an idle subscription takes.
type expiries struct {
	server *Server
	mu     sync.Mutex
	queue  expiryQueue
	timer  *time.Timer // for the first
}

// set has d expire at a moment, instead of when it would have.
func (e *expiries) set(d *dialog, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d.expiry.at = at.UnixNano()
	if d.expiry.place > 0 {
		heap.Fix(&e.queue, d.expiry.place-1)
	} else {
		heap.Push(&e.queue, d)
	}
	e.arm()
}

func (e *expiries) remove(d *dialog) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.expiry.place > 0 {
		heap.Remove(&e.queue, d.expiry.place-1)
	}
}

// arm sets the timer for the first in the queue. One that fires early, because
// its dialog has gone, does no harm. e.mu is held.
func (e *expiries) arm() {
	if len(e.queue) == 0 {
		return
	}
	wait := time.Until(time.Unix(0, e.queue[0].expiry.at))
	if e.timer == nil {
		e.timer = e.server.after(wait, e.fire)
	} else {
		e.timer.Reset(wait)
	}
}

func (e *expiries) fire() {
	now := time.Now()
	for {
		e.mu.Lock()
		if len(e.queue) == 0 || e.queue[0].expiry.at > now.UnixNano() {
			e.arm()
			e.mu.Unlock()
			return
		}
		d := heap.Pop(&e.queue).(*dialog)
		e.mu.Unlock()
		e.server.expired(d)
	}
}

func (e *expiries) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	stopTimer(&e.timer)
}

// expiry is a dialog's place in the queue, counted from 1, and 0 for none.
type expiry struct {
	at    int64 // Unix time in nanoseconds
	place int
}

type expiryQueue []*dialog

func (q expiryQueue) Len() int           { return len(q) }
func (q expiryQueue) Less(i, j int) bool { return q[i].expiry.at < q[j].expiry.at }
func (q expiryQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].expiry.place, q[j].expiry.place = i+1, j+1
}
func (q *expiryQueue) Push(x any) {
	d := x.(*dialog)
	*q = append(*q, d)
	d.expiry.place = len(*q)
}
func (q *expiryQueue) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	d.expiry.place = 0
	return d
}
