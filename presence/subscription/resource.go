package subscription

import (
	"sync/atomic"

	"github.com/openblustar/blustar/internal/deadline"
)

// Package is an event package (RFC 6665 §7): a value.
type Package struct {
	Name      string // as in Event: "presence"
	MediaType string // of its bodies: "application/pidf+xml"
	Large     bool   // its bodies are large: refreshes ask for them no more often than each FullPause
}

// View numbers what a watcher may see of a resource. The registry hands it to
// the resource and does not ask what it means.
type View uint8

// Resource is something to be watched. Its methods are called with a dialog
// locked: they must be quick, must not block and must not call the registry or
// any of its dialogs. They are called by several goroutines at once.
type Resource interface {
	// Current returns the newest state. It never returns nil.
	Current() State
	// Joined and Left tell that a watch of the resource begins and ends. They come in pairs. A fetch
	// (Expires 0) is not told.
	Joined(w *Watch, v View)
	Left(w *Watch, v View)
}

// Item is something to be watched.
type Item struct {
	Entity   string // as it was subscribed to: in documents and listings
	Resource Resource
	View     View
}

// State is one state of a resource. It does not change.
type State interface {
	// Version numbers what one view shows: two states of a resource with the same version look the
	// same.
	Version(v View) uint64
	// Body writes the state: to the end of room, and then own is true, or to memory that others may
	// have, too, and that nobody changes any more. It is called with the dialog locked, as the methods
	// of [Resource] are.
	Body(room []byte, s Showing) (body []byte, own bool)
}

// Digester is a [State] that another process can recognize. If a state is not a Digester, the
// watcher of a restored dialog is shown it even if nothing has changed. Digest is called as Version
// is, if [Events] has Changed.
type Digester interface {
	// Digest is the same for states that look the same in a view, in all processes. It is not 0.
	Digest(v View) uint64
}

func digestOf(s State, v View) uint64 {
	if d, ok := s.(Digester); ok {
		return d.Digest(v)
	}
	return 0
}

// Showing says for whom a state is written.
type Showing struct {
	View   View
	Entity string // as it was subscribed to
	Serial uint32 // counts the bodies of its dialog from 0: the version of RFC 3858
}

// Style is how clients want their NOTIFYs. The zero Style is that of the RFCs.
type Style struct {
	Name string // for listings
	// Lists writes what is due of a list into one body (RFC 4662). Nil has one
	// NOTIFY sent for each resource.
	Lists ListWriter
	// FromEntity writes the resource's own address into From of the NOTIFYs of a
	// list; else that of the dialog.
	FromEntity bool
	// FinalBody has the last NOTIFY of a list show its first resource; else it has
	// no body. That of a single resource always shows it (RFC 6665 §4.2.1.4).
	FinalBody bool
}

// ListWriter writes the state of a list of resources. [Resource] says how it is
// called.
type ListWriter interface {
	// WriteList returns the body with its Content-Type.
	WriteList(l List) (body []byte, contentType string)
	// Extension is the option tag that the NOTIFY requires: "eventlist".
	Extension() string
}

// List is what one NOTIFY says about a list.
type List struct {
	URI     string // of the list
	ID      string // unique to this NOTIFY: "7@tag" (RFC 2392 §2)
	Version uint32
	Full    bool // Entries are all resources of the list
	Entries []Entry
}

// Entry is one resource of a list. Body is nil where its state is not in this
// NOTIFY.
type Entry struct {
	Entity string
	Body   []byte
}

// Pulse is when the client behind one or several dialogs last answered a NOTIFY. The zero Pulse is
// for never. It is safe for concurrent use.
type Pulse struct{ at atomic.Int64 } // as package deadline counts

func (p *Pulse) beat() {
	if p != nil {
		p.at.Store(deadline.Now())
	}
}

// since reports whether there was an answer after a moment.
func (p *Pulse) since(at int64) bool { return p != nil && p.at.Load() > at }
