package presence

import (
	"crypto/rand"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/sipx"
)

// dialog is one subscription (RFC 6665): the watcher's end of it, what it
// watches, and its outbox. NOTIFYs leave it in CSeq order because one goroutine
// at a time empties it.
type dialog struct {
	server  *Server
	serial  uint64 // dialogs of a server in the order they were made
	dialect *Dialect
	event   string
	list    bool
	opener  string // who opened it, where somebody was authenticated

	callID        string
	local, remote sipx.Address // with their tags: From and To of our requests
	contact       string       // our own, as a field value

	// Guarded by clients.mu.
	client     *client
	own        bool  // subscribes to its user's own address
	generation int32 // of the client when it was opened

	expiry expiry // guarded by expiries.mu

	refreshing sync.Mutex // serializes SUBSCRIBEs in the dialog, look-ups included

	mu          sync.Mutex // a leaf
	target      sipx.URI
	routes      []string
	flow        sipx.Flow
	expires     time.Time
	localSeq    uint32
	remoteSeq   uint32
	watches     []*watch
	due         *watch // queue of those to be notified
	dueTail     *watch
	underWay    int32  // NOTIFYs without a final response
	tries       int32  // pauses in a row
	version     uint32 // of the next RLMI document
	answered    int64  // when the watcher last answered a NOTIFY, Unix time in nanoseconds
	unreachable int64  // since when the network has not reached the watcher, Unix time; 0 where it has
	final       reason // of the last NOTIFY
	state       dialogState
	fetch       bool // ends once it has shown everything (RFC 6665 §4.4.3)
	unlinked    bool // no longer in the registry; watches are as they were
	draining    bool // somebody empties the queue
	pausing     bool // the watcher said "not now"
	listed      bool // an RLMI document has listed all resources
}

type dialogState uint8

const (
	dialogActive dialogState = iota
	dialogEnding             // unlinked; a last NOTIFY is due
	dialogEnded
)

// watch is one presentity watched in a dialog: the only one, or one of a list.
// What is watched of it is its presence, or who watches that.
type watch struct {
	dialog   *dialog
	address  directory.Address
	entity   string // as subscribed to
	own      bool   // the watcher is the user, authenticated
	watchers bool   // Event: presence.winfo

	presentity *presentity // guarded by Server.membership and dialog.mu: holding one is enough to read it
	index      int         // in presentity.watches; guarded by presentity.mu

	// Guarded by Server.membership.
	linked bool // is one of the presentity's watches
	gone   bool // is so no more, or never will be

	// Guarded by dialog.mu.
	sentAt   int64       // when the last NOTIFY left, Unix time in nanoseconds
	sent     uint64      // version of the presentity that the last NOTIFY showed
	sentOf   *presentity // whose version that is; nil where it was not taken
	next     *watch
	queued   bool
	underWay bool
	again    bool // due once more, while a NOTIFY is under way
	force    bool // NOTIFY even if nothing changed
	removed  bool // no longer in the dialog's list
}

const tagParam = ";tag="

func (d *dialog) localTag() string  { return d.local.Params[len(tagParam):] }
func (d *dialog) remoteTag() string { return d.remote.Params[len(tagParam):] }

// reason is why a subscription is terminated (RFC 6665 §4.1.3).
type reason uint8

const (
	reasonNone reason = iota // it is not
	reasonTimeout
	reasonDeactivated
)

// state is the Subscription-State of the last NOTIFY.
func (r reason) state() string {
	if r == reasonDeactivated {
		return "terminated;reason=deactivated"
	}
	return "terminated;reason=timeout"
}

// dialogs is the registry of live dialogs.
type dialogs struct {
	mu     sync.Mutex
	byTag  map[string]*dialog
	byConn map[uint64]map[*dialog]struct{}
	serial atomic.Uint64
	ended  map[string]parted // by our tag, the newest maxParted
	order  []string          // of their tags, the oldest first
}

// parted is a dialog that has just ended.
type parted struct {
	callID, remoteTag string
	until             time.Time
}

// Who ends one subscription after the other may end some that have ended with
// the client.
const (
	partedTime = 32 * time.Second
	maxParted  = 4096
)

