package subscription

import (
	"slices"
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/sipx"
)

// Dialog is one subscription (RFC 6665): its watcher, its watches, and the queue of those
// that are due. One goroutine at a time empties the queue, so that NOTIFYs leave in the
// order of their CSeq. A Dialog is safe for concurrent use.
type Dialog struct {
	// Data is the host's own: that of [Opening]. Nobody changes the field.
	Data any
	// Place is the host's own, too: to find the Turn of the dialog among others.
	Place uint64

	registry *Registry
	common   unique.Handle[common]

	callID        string
	local, remote end    // From and To of our requests
	pulse         *Pulse // of its client; may be nil
	account       *party // nil where nobody was authenticated
	source        *party

	deadline deadline.Item
	serial   uint64 // dialogs of a registry in the order in which they were made
	list     bool
	fetch    bool // Expires 0: it ends once it has shown everything (RFC 6665 §4.4.3)

	mu          sync.Mutex
	localSeq    uint32
	ceiling     uint32 // localSeq stays below it, as a Turn has said
	remoteSeq   uint32
	version     uint32 // of the next body that counts
	unreachable uint32 // since when the network does not reach the watcher, in seconds; 0 where it does
	answeredAt  uint32 // when the last NOTIFY with an outcome was sent, in seconds; 0 before
	answer      int16  // its status code; 0 where there was no answer
	underWay    int16  // NOTIFYs without a final response: no more than a window
	target      packedURI
	routes      *[]string // nil for none
	flow        packedFlow
	expires     int64 // all times are those of package deadline, in nanoseconds
	listedAt    int64 // when everything was last asked for and shown
	watches     []*Watch
	due         chain  // the watches that are due
	wake        *wake  // set during a pause, or while a full listing waits
	tries       int8   // pauses in a row
	coding      coding // of large bodies
	state       dialogState
	final       Reason // of the last NOTIFY
	closed      bool   // not in the registry any more; its watches stay
	draining    bool   // a goroutine empties the queue, or the 200 has not left
	pausing     bool   // the watcher said "not now"
	listed      bool   // a body has listed all resources
	proven      bool   // its watcher has answered a NOTIFY
	held        bool   // nothing is sent: the dialog is restored, or suspended
	restored    bool   // and its watcher has been sent nothing since
	detached    bool   // restored, without the connection that it depends on
	told        bool   // Events.Changed has been called since the host asked for the Turn
}

type dialogState uint8

const (
	dialogActive dialogState = iota
	dialogEnding             // closed; a last NOTIFY is due
	dialogEnded
)

// left is how long the subscription lasts. d.mu is held.
func (d *Dialog) left() time.Duration { return time.Duration(d.expires - deadline.Now()) }

// Watch is one resource watched in a dialog: the only one, or one of a list.
type Watch struct {
	// Place is the resource's own, to find the watch among its others. It is
	// guarded by the resource.
	Place int32

	view     View
	dialog   *Dialog
	entity   string
	resource Resource
	next     *Watch // in a chain
	sent     uint64 // version that the last NOTIFY showed
	digest   uint64 // of what the last NOTIFY showed; 0 where nobody asks
	acked    uint64 // of what its watcher has for certain; 0 where nobody knows
	joined   bool   // resource.Joined was called, and Left was not
	shown    bool   // sent is a version of this resource, and was taken
	queued   bool   // it is in dialog.due
	underWay bool   // a NOTIFY shows it
	again    bool   // due once more, while a NOTIFY is under way
	force    bool   // NOTIFY even if nothing changed
	removed  bool   // no longer in the dialog's list
	resumed  bool   // acked is what its watcher was shown by a former process, and nothing since
}

// chain is watches one after another. A watch is in one chain at a time.
type chain struct{ first, last *Watch }

func (c *chain) push(w *Watch) {
	if c.first == nil {
		c.first = w
	} else {
		c.last.next = w
	}
	c.last = w
}

func (c *chain) pop() *Watch {
	w := c.first
	if w != nil {
		c.first, w.next = w.next, nil
	}
	return w
}

// Dialog returns the dialog that w belongs to.
func (w *Watch) Dialog() *Dialog { return w.dialog }

// Entity returns the address as it was subscribed to.
func (w *Watch) Entity() string { return w.entity }

// Resource returns what w watches now.
func (w *Watch) Resource() Resource {
	w.dialog.mu.Lock()
	defer w.dialog.mu.Unlock()
	return w.resource
}

// Reason is why a subscription is terminated (RFC 6665 §4.1.3).
type Reason uint8

// Reasons. A watcher that is told ReasonDeactivated subscribes again at once;
// ReasonTimeout is for one that has left, or did not refresh in time;
// ReasonRejected and ReasonNoResource tell it not to try again.
const (
	reasonNone Reason = iota // it is not
	ReasonTimeout
	ReasonDeactivated
	ReasonRejected
	ReasonNoResource
)

// state is the Subscription-State of the last NOTIFY.
func (r Reason) state() string {
	switch r {
	case ReasonDeactivated:
		return "terminated;reason=deactivated"
	case ReasonRejected:
		return "terminated;reason=rejected"
	case ReasonNoResource:
		return "terminated;reason=noresource"
	}
	return "terminated;reason=timeout"
}

