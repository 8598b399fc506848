package presence

import (
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// notification is one NOTIFY with its header fields in one piece.
type notification struct {
	sipx.Request
	fields [8]sipx.Field
}

const activeExpires = "active;expires="

// activeTexts keeps the Subscription-State of each number of seconds once it was
// written: the watchers of one presentity differ in nothing else.
type activeTexts []atomic.Pointer[string]

func (t activeTexts) text(left time.Duration) string {
	n := max(0, int(left.Round(time.Second)/time.Second))
	if n < len(t) {
		if text := t[n].Load(); text != nil {
			return *text
		}
	}
	text := activeExpires + strconv.Itoa(n)
	if n < len(t) {
		t[n].Store(&text)
	}
	return text
}

// notify has each watch sent the newest document of its presentity, unless it
// has it already.
func (s *Server) notify(watches []*watch) {
	for _, w := range watches {
		s.enqueue(w.dialog, false, w)
	}
}

// enqueue puts watches into their dialog's queue. force sends a NOTIFY even where
// nothing changed.
func (s *Server) enqueue(d *dialog, force bool, watches ...*watch) {
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
	drain := !d.draining
	d.draining = true
	d.mu.Unlock()
	if drain {
		s.drain(d)
	}
}

// push appends w to the queue; where a NOTIFY for it is under way it follows
// that one (BSP-4-4). d.mu is held.
func (d *dialog) push(w *watch) {
	switch {
	case w.underWay:
		w.again = true
	case w.queued:
	case d.due == nil:
		d.due, d.dueTail = w, w
		w.queued = true
	default:
		d.dueTail.next, d.dueTail = w, w
		w.queued = true
	}
}

func (d *dialog) pop() *watch {
	w := d.due
	if w != nil {
		d.due, w.next = w.next, nil
		w.queued = false
	}
	return w
}

// drain sends what is due in a dialog. One goroutine at a time does so, with
// d.draining set, which keeps the order of CSeq on the wire; no lock is held
// while sending.
func (s *Server) drain(d *dialog) {
	for {
		d.mu.Lock()
		n, done := d.nextNotify()
		if n == nil {
			d.draining = false
			d.mu.Unlock()
			return
		}
		d.underWay++
		s.outstanding.Add(1)
		d.mu.Unlock()
		s.cfg.Sender.Send(&n.Request, done)
	}
}

// nextNotify makes the next NOTIFY that may leave now, or returns nil. d.mu is
// held.
func (d *dialog) nextNotify() (*notification, sipx.ResponseHandler) {
	switch d.state {
	case dialogActive:
		if d.pausing || d.underWay >= d.window() {
			return nil, nil
		}
		if d.list && !d.dialect.ListByEntry {
			return d.nextRLMI()
		}
		for w := d.pop(); w != nil; w = d.pop() {
			if w.watchers {
				w.force, w.underWay = false, true
				w.sentAt = time.Now().UnixNano()
				return d.newWinfo(w, reasonNone), w
			}
			p := w.presentity
			snap := p.current.Load()
			version := snap.version(d.dialect, w.own)
			if w.removed || !w.force && w.sentOf == p && w.sent == version {
				continue
			}
			w.force, w.underWay = false, true
			w.sentOf, w.sent, w.sentAt = p, version, time.Now().UnixNano()
			return d.newNotify(w, snap, reasonNone), w
		}
		if d.fetch && d.underWay == 0 {
			d.state, d.final = dialogEnding, reasonTimeout
			return d.lastNotify()
		}
	case dialogEnding:
		if d.underWay == 0 {
			return d.lastNotify()
		}
	}
	return nil, nil
}

// How many NOTIFYs of a dialog may be under way. The receive buffer of a PC client
// of 2013 has 8 KB, and it takes 10 ms for each (BSX-9).
const (
	unprovenWindow = 1 // until the watcher has answered one: it may be somebody else's address
	datagramWindow = 3
	streamWindow   = 32
)

// window is how many NOTIFYs may be under way now. d.mu is held.
func (d *dialog) window() int32 {
	switch {
	case d.answered == 0:
		return unprovenWindow
	case d.flow.Reliable():
		return streamWindow
	}
	return datagramWindow
}

// lastNotify makes the NOTIFY that ends the subscription. At the watcher's wish,
// and in a dialect with clients always, it shows the state once more (RFC 6665
// §4.2.1.4), which makes a fetch of a SUBSCRIBE with Expires 0. d.mu is held.
func (d *dialog) lastNotify() (*notification, sipx.ResponseHandler) {
	d.state = dialogEnded
	var w *watch
	var snap *snapshot
	if d.dialect.ClientLife || !d.list && d.final == reasonTimeout {
		w = d.watches[0]
		if w.watchers {
			return d.newWinfo(w, d.final), (*finalNotify)(d)
		}
		snap = w.presentity.current.Load()
	}
	return d.newNotify(w, snap, d.final), (*finalNotify)(d)
}

// newNotify makes a NOTIFY with the document of snap for w, both nil for one
// without a body; a reason ends the subscription. d.mu is held.
func (d *dialog) newNotify(w *watch, snap *snapshot, why reason) *notification {
	n := d.notifyHead(why)
	if w == nil {
		return n
	}
	n.Body = w.body(snap)
	n.Header = append(n.Header, sipx.Field{Name: "Content-Type", Value: typePIDF})
	if d.dialect.FromEntity && d.list {
		if u, err := sipx.ParseURI(w.entity); err == nil {
			n.From.URI = u
		}
	}
	return n
}

// body is the document of snap for w. Its dialog's mu is held.
func (w *watch) body(snap *snapshot) []byte {
	return snap.body(w.dialog.dialect, w.own, w.entity, w.presentity.watching.Load() > 1)
}

func (d *dialog) notifyHead(why reason) *notification {
	d.localSeq++
	n := &notification{Request: sipx.Request{
		Method: "NOTIFY",
		URI:    d.target,
		From:   d.local,
		To:     d.remote,
		CallID: d.callID,
		CSeq:   d.localSeq,
		Route:  d.routes,
		Flow:   d.flow,
	}}
	state, expires := why.state(), "0"
	if why == reasonNone {
		state = d.server.actives.text(time.Until(d.expires))
		expires = state[len(activeExpires):]
	}
	n.Header = append(n.fields[:0],
		sipx.Field{Name: "Contact", Value: d.contact},
		sipx.Field{Name: "Event", Value: d.event},
		sipx.Field{Name: "Expires", Value: expires},
		sipx.Field{Name: "Subscription-State", Value: state},
	)
	return n
}

// HandleResponse takes the outcome of the NOTIFY of one presentity.
func (w *watch) HandleResponse(_ *sipx.Request, res *sipx.Response, err error) {
	d := w.dialog
	verdict, pause := judge(res, err)
	if verdict == silent && d.server.answeredSince(d, w.sentAt) {
		verdict = missed
	}
	d.mu.Lock()
	if res != nil {
		d.answered = time.Now().UnixNano()
	}
	w.underWay = false
	again := w.again
	w.again = false
	verdict = d.again(verdict, pause)
	if verdict == notNow || verdict == missed {
		w.sentOf, again = nil, true // what it showed was not taken
	}
	if again && verdict < gone && !w.removed {
		d.push(w)
	}
	d.settled(res, err, verdict)
}

// again pauses a dialog whose watcher said "not now", or was not reached: nothing
// is sent for as long as it asked, and longer each time. It gives up one that the
// network has not reached for a minute. d.mu is held.
func (d *dialog) again(v verdict, asked time.Duration) verdict {
	now := time.Now().Unix()
	switch {
	case v != unreachable:
		d.unreachable = 0
	case d.unreachable == 0:
		d.unreachable = now
	case now-d.unreachable > int64(maxUnreachable/time.Second):
		return gone
	}
	switch {
	case v != unreachable && v != notNow:
		d.tries = 0
		return v
	case !d.pausing && d.state == dialogActive:
		d.tries++
		d.pausing = true
		d.server.after(max(asked, min(time.Second<<min(d.tries, 6), time.Minute)), d.resume)
	}
	return notNow
}

// maxUnreachable is how long the network may fail to reach a watcher.
const maxUnreachable = time.Minute

// resume sends what waited for the end of a pause.
func (d *dialog) resume() {
	d.mu.Lock()
	d.pausing = false
	d.mu.Unlock()
	d.server.flush(d)
}

// settled goes on after a final response: with what is due, or with the end of
// the dialog. It is called with d.mu held and releases it.
func (d *dialog) settled(res *sipx.Response, err error, v verdict) {
	s := d.server
	d.underWay--
	lost := v >= gone && d.state == dialogActive
	if v >= gone {
		d.state = dialogEnded
	}
	drain := !d.draining && v < gone
	if drain {
		d.draining = true
	}
	d.mu.Unlock()
	s.observeNotify(res, err)
	if drain {
		s.drain(d)
	}
	switch why := "a NOTIFY failed: "; {
	case lost && v == silent:
		s.silent(d, why+outcome(res, err))
	case lost:
		s.lost(d, why+outcome(res, err))
	}
	s.sendDone()
}

// finalNotify is a dialog whose last NOTIFY is under way: whatever becomes of
// it, that was that.
type finalNotify dialog

func (f *finalNotify) HandleResponse(_ *sipx.Request, res *sipx.Response, err error) {
	s := f.server
	s.observeNotify(res, err)
	s.sendDone()
}

func (s *Server) observeNotify(res *sipx.Response, err error) {
	switch {
	case errors.Is(err, sipx.ErrTooLarge):
		s.cfg.Logger.Warn("a watcher cannot be told: the document is larger than a message may be", "error", err)
	case err != nil:
		s.cfg.Logger.Debug("NOTIFY failed", "error", err)
	}
	if hook := s.cfg.Hooks.Notify; hook != nil {
		status := 0
		if res != nil {
			status = res.Status
		}
		hook(status, err)
	}
}

func outcome(res *sipx.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	return strconv.Itoa(res.Status) + " " + res.ReasonPhrase()
}

// verdict is what the outcome of a NOTIFY means for its subscription.
type verdict int

const (
	delivered   verdict = iota // or refused in a way that trying again would not mend
	notNow                     // try again later
	unreachable                // the same, but not for ever
	missed                     // this one was, by a watcher that answers others: try again
	gone                       // the watcher does not know the subscription
	silent                     // the watcher is gone
)

// judge tells what an outcome means (RFC 6665 §4.2.2, RFC 5057 §5.1), and how
// long to wait where it is notNow.
func judge(res *sipx.Response, err error) (verdict, time.Duration) {
	switch {
	case errors.Is(err, sipx.ErrQueueFull):
		return notNow, time.Second
	case errors.Is(err, sipx.ErrStackClosed), errors.Is(err, sipx.ErrTooLarge):
		return delivered, 0
	case errors.Is(err, sipx.ErrTimeout):
		return silent, 0
	case errors.Is(err, sipx.ErrFlowClosed):
		return gone, 0
	case err != nil:
		return unreachable, 0
	case res.Status < 300:
		return delivered, 0
	}
	switch res.Status {
	case 404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604:
		return gone, 0
	}
	after, ok := sipx.Seconds(res.Header.Get("Retry-After"))
	if res.Status/100 == 5 || ok {
		return notNow, min(time.Duration(after)*time.Second, 5*time.Minute)
	}
	return delivered, 0
}
