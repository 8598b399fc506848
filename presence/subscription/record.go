package subscription

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/sipx"
)

// Record is a dialog in plain values, which can outlive the process. [Registry.Restore] makes the
// dialog again, of the record and what the host knows of it.
type Record struct {
	Serial        uint64 // tells the dialogs of a registry apart
	Tag           string // ours: the identity of the dialog
	RemoteTag     string
	CallID        string
	Local, Remote sipx.URI
	Routes        []string
	Event         string // the field value
	Coding        string // the content coding of large bodies: "identity", "gzip", "deflate"
	List          bool
	Entities      []string
	Account       string       // who was authenticated; "" where nobody was
	Source        netip.Prefix // the source that it counts for
	Turn
}

// Turn is what changes of a [Record] with each refresh, and each NOTIFY.
type Turn struct {
	Target    sipx.URI
	Flow      sipx.Flow // without Conn, which means nothing to another process
	Expires   time.Time // by the clock on the wall
	RemoteSeq uint32
	// LocalSeq is a CSeq above those of all NOTIFYs, and some way ahead of them. The next process
	// begins above it, so that no number is used twice.
	LocalSeq uint32
	// Digests tell what the watcher has of each entity: what it has acknowledged, if it has been
	// sent nothing else since. 0: nothing, or nobody knows.
	Digests []uint64
}

// Record sets r to what is to be written down of a dialog, its Turn included. It uses the memory of
// r's Entities and Digests. It reports false for a dialog that has ended.
func (d *Dialog) Record(r *Record) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	*r = Record{
		Serial: d.serial, Tag: d.Tag(), RemoteTag: d.remote.tag(), CallID: d.callID,
		Local: d.local.URI(), Remote: d.remote.URI(),
		Event: d.common.Value().event, Coding: codingNames[d.coding], List: d.list, Entities: r.Entities[:0],
		Account: d.Account(), Turn: Turn{Digests: r.Digests},
	}
	if d.routes != nil {
		r.Routes = *d.routes
	}
	if d.parties.source != nil {
		r.Source = d.parties.source.key.source
	}
	for _, w := range d.watches {
		r.Entities = append(r.Entities, w.entity)
	}
	if !d.closed {
		d.turn(&r.Turn)
	}
	return !d.closed
}

// Turn sets t to the part of the record that changes most. It uses the memory of t's Digests. It
// reports false for a dialog that has ended, and, without again, for one whose Turn has not
// changed since it was asked for.
func (d *Dialog) Turn(t *Turn, again bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || !d.told && !again {
		return false
	}
	d.turn(t)
	return true
}

// turn sets t. The next change of it is told again. d.mu is held.
func (d *Dialog) turn(t *Turn) {
	d.told = false
	d.ceiling = d.localSeq + seqStep
	*t = Turn{
		Target: d.target.URI(), Flow: d.flow.Flow(), Expires: deadline.Wall(deadline.Time(d.expires)),
		RemoteSeq: d.remoteSeq, LocalSeq: d.ceiling, Digests: t.Digests[:0],
	}
	t.Flow.Conn = 0
	for _, w := range d.watches {
		t.Digests = append(t.Digests, w.acked)
	}
}

// Restoring is a dialog of a former process, with what the host knows of it. Items are its
// entities, in their order.
type Restoring struct {
	Record
	// Runs is how many processes have restored the dialog since the record was written, this one
	// included: at least 1. Each of them has CSeqs of its own.
	Runs    uint32
	Package *Package
	Style   *Style // nil: that of the RFCs
	Items   []Item
	Pulse   *Pulse
	Data    any
	// Longest bounds the lifetime that is left: the clock may have been turned back.
	Longest time.Duration
	// Grace is how long a dialog over a connection, which ended with the process, waits for its
	// watcher.
	Grace time.Duration
}

// Restore makes a dialog of a former process again. The dialog sends nothing before
// [Dialog.Resume], or a refresh. Then its watcher is told what it does not know yet. A dialog that
// was over a connection waits for a refresh in any case. The error is [ErrFull] or [ErrShare], or
// says what is wrong with the record.
func (r *Registry) Restore(o Restoring) (*Dialog, error) {
	d := &Dialog{
		registry: r, common: r.common(o.Package, o.Style, o.Event, o.Flow), list: o.List, pulse: o.Pulse, Data: o.Data,
		flow: packFlow(o.Flow), remoteSeq: o.RemoteSeq, held: true, restored: true,
	}
	d.coding = coding(max(0, slices.Index(codingNames[:], o.Coding)))
	if len(o.Routes) > 0 {
		d.routes = &o.Routes
	}
	for _, u := range []sipx.URI{o.Local, o.Remote, o.Target} {
		if text := u.String(); u.Scheme == "" || len(text) > maxURI {
			return nil, fmt.Errorf("subscription: record of a dialog: %.80q: bad URI", text)
		}
	}
	switch {
	case o.Serial == 0, o.Tag == "", o.RemoteTag == "", len(o.Items) == 0 && !o.List, len(o.Items) != len(o.Digests):
		return nil, errors.New("subscription: incomplete record of a dialog")
	case o.Runs == 0, uint64(o.LocalSeq)+uint64(o.Runs)*seqStep >= 1<<31: // RFC 3261 §8.1.1.5
		return nil, errors.New("subscription: a dialog without CSeqs that are left")
	}
	d.pack(o.CallID, o.Local, o.Tag, o.Remote, o.RemoteTag, o.Target)
	d.localSeq = o.LocalSeq + (o.Runs-1)*seqStep
	d.ceiling, d.version = d.localSeq+seqStep, d.localSeq // versions rise, too
	left := min(time.Until(o.Expires), o.Longest)
	d.expires = deadline.Now() + int64(left)
	d.watches = make([]*Watch, len(o.Items))
	for i, item := range o.Items {
		w := d.newWatch(item)
		w.acked, w.resumed = o.Digests[i], o.Digests[i] != 0
		d.watches[i] = w
	}
	d.serial = o.Serial
	if err := r.add(d, strings.Clone(o.Account), o.Source); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.detached = o.Flow.Reliable(); d.detached {
		left = min(left, o.Grace)
	}
	r.deadlines.Set(&d.deadline, d, time.Now().Add(left))
	for _, w := range d.watches {
		w.join()
	}
	return d, nil
}

// Resume lets a restored dialog go on. It reports whether its watcher is told something by that.
func (d *Dialog) Resume() bool {
	d.mu.Lock()
	if d.detached || !d.held {
		d.mu.Unlock()
		return false
	}
	d.held = false
	before := d.localSeq
	d.flushLocked()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.localSeq != before
}

// Resumed returns the digest of what a former process has shown the watcher of w, if the watcher
// has seen nothing since; else 0.
func (w *Watch) Resumed() uint64 {
	w.dialog.mu.Lock()
	defer w.dialog.mu.Unlock()
	if !w.resumed {
		return 0
	}
	return w.acked
}
