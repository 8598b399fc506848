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
	parties       parties

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

// wake is the end of a pause. Few dialogs have one.
type wake struct {
	timer *time.Timer
	all   bool // show everything
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

// View returns how w sees its resource.
func (w *Watch) View() View {
	w.dialog.mu.Lock()
	defer w.dialog.mu.Unlock()
	return w.view
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
	return [...]string{
		ReasonTimeout:     "terminated;reason=timeout",
		ReasonDeactivated: "terminated;reason=deactivated",
		ReasonRejected:    "terminated;reason=rejected",
		ReasonNoResource:  "terminated;reason=noresource",
	}[r]
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
	if d.parties.account == nil {
		return ""
	}
	return d.parties.account.name
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

// Info describes a dialog at one moment.
type Info struct {
	Event    string   // the field value
	Contact  sipx.URI // of the watcher
	Flow     sipx.Flow
	UnderWay int // NOTIFYs without an outcome
	Expires  time.Time
	// Notified is when the last NOTIFY was sent of which the outcome is known, to the second;
	// zero before there is one. Answer is its status code, 0 where no answer came.
	Notified time.Time
	Answer   int
}

// Info returns what a listing shows of the dialog.
func (d *Dialog) Info() Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := Info{
		Event: d.common.Value().event, Contact: d.target.URI(), Flow: d.flow.Flow(), UnderWay: int(d.underWay),
		Expires: deadline.Wall(deadline.Time(d.expires)), Answer: int(d.answer),
	}
	if d.answeredAt != 0 {
		i.Notified = deadline.Wall(deadline.Time(int64(d.answeredAt) * int64(time.Second)))
	}
	return i
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

// pushAll has everything shown, even what has not changed. d.mu is held.
func (d *Dialog) pushAll() {
	for _, w := range d.watches {
		w.force = true
		d.push(w)
	}
}

// pop takes the next watch out of the queue, which is not empty. d.mu is held.
func (d *Dialog) pop() *Watch {
	w := d.due.pop()
	w.queued = false
	return w
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
