package subscription

import (
	"math"
	"time"

	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/sipx"
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
	for _, w := range d.watches {
		w.force = true
		d.push(w)
	}
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

// push appends w to the queue. If a NOTIFY of w is under way, the next one follows its
// outcome. d.mu is held.
func (d *Dialog) push(w *Watch) {
	switch {
	case w.underWay:
		w.again = true
	case !w.queued:
		w.queued = true
		d.due.push(w)
	}
}

// pop takes the next watch out of the queue, which is not empty. d.mu is held.
func (d *Dialog) pop() *Watch {
	w := d.due.pop()
	w.queued = false
	return w
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

// silence is the time after which a dialog that may not speak asks again.
const silence = time.Second

func (r *Registry) maySpeak(since time.Time) bool {
	return r.cfg.MaySpeak == nil || r.cfg.MaySpeak(since)
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
	if maySpeak := d.registry.cfg.MaySpeak; maySpeak != nil && (d.due.first != nil || d.state == dialogEnding) && !maySpeak(time.Now()) {
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

// newNotify makes a NOTIFY with a state for w. A reason ends the subscription. d.mu is held.
func (d *Dialog) newNotify(w *Watch, state State, why Reason) *notification {
	n := d.notifyHead(why)
	n.Body = d.body(w, state)
	n.Header = append(n.Header, sipx.Field{Name: "Content-Type", Value: d.Package().MediaType})
	if d.Style().FromEntity && d.list {
		if u, err := sipx.ParseURI(w.entity); err == nil {
			n.From.URI = u
		}
	}
	d.encode(n)
	return n
}

// isDue reports whether the watcher would see something new in a state, or is to see it
// again. d.mu is held.
func (w *Watch) isDue(state State) bool {
	switch {
	case w.removed:
		return false
	case w.force:
		return true
	case w.resumed && digestOf(state, w.view) == w.acked:
		w.resumed, w.shown, w.sent = false, true, state.Version(w.view)
		return false
	}
	return !w.shown || w.sent != state.Version(w.view)
}

// shows notes what a NOTIFY shows. Until the answer comes, nobody knows whether the watcher has
// it. d.mu is held.
func (w *Watch) shows(state State) {
	w.underWay, w.force, w.resumed, w.shown, w.sent = true, false, false, true, state.Version(w.view)
	if w.dialog.registry.cfg.Events.Changed == nil {
		return
	}
	if w.digest = digestOf(state, w.view); w.acked != 0 && w.acked != w.digest {
		w.acked = 0
		w.dialog.changed(false)
	}
}

func (d *Dialog) body(w *Watch, state State) []byte {
	s := Showing{View: w.view, Entity: w.entity, Serial: d.version}
	if !d.list {
		d.version++
	}
	return state.Body(s)
}

// notification is one NOTIFY, with its header fields in one piece of memory. That memory is
// used again once the outcome is known.
type notification struct {
	sipx.Request
	fields [7]sipx.Field
	showing
}

// showing is what is to be known of a NOTIFY until its outcome.
type showing struct {
	dialog *Dialog
	at     int64 // when it left
	shown  chain
	full   bool // it lists all resources
	last   bool // of its dialog
}

// HandleResponse implements [sipx.ResponseHandler].
func (n *notification) HandleResponse(_ *sipx.Request, res *sipx.Response, err error) {
	s := n.showing
	*n = notification{}
	s.dialog.registry.free.Put(n)
	s.dialog.answered(s, res, err)
}

func (d *Dialog) notifyHead(why Reason) *notification {
	if d.localSeq++; d.ceiling-d.localSeq == seqStep/2 {
		d.changed(false)
	}
	n, _ := d.registry.free.Get().(*notification)
	if n == nil {
		n = new(notification)
	}
	n.dialog, n.at = d, deadline.Now()
	n.Method, n.URI, n.Flow = "NOTIFY", d.target.URI(), d.flow.Flow()
	n.From, n.To = d.local.address(), d.remote.address()
	n.CallID, n.CSeq = d.callID, d.localSeq
	if d.routes != nil {
		n.Route = *d.routes
	}
	state, expires := "", "0"
	if why == reasonNone {
		state = d.registry.actives.text(d.left())
		expires = state[len(activeExpires):]
	} else {
		state = why.state()
	}
	n.Header = append(n.fields[:0],
		sipx.Field{Name: "Contact", Value: d.common.Value().contact},
		sipx.Field{Name: "Event", Value: d.common.Value().event},
		sipx.Field{Name: "Expires", Value: expires},
		sipx.Field{Name: "Subscription-State", Value: state},
	)
	return n
}

// encode compresses a large body, if its watcher takes that. d.mu is held.
func (d *Dialog) encode(n *notification) {
	if d.coding != identity && len(n.Body) >= leastCoded {
		n.Body = d.registry.compressors.compress(d.coding, n.Body)
		n.Header = append(n.Header, sipx.Field{Name: "Content-Encoding", Value: codingNames[d.coding]})
	}
}

// wake is the end of a pause. Few dialogs have one.
type wake struct {
	timer *time.Timer
	all   bool // show everything
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
