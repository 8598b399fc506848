package subscription

import (
	"math"
	"time"

	"github.com/openblustar/blustar/internal/deadline"
)

// Notify sends each watcher the newest state of its resource, unless it has that already.
// It does not block.
func Notify(watches []*Watch) {
	for _, w := range watches {
		w.dialog.enqueue(false, w)
	}
}

// Show sends the watcher the newest state of these resources, unless it has that already.
func (d *Dialog) Show(watches ...*Watch) { d.enqueue(false, watches...) }

// ShowAgain sends it even if nothing has changed.
func (d *Dialog) ShowAgain(watches ...*Watch) { d.enqueue(true, watches...) }

// ShowAll sends the watcher everything again, as after a refresh (RFC 6665 §4.2.1.2). Several
// resources, or a large one, are sent once in each FullPause at most: then ShowAll reports
// false, and they are sent later.
func (d *Dialog) ShowAll() bool {
	d.mu.Lock()
	if d.state != dialogActive {
		d.mu.Unlock()
		return false
	}
	if now := deadline.Now(); len(d.watches) > 1 || d.Package().Large {
		if wait := d.registry.cfg.FullPause - time.Duration(now-d.listedAt); d.listedAt != 0 && wait > 0 {
			d.wakeAfter(wait, true)
			d.mu.Unlock()
			return false
		}
		d.listedAt = now
	}
	d.listed = false // a refresh is shown the whole list (RFC 4662 §5.2)
	d.pushAll()
	d.flushLocked()
	return true
}

func (d *Dialog) enqueue(force bool, watches ...*Watch) {
	d.mu.Lock()
	if d.state != dialogActive {
		d.mu.Unlock()
		return
	}
	for _, w := range watches {
		if !w.removed {
			w.force = w.force || force
			d.push(w)
		}
	}
	d.flushLocked()
}

// flushLocked sends what is due, unless another goroutine does so. It is called with d.mu held,
// and releases it.
func (d *Dialog) flushLocked() {
	if d.draining {
		d.mu.Unlock()
		return
	}
	d.draining = true
	d.drain()
}

// drain sends what is due. One goroutine at a time does so, with d.draining set: that keeps
// the order of CSeq on the wire. While a NOTIFY is sent, no lock is held. drain is called with
// d.mu held, and releases it.
func (d *Dialog) drain() {
	for {
		n := d.nextNotify()
		if n == nil {
			d.draining = false
			d.mu.Unlock()
			return
		}
		d.underWay++
		d.registry.outstanding.Add(1)
		d.mu.Unlock()
		d.registry.cfg.Sender.Send(&n.Request, n)
		d.mu.Lock()
	}
}

// reliableWindow is how many NOTIFYs of a dialog may be under way over a connection.
const reliableWindow = 32

// room reports whether one more NOTIFY may be under way. Until the watcher has answered one,
// nothing shows that it is there. After that a slow client must not be drowned. d.mu is held.
func (d *Dialog) room() bool {
	window := d.registry.cfg.Window
	switch {
	case !d.proven:
		window = 1
	case d.flow.conn != 0:
		window = max(window, reliableWindow)
	}
	return int(d.underWay) < min(window, math.MaxInt16) // more are not counted
}

// nextNotify makes the next NOTIFY that may leave now, or returns nil. d.mu is held.
func (d *Dialog) nextNotify() *notification {
	due := d.due.first != nil || d.state == dialogEnding
	if maySpeak := d.registry.cfg.MaySpeak; due && maySpeak != nil && !maySpeak(time.Now()) {
		if d.wake == nil {
			d.wakeAfter(silence, false)
		}
		return nil
	}
	switch d.state {
	case dialogActive:
		if d.pausing || d.held {
			return nil
		}
		n := d.nextShowing()
		if n != nil || !d.fetch || d.due.first != nil || d.underWay > 0 {
			return n
		}
		d.final = ReasonTimeout
		return d.lastNotify()
	case dialogEnding:
		if d.underWay == 0 && !d.detached {
			return d.lastNotify()
		}
	}
	return nil
}

// nextShowing makes a NOTIFY of what is due, if one may leave. Of a list one is under way at a
// time. d.mu is held.
func (d *Dialog) nextShowing() *notification {
	if d.list && d.Style().Lists != nil {
		if d.underWay > 0 {
			return nil
		}
		return d.newList(reasonNone)
	}
	for d.due.first != nil && d.room() {
		w := d.pop()
		if state := w.resource.Current(); w.isDue(state) {
			n := d.newNotify(w, state, reasonNone)
			w.shows(state)
			n.shown.push(w)
			return n
		}
	}
	return nil
}

// lastNotify makes the NOTIFY that ends the subscription. It shows the state of a single
// resource once more (RFC 6665 §4.2.1.4). So a SUBSCRIBE with Expires 0 is a fetch. d.mu is
// held.
func (d *Dialog) lastNotify() (n *notification) {
	d.state = dialogEnded
	switch {
	case d.list && d.Style().Lists != nil:
		n = d.newList(d.final)
	case d.list && !d.Style().FinalBody || d.final == ReasonNoResource:
		n = d.notifyHead(d.final)
	default:
		w := d.watches[0]
		n = d.newNotify(w, w.resource.Current(), d.final)
	}
	n.last = true
	return n
}

// wakeAfter lets the dialog go on after a while. d.mu is held.
func (d *Dialog) wakeAfter(wait time.Duration, all bool) {
	if w := d.wake; w != nil && w.timer.Stop() {
		all = all || w.all
	}
	w := &wake{all: all}
	w.timer = time.AfterFunc(wait, func() { d.wakeUp(w) })
	d.wake = w
}

func (d *Dialog) wakeUp(w *wake) {
	d.mu.Lock()
	if d.wake != w || d.state == dialogEnded {
		d.mu.Unlock()
		return
	}
	d.wake = nil
	d.pausing = false
	if w.all {
		d.mu.Unlock()
		d.ShowAll()
	} else {
		d.flushLocked()
	}
}