// part notes that a dialog has ended. ds.mu is held.
func (ds *dialogs) part(d *dialog) {
	now := time.Now()
	for len(ds.order) > 0 && (len(ds.order) == maxParted || ds.ended[ds.order[0]].until.Before(now)) {
		delete(ds.ended, ds.order[0])
		ds.order = ds.order[1:]
	}
	ds.ended[d.localTag()] = parted{d.callID, d.remoteTag(), now.Add(partedTime)}
	ds.order = append(ds.order, d.localTag())
}

// hasEnded reports whether a request is in a dialog that has just ended.
func (ds *dialogs) hasEnded(req *sipx.Request) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	p, ok := ds.ended[req.To.Tag()]
	return ok && p.callID == req.CallID && p.remoteTag == req.From.Tag() && time.Now().Before(p.until)
}

// find returns the live dialog that an in-dialog request belongs to, or nil.
func (ds *dialogs) find(req *sipx.Request) *dialog {
	ds.mu.Lock()
	d := ds.byTag[req.To.Tag()]
	ds.mu.Unlock()
	if d == nil || d.callID != req.CallID || d.remoteTag() != req.From.Tag() {
		return nil
	}
	return d
}

func (ds *dialogs) add(d *dialog, flow sipx.Flow) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d.serial = ds.serial.Add(1)
	ds.byTag[d.localTag()] = d
	ds.onConn(d, flow)
}

// onConn notes that d depends on a connection. ds.mu is held.
func (ds *dialogs) onConn(d *dialog, flow sipx.Flow) {
	if !flow.Reliable() || flow.Conn == 0 {
		return
	}
	set := ds.byConn[flow.Conn]
	if set == nil {
		set = make(map[*dialog]struct{})
		ds.byConn[flow.Conn] = set
	}
	set[d] = struct{}{}
}

func (ds *dialogs) offConn(d *dialog, flow sipx.Flow) {
	if set := ds.byConn[flow.Conn]; set != nil {
		if delete(set, d); len(set) == 0 {
			delete(ds.byConn, flow.Conn)
		}
	}
}

// rebind moves d to the connection of its newest request.
func (ds *dialogs) rebind(d *dialog, from, to sipx.Flow) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.offConn(d, from)
	if ds.byTag[d.localTag()] == d {
		ds.onConn(d, to)
	}
}

// live reports whether d is in.
func (ds *dialogs) live(d *dialog) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.byTag[d.localTag()] == d
}

// remove takes d out and reports whether it was in.
func (ds *dialogs) remove(d *dialog, flow sipx.Flow) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.byTag[d.localTag()] != d {
		return false
	}
	delete(ds.byTag, d.localTag())
	ds.offConn(d, flow)
	if d.dialect.ClientLife {
		ds.part(d)
	}
	return true
}

func (ds *dialogs) all() []*dialog {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	list := make([]*dialog, 0, len(ds.byTag))
	for _, d := range ds.byTag {
		list = append(list, d)
	}
	return list
}

func (ds *dialogs) ofConn(conn uint64) []*dialog {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	list := make([]*dialog, 0, len(ds.byConn[conn]))
	for d := range ds.byConn[conn] {
		list = append(list, d)
	}
	return list
}

// newTag makes a tag or entity-tag: 128 random bits in characters of a token.
func newTag() string { return rand.Text() }

// newSharedTag makes an entity-tag as the document prints it, up to 9 digits. It
// is no secret: clients of a user know it.
func newSharedTag() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1e9))
	if err != nil {
		panic(err) // which crypto/rand never returns
	}
	return n.String()
}

// endDialog ends a dialog from our side or at the watcher's wish: a last NOTIFY
// with this reason follows those under way, and the dialog is unknown from now
// on.
func (s *Server) endDialog(d *dialog, why reason) {
	if _, closed := s.close(d, why); closed {
		s.flush(d)
	}
}

// close has a dialog end without sending anything yet. It returns what its client
// had, where that has ended with it, and whether this call was the one that
// closed it.
func (s *Server) close(d *dialog, why reason) (gone *departure, closed bool) {
	gone, closed = s.unlink(d)
	if closed {
		d.mu.Lock()
		d.state, d.final = dialogEnding, why
		d.mu.Unlock()
	}
	return gone, closed
}

// flush sends what is due in a dialog, unless somebody is at it.
func (s *Server) flush(d *dialog) {
	d.mu.Lock()
	drain := !d.draining
	d.draining = true
	d.mu.Unlock()
	if drain {
		s.drain(d)
	}
}

