package subscription

import (
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/sipx"
)

// Start lets NOTIFYs leave: the first ones show everything. It is to be called
// once, when the 200 has left (RFC 6665 §4.2.1.2).
func (d *Dialog) Start() {
	d.mu.Lock()
	if !d.closed && !d.fetch {
		d.registry.deadlines.Set(&d.deadline, d, deadline.Time(d.expires))
	}
	if d.state == dialogActive {
		if d.fetch && !d.list {
			d.state, d.final = dialogEnding, ReasonTimeout
		} else {
			d.pushAll()
		}
	}
	d.drain()
}

// Refresh takes over what a SUBSCRIBE in the dialog says (RFC 3261 §12.2.2), and gives the dialog
// its next lifetime. With 0 the host ends the dialog next. The error is a [*sipx.Error].
func (d *Dialog) Refresh(req *sipx.Request, contact sipx.URI, lifetime time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.state != dialogActive {
		return sipx.Errorf(481, "")
	}
	if req.CSeq <= d.remoteSeq {
		return sipx.Errorf(500, "CSeq out of order")
	}
	d.remoteSeq = req.CSeq
	flow := packFlow(d.registry.cfg.NAT.flow(req, contact, d.routes != nil))
	d.registry.rebind(d, flow.conn)
	d.flow, d.detached = flow, false
	if d.target.URI() != contact {
		d.target = packURI(new(strings.Builder), contact)
	}
	if lifetime > 0 {
		at := time.Now().Add(lifetime)
		d.expires = deadline.At(at)
		d.pausing, d.held = false, false // it is there
		d.registry.deadlines.Set(&d.deadline, d, at)
	}
	d.changed(false)
	return nil
}

// SetItems makes the dialog watch exactly these items (§4.2). An item with the entity of a watch is
// that watch. SetItems returns the new watches, to be shown by [Dialog.Show]. The error is
// [ErrFull], [ErrShare] or a [*sipx.Error].
func (d *Dialog) SetItems(items []Item) ([]*Watch, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, sipx.Errorf(481, "")
	}
	have := make(map[string]*Watch, len(d.watches))
	for _, w := range d.watches {
		have[w.entity] = w
	}
	var added []*Watch
	list := make([]*Watch, 0, len(items))
	for _, item := range items {
		w := have[item.Entity]
		if w == nil {
			w = d.newWatch(item)
			added = append(added, w)
		}
		delete(have, item.Entity)
		list = append(list, w)
	}
	if err := d.registry.take(d, max(1, len(list))-d.weight()); err != nil {
		return nil, err
	}
	d.watches = list
	for _, w := range have {
		w.removed = true
		w.leave()
	}
	for _, w := range added {
		w.join()
	}
	d.changed(true)
	return added, nil
}

// Move has w watch to instead of from, in view v, and shows its watcher that. If w does not
// watch from, or has ended, Move does nothing and reports false.
func (w *Watch) Move(from, to Resource, v View) bool {
	d := w.dialog
	d.mu.Lock()
	moved := w.resource == from && w.see(to, v)
	d.mu.Unlock()
	if moved {
		d.Show(w)
	}
	return moved
}

// SetView changes the view of w, and reports whether that is a new one. [Dialog.Show] shows
// the watcher what it sees now.
func (w *Watch) SetView(v View) bool {
	w.dialog.mu.Lock()
	defer w.dialog.mu.Unlock()
	return w.view != v && w.see(w.resource, v)
}

// see has w watch a resource in a view, if it has not ended. dialog.mu is held.
func (w *Watch) see(to Resource, v View) bool {
	if w.removed || w.dialog.closed {
		return false
	}
	w.leave()
	w.resource, w.view, w.shown = to, v, false
	w.join()
	return true
}

// join and leave tell the resource. dialog.mu is held.
func (w *Watch) join() {
	if !w.joined && !w.dialog.closed {
		w.joined = true
		w.resource.Joined(w, w.view)
	}
}

func (w *Watch) leave() {
	if w.joined {
		w.joined = false
		w.resource.Left(w, w.view)
	}
}

// spared is how long dialogs have for a refresh, once this registry may speak again.
const spared = time.Minute

// Expired implements [deadline.Expirer].
func (d *Dialog) Expired() {
	d.mu.Lock()
	defer d.mu.Unlock()
	late := d.left() <= 0
	switch {
	case d.detached && !late:
		d.registry.ends.schedule(d, FlowGone, "")
	case d.state != dialogActive || d.registry.maySpeak(time.Now().Add(-spared)):
		d.registry.ends.schedule(d, Expired, "")
	case late:
		d.registry.deadlines.Set(&d.deadline, d, time.Now().Add(5*silence))
	}
}

// End ends the dialog: a last NOTIFY with this reason follows those under way,
// and the dialog is unknown from now on. It reports whether this call was the
// one that ended it.
func (d *Dialog) End(why Reason) bool {
	if !d.Close(why) {
		return false
	}
	d.Farewell()
	return true
}

// Close is the first half of [Dialog.End]: nothing is sent until Farewell, which
// lets a host change what the last NOTIFY shows.
func (d *Dialog) Close(why Reason) bool { return d.close(dialogEnding, why, false) }

// Farewell sends the last NOTIFY of a closed dialog.
func (d *Dialog) Farewell() {
	d.mu.Lock()
	d.flushLocked()
}

// Drop ends a dialog whose watcher is gone: nothing more is sent. It reports
// whether this call was the one that ended it.
func (d *Dialog) Drop() bool { return d.close(dialogEnded, reasonNone, false) }

// carryOut ends a dialog that ends by itself.
func (r *Registry) carryOut(e Ending) {
	if e.Cause == Expired && !e.Dialog.close(dialogEnding, ReasonTimeout, true) || e.Cause != Expired && !e.Dialog.Drop() {
		return
	}
	if r.cfg.Events.Ended != nil {
		r.cfg.Events.Ended(e)
	} else {
		e.Dialog.Farewell() // of one that was dropped it sends nothing
	}
}

// close removes a dialog from everything that refers to it, and reports whether this call did so.
// With overdue it leaves a dialog that has been refreshed in time.
func (d *Dialog) close(state dialogState, why Reason, overdue bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || overdue && d.left() > 0 {
		return false
	}
	d.closed = true
	if d.state == dialogActive {
		d.state, d.final = state, why
	}
	d.registry.deadlines.Remove(&d.deadline)
	d.registry.remove(d)
	for _, w := range d.watches {
		w.leave()
	}
	d.changed(true)
	return true
}
