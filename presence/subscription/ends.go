package subscription

import (
	"sync"
	"time"
)

// Ending is the end of a dialog.
type Ending struct {
	Dialog *Dialog
	Cause  Cause
	Detail string // of a NOTIFY that failed: what became of it
}

// Cause is why a dialog ended by itself.
type Cause uint8

// Causes.
const (
	Expired  Cause = iota // it was not refreshed in time
	Refused               // its watcher does not know it any more, or the network does not reach it (RFC 6665 §4.2.2)
	Silent                // a NOTIFY was not answered
	FlowGone              // its connection is closed
)

// String says it in words.
func (c Cause) String() string {
	return [...]string{"it was not refreshed", "a NOTIFY failed", "a NOTIFY was not answered", "its connection is gone"}[c]
}

// ends has the dialogs that are to end by themselves. A goroutine of its own ends them,
// because that may take a while, and neither the network nor a deadline can wait. The
// goroutine lives while there is something to do.
type ends struct {
	mu      sync.Mutex
	queue   []*Dialog
	why     map[*Dialog]Ending
	running chan struct{} // closed when the goroutine ends; nil where there is none
}

// schedule has a dialog end. An expiry is the weakest cause: the dialog may have been refreshed.
func (e *ends) schedule(d *Dialog, cause Cause, detail string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before, waiting := e.why[d]
	if waiting && (cause == Expired || before.Cause != Expired) {
		return
	}
	if e.why == nil {
		e.why = make(map[*Dialog]Ending)
	}
	if e.why[d] = (Ending{d, cause, detail}); waiting {
		return
	}
	e.queue = append(e.queue, d)
	if e.running == nil {
		e.running = make(chan struct{})
		go e.run()
	}
}

// spare lets a dialog live whose watcher has sent a request over another connection.
func (e *ends) spare(d *Dialog) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.why[d].Cause == FlowGone {
		e.why[d] = Ending{Dialog: d, Cause: Expired} // if it has
	}
}

func (e *ends) run() {
	for {
		e.mu.Lock()
		if len(e.queue) == 0 {
			e.queue, e.why = nil, nil
			close(e.running)
			e.running = nil
			e.mu.Unlock()
			return
		}
		d := e.queue[0]
		e.queue = e.queue[1:]
		ending := e.why[d]
		delete(e.why, d)
		e.mu.Unlock()
		ending.Dialog.registry.carryOut(ending)
	}
}

func (e *ends) wait() {
	e.mu.Lock()
	running := e.running
	e.mu.Unlock()
	if running != nil {
		<-running
	}
}

// recent has the tags of the dialogs that have ended last.
type recent struct {
	at   map[string]time.Time
	tags [maxRecent]string
	next int
}

const maxRecent = 4096

func (r *recent) add(tag string) {
	if r.at == nil {
		r.at = make(map[string]time.Time)
	}
	delete(r.at, r.tags[r.next])
	r.tags[r.next] = tag
	r.at[tag] = time.Now()
	r.next = (r.next + 1) % maxRecent
}

func (r *recent) has(tag string) bool {
	at, ok := r.at[tag]
	return ok && time.Since(at) < 32*time.Second
}