// unlink takes a dialog out of everything that refers to it. It returns what its
// client had, where that has ended with it, and whether this call was the one
// that did.
func (s *Server) unlink(d *dialog) (gone *departure, unlinked bool) {
	d.mu.Lock()
	flow := d.flow
	d.mu.Unlock()
	if !s.dialogs.remove(d, flow) {
		return nil, false
	}
	s.expiries.remove(d)
	d.mu.Lock()
	d.unlinked = true
	watches := slices.Clone(d.watches)
	d.mu.Unlock()
	s.removeWatches(watches)
	return s.clients.leave(d), true
}

// addWatches connects watches, each with a reference to its presentity and
// counted in s.watching, unless they were removed before.
func (s *Server) addWatches(watches []*watch) {
	s.membership.Lock()
	defer s.membership.Unlock()
	for _, w := range watches {
		if !w.gone {
			w.linked = true
			w.presentity.addWatch(w)
		}
	}
}

// removeWatches takes watches away, connected or not, with the reference and the
// count.
func (s *Server) removeWatches(watches []*watch) {
	s.membership.Lock()
	defer s.membership.Unlock()
	for _, w := range watches {
		if w.gone {
			continue
		}
		w.gone = true
		s.watching.Add(-1)
		if w.linked {
			w.presentity.removeWatch(w)
		}
		s.presentities.release(w.presentity)
	}
}

// drop ends a dialog that its watcher no longer knows or cannot be reached in:
// nothing more is sent. It returns what close does.
func (s *Server) drop(d *dialog) (gone *departure, dropped bool) {
	gone, dropped = s.unlink(d)
	if dropped {
		d.mu.Lock()
		d.state = dialogEnded
		d.mu.Unlock()
	}
	return gone, dropped
}

// lost handles the unintended end of a dialog. With its last subscription to the
// own address a client ends (BSP-2.3-1).
func (s *Server) lost(d *dialog, why string) {
	gone, _ := s.drop(d)
	s.departed(gone, why, reasonTimeout)
}

// silent ends a dialog whose watcher has not answered, nor anything else that it
// was sent meanwhile: it is gone, and so is its client.
func (s *Server) silent(d *dialog, why string) {
	c := s.clients.current(d)
	s.lost(d, why)
	if c != nil {
		s.endClient(c, why, reasonTimeout)
	}
}

// answeredSince reports whether the watcher of d answered a NOTIFY after this
// moment, in d or in another dialog of its client.
func (s *Server) answeredSince(d *dialog, at int64) bool {
	all := []*dialog{d}
	if c := s.clients.current(d); c != nil {
		all = append(all, s.clients.dialogsOf(c)...)
	}
	return slices.ContainsFunc(all, func(d *dialog) bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.answered > at
	})
}

// restart gives a dialog its next lifetime. Where it ends at the same moment,
// expired finds it gone.
func (s *Server) restart(d *dialog, lifetime time.Duration) {
	at := time.Now().Add(lifetime)
	d.mu.Lock()
	d.expires = at
	d.pausing = false // it is there
	active := d.state == dialogActive
	d.mu.Unlock()
	if active {
		s.expiries.set(d, at)
	}
}

// expired handles a subscription that was not refreshed in time, and ended one
// that its watcher ends (BSP-2.2-1, BSP-2.2-2): with the last subscription to its
// own address a client ends.
func (s *Server) expired(d *dialog) { s.finish(d, "the own subscription was not refreshed") }
func (s *Server) ended(d *dialog)   { s.finish(d, "it signed out") }

func (s *Server) finish(d *dialog, why string) {
	gone, closed := s.close(d, reasonTimeout)
	if !closed {
		return
	}
	s.departed(gone, why, reasonTimeout)
	s.flush(d)
}

// FlowClosed implements [sipx.FlowObserver]: the dialogs on a connection end with
// it.
func (s *Server) FlowClosed(f sipx.Flow) {
	var ends []*departure
	for _, d := range s.dialogs.ofConn(f.Conn) {
		d.mu.Lock()
		left := d.flow.Conn != f.Conn // it was refreshed over another
		d.mu.Unlock()
		if left {
			continue
		}
		if gone, _ := s.drop(d); gone != nil {
			ends = append(ends, gone)
		}
	}
	for _, gone := range ends {
		s.departed(gone, "its connection is gone", reasonTimeout)
	}
}