// Tag is our tag: the identity of the dialog within its registry.
func (d *Dialog) Tag() string { return d.local.tag() }

// Package returns the event package.
func (d *Dialog) Package() *Package { return d.common.Value().pack }

// Style returns the style that the dialog was opened with.
func (d *Dialog) Style() *Style { return d.common.Value().style }

// IsList reports whether a list was subscribed to.
func (d *Dialog) IsList() bool { return d.list }

// Account returns who opened the dialog: the account of [Opening].
func (d *Dialog) Account() string {
	if d.account == nil {
		return ""
	}
	return d.account.name
}

// Watcher returns the watcher's address, that of From.
func (d *Dialog) Watcher() sipx.URI { return d.remote.URI() }

// Serial tells dialogs of a registry apart, in the order in which they were made.
func (d *Dialog) Serial() uint64 { return d.serial }

// Watches returns a copy of what the dialog watches, in the order of its list.
func (d *Dialog) Watches() []*Watch {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.watches)
}

// Active reports whether the dialog has neither ended nor been closed.
func (d *Dialog) Active() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.closed
}

// Is reports whether a SUBSCRIBE with this Event field means this subscription
// (RFC 6665 §4.5.2).
func (d *Dialog) Is(event sipx.Event) bool { return d.common.Value().event == event.String() }

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
			for _, w := range d.watches {
				w.force = true
				d.push(w)
			}
		}
	}
	d.drain()
}

// spared is how long dialogs have for a refresh, once this registry may speak again.
const spared = time.Minute

// Expired implements [deadline.Expirer].
func (d *Dialog) Expired() {
	d.mu.Lock()
	cause := Expired
	if d.detached && d.left() > 0 {
		cause = FlowGone
	}
	wait := cause == Expired && d.state == dialogActive && !d.registry.maySpeak(time.Now().Add(-spared))
	if wait && d.left() <= 0 {
		d.registry.deadlines.Set(&d.deadline, d, time.Now().Add(5*silence))
	}
	d.mu.Unlock()
	if !wait {
		d.registry.ends.push(d, cause, "")
	}
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
		var b strings.Builder
		d.target = packURI(&b, contact)
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
	d.registry.remove(d, d.weight())
	for _, w := range d.watches {
		w.leave()
	}
	d.changed(true)
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

// Move has w watch to instead of from, in view v, and shows its watcher that. If w does not
// watch from, or has ended, Move does nothing and reports false.
func (w *Watch) Move(from, to Resource, v View) bool {
	d := w.dialog
	d.mu.Lock()
	if w.resource != from || w.removed || d.closed {
		d.mu.Unlock()
		return false
	}
	w.leave()
	w.resource, w.view, w.shown = to, v, false
	w.join()
	d.mu.Unlock()
	d.Show(w)
	return true
}

// SetView changes the view of w, and reports whether that is a new one. [Dialog.Show] shows
// the watcher what it sees now.
func (w *Watch) SetView(v View) bool {
	d := w.dialog
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.view == v || w.removed || d.closed {
		return false
	}
	w.leave()
	w.view, w.shown = v, false
	w.join()
	return true
}

// View returns how w sees its resource.
func (w *Watch) View() View {
	w.dialog.mu.Lock()
	defer w.dialog.mu.Unlock()
	return w.view
}

// Item is something to be watched.
type Item struct {
	Entity   string // as it was subscribed to: in documents and listings
	Resource Resource
	View     View
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
	if err := d.registry.take(d, len(added)); err != nil {
		return nil, err
	}
	before := d.weight()
	d.watches = list
	d.registry.release(d, before+len(added)-d.weight())
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

// weight is what a dialog counts for in the bounds. An empty list counts as one watch.
func (d *Dialog) weight() int { return max(1, len(d.watches)) }

func (d *Dialog) newWatch(item Item) *Watch {
	return &Watch{dialog: d, entity: strings.Clone(item.Entity), resource: item.Resource, view: item.View}
}

// pack writes the identifiers of a dialog, and its target, into one string.
func (d *Dialog) pack(callID string, local sipx.URI, localTag string, remote sipx.URI, remoteTag string, target sipx.URI) {
	var b strings.Builder
	b.Grow(len(callID) + size(local) + size(remote) + size(target) + 2*len(tagParam) + len(localTag) + len(remoteTag))
	d.callID = join(&b, callID)
	d.local = packEnd(&b, local, localTag)
	d.remote = packEnd(&b, remote, remoteTag)
	d.target = packURI(&b, target)
}

// seqStep is how far the CSeq of a Turn is ahead of the one in use. A dialog that has used half of
// these numbers tells that its Turn has changed. Numbers may be left out (RFC 3261 §12.2.2).
const seqStep = 1 << 12

// changed tells the host that the Turn of the dialog has changed, and with whole the rest of
// its record. d.mu is held.
func (d *Dialog) changed(whole bool) {
	f := d.registry.cfg.Events.Changed
	if f == nil || d.fetch || d.told && !whole {
		return
	}
	f(d, !d.told, whole)
	d.told = true
}
