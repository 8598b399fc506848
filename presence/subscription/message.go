package subscription

import (
	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/sipx"
)

// notification is one NOTIFY, with its header fields in one piece of memory. That memory is
// used again once the outcome is known.
type notification struct {
	sipx.Request
	fields [7]sipx.Field
	room   []byte // for Body
	showing
}

// maxRoom bounds the memory for a body that is used again.
const maxRoom = 4 << 10

// showing is what is to be known of a NOTIFY until its outcome.
type showing struct {
	dialog *Dialog
	at     int64 // when it left
	shown  chain
	full   bool // it lists all resources
	last   bool // of its dialog
}

// newNotify makes a NOTIFY with a state for w. A reason ends the subscription. d.mu is held.
func (d *Dialog) newNotify(w *Watch, state State, why Reason) *notification {
	n := d.notifyHead(why)
	body, own := state.Body(n.room[:0], Showing{View: w.view, Entity: w.entity, Serial: d.version})
	if n.Body = body; own {
		n.room = body
	}
	if !d.list {
		d.version++
	}
	n.Header = append(n.Header, sipx.Field{Name: "Content-Type", Value: d.Package().MediaType})
	if d.Style().FromEntity && d.list {
		if u, err := sipx.ParseURI(w.entity); err == nil {
			n.From.URI = u
		}
	}
	d.encode(n)
	return n
}

// notifyHead makes a NOTIFY without a body. d.mu is held.
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
	state, expires := why.state(), "0"
	if why == reasonNone {
		state = d.registry.actives.text(d.left())
		expires = state[len(activeExpires):]
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
