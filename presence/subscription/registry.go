package subscription

import (
	"cmp"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/openblustar/blustar/internal/conf"
	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/sipx"
)

// Config makes a [Registry]. Sender is required; the zero value of everything
// else is the default that its comment names.
type Config struct {
	Sender sipx.Sender  // sends NOTIFYs: usually the stack
	Events Events       // what the host is told
	NAT    NATMode      // where NOTIFYs over UDP go; default: auto
	Logger *slog.Logger // default: silent; its handler must not block
	// MaySpeak reports whether NOTIFYs might leave all the time since then. A host with several
	// nodes keeps one of them silent at times: what is due waits then. nil: always.
	MaySpeak func(since time.Time) bool

	Node          string         // of a host with several registries: stands at the end of this one's tags, after a dot
	MaxWatches    int            // resources watched over all dialogs, fetches included; default 200,000
	AccountShare  int            // of them by one account; default a quarter, at least 1000, or 1000
	SourceShare   int            // of them from one source address (IPv6: /64); default half, at least 1000, or 1000
	SharedSources []netip.Prefix // sources of many, which have no such share: SBCs, proxies
	Window        int            // NOTIFYs of one dialog that may be under way over UDP; default 3; over connections 32
	// FullPause is how far apart full listings, and full watcher information, that
	// refreshes ask for are in one dialog; default 5 s (RFC 3856 §6.10).
	FullPause time.Duration
}

// Events is what a host is told. Each function may be nil.
type Events struct {
	// Ended is told of each dialog that ends by itself, and not by the host. The dialog is closed,
	// and its resources have been told. If it has expired, the host calls [Dialog.Farewell], which
	// sends the last NOTIFY. Calls come one after another from a goroutine of the registry: a call
	// that blocks holds up other ends, and nothing else.
	Ended func(e Ending)
	// Notified is told the outcome of each NOTIFY: the status of its final response, and how long
	// that took (0 for a last NOTIFY); or status 0 with an error. It is called where the network is
	// read: it must not block, and must not call the registry.
	Notified func(status int, took time.Duration, err error)
	// Changed is told what has changed of [Dialog.Record]: turn, that the Turn has, for the first
	// time since somebody asked for it; whole, that something else has. The end of a dialog is both.
	// It is called with the dialog locked: it must be quick, must not block and must not call the
	// registry or any of its dialogs.
	Changed func(d *Dialog, turn, whole bool)
}

// Registry holds the dialogs of a notifier. It is safe for concurrent use.
//
// The methods of a [Resource] and of its [State] are called with the lock of a dialog
// held: what they lock must not be held by who calls a method of the registry, a dialog
// or a watch. No lock is held while a request is sent, or while a function of [Events]
// runs.
type Registry struct {
	cfg         Config
	deadlines   deadline.Queue
	ends        ends
	serials     atomic.Uint64
	work        sync.WaitGroup // what each began
	outstanding atomic.Int64   // NOTIFYs without an outcome
	idle        chan struct{}  // told when outstanding falls to 0
	actives     activeTexts
	compressors compressors
	free        sync.Pool // of notifications

	mu     sync.Mutex
	closed bool
	paused bool // by Suspend: nothing ends any more
	byTag  map[string]*Dialog
	byConn map[uint64]map[*Dialog]struct{}
	shares shares
	ended  recent
}

// New makes a registry. It starts nothing. The error names everything that is
// wrong with the configuration.
func New(cfg Config) (*Registry, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Registry{
		cfg:     cfg,
		idle:    make(chan struct{}, 1),
		actives: make(activeTexts, 3600),
		byTag:   make(map[string]*Dialog),
		byConn:  make(map[uint64]map[*Dialog]struct{}),
		shares: shares{
			most: cfg.MaxWatches, ofAccount: cfg.AccountShare, ofSource: cfg.SourceShare, shared: cfg.SharedSources,
			parties: make(map[partyKey]*party),
		},
	}, nil
}

func (c *Config) complete() error {
	check := conf.Of("subscription: Config")
	check.Require("Sender", c.Sender != nil)
	conf.OneOf(check, "NAT", c.NAT, NATAuto, NATAlways, NATNever)
	conf.Default(check, "MaxWatches", &c.MaxWatches, 200_000)
	conf.Default(check, "AccountShare", &c.AccountShare, max(1000, c.MaxWatches/4))
	conf.Default(check, "SourceShare", &c.SourceShare, max(1000, c.MaxWatches/2))
	conf.Default(check, "Window", &c.Window, 3)
	conf.Default(check, "FullPause", &c.FullPause, 5*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return check.Err()
}

// CountFrom numbers the next dialogs from n on. n must be above all numbers until now.
func (r *Registry) CountFrom(n uint64) { r.serials.Store(n) }

// NodeOf returns the Node of the registry that a dialog was opened in, as its tag tells;
// "" for none.
func NodeOf(tag string) string {
	_, node, _ := strings.Cut(tag, ".")
	return node
}

// Find returns the live dialog that an in-dialog request belongs to, or nil: a
// request for it is answered 481.
func (r *Registry) Find(req *sipx.Request) *Dialog {
	r.mu.Lock()
	d := r.byTag[req.To.Tag()]
	r.mu.Unlock()
	if d == nil || d.callID != req.CallID || d.remote.tag() != req.From.Tag() {
		return nil
	}
	return d
}

// HasEnded reports whether an in-dialog request is for a dialog that has ended in the last half
// minute: its watcher may have sent the request before it knew of that.
func (r *Registry) HasEnded(req *sipx.Request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended.has(req.To.Tag())
}

// add adds a dialog, if the bounds allow it.
func (r *Registry) add(d *Dialog, account string, source netip.Prefix) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrFull
	}
	d.parties = r.shares.enter(account, source)
	if err := r.shares.count(d.parties, d.weight()); err != nil {
		r.shares.exit(d.parties)
		return err
	}
	if d.serial == 0 {
		d.serial = r.serials.Add(1)
	} else if d.serial > r.serials.Load() { // of a former process
		r.serials.Store(d.serial)
	}
	if d.fetch { // it ends as soon as it is opened
		r.ended.add(d.Tag())
		return nil
	}
	r.byTag[d.Tag()] = d
	r.bindLocked(d, 0, d.flow.conn)
	return nil
}

// rebind moves d, which is locked, to the connection of its newest request.
func (r *Registry) rebind(d *Dialog, conn uint64) {
	if d.flow.conn == conn {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bindLocked(d, d.flow.conn, conn)
	r.ends.spare(d)
}

// bindLocked moves d from one connection to another; 0 is none.
func (r *Registry) bindLocked(d *Dialog, from, to uint64) {
	set := r.byConn[from]
	if delete(set, d); len(set) == 0 {
		delete(r.byConn, from)
	}
	if to == 0 {
		return
	}
	if set = r.byConn[to]; set == nil {
		set = make(map[*Dialog]struct{})
		r.byConn[to] = set
	}
	set[d] = struct{}{}
}

// take counts n more watches of d, which is locked, or -n less.
func (r *Registry) take(d *Dialog, n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shares.count(d.parties, n)
}

// remove removes d, which is locked.
func (r *Registry) remove(d *Dialog) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !d.fetch {
		delete(r.byTag, d.Tag())
		r.bindLocked(d, d.flow.conn, 0)
		r.ended.add(d.Tag())
	}
	_ = r.shares.count(d.parties, -d.weight())
	r.shares.exit(d.parties)
}

// All returns the live dialogs, the oldest first.
func (r *Registry) All() []*Dialog {
	r.mu.Lock()
	list := slices.Collect(maps.Values(r.byTag))
	r.mu.Unlock()
	slices.SortFunc(list, func(a, b *Dialog) int { return cmp.Compare(a.serial, b.serial) })
	return list
}

// FlowClosed ends the dialogs on a connection that has ended. It does not block, as
// [sipx.FlowObserver] asks.
func (r *Registry) FlowClosed(f sipx.Flow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paused {
		return
	}
	for d := range r.byConn[f.Conn] {
		r.ends.schedule(d, FlowGone, "")
	}
}

// Stats counts what a registry holds.
type Stats struct {
	Dialogs  int // live ones
	Watches  int // resources watched in them, and in fetches
	UnderWay int // NOTIFYs without an outcome
}

// Stats returns the counts.
func (r *Registry) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Dialogs: len(r.byTag), Watches: r.shares.watches, UnderWay: int(r.outstanding.Load())}
}

func (r *Registry) common(p *Package, s *Style, event string, f sipx.Flow) unique.Handle[common] {
	if s == nil {
		s = &rfcStyle
	}
	return unique.Make(common{p, s, event, r.cfg.Sender.Contact(f)})
}

func (r *Registry) observe(res *sipx.Response, took time.Duration, err error) {
	switch {
	case errors.Is(err, sipx.ErrTooLarge):
		r.cfg.Logger.Warn("a watcher cannot be told: the document is larger than a message may be", "error", err)
	case err != nil:
		r.cfg.Logger.Debug("NOTIFY failed", "error", err)
	}
	if r.cfg.Events.Notified != nil {
		status := 0
		if res != nil {
			status = res.Status
		}
		r.cfg.Events.Notified(status, took, err)
	}
}

// sendDone notes the outcome of a NOTIFY.
func (r *Registry) sendDone() {
	if r.outstanding.Add(-1) == 0 {
		select {
		case r.idle <- struct{}{}:
		default:
		}
	}
}

// silence is the time after which a dialog that may not speak asks again.
const silence = time.Second

func (r *Registry) maySpeak(since time.Time) bool {
	return r.cfg.MaySpeak == nil || r.cfg.MaySpeak(since)
}
