package presence

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/internal/logqueue"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/resourcelists"
	"github.com/openblustar/blustar/pidf/watcherinfo"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/source"
	"github.com/openblustar/blustar/presence/subscription"
)

// Names on the wire.
const (
	eventPresence       = "presence"
	eventWatchers       = "presence.winfo"
	eventLyncForwarding = "lyncforwarding"
	typePIDF            = pidf.TypePIDF
	typeResourceLists   = resourcelists.MediaType
	typeWatcherInfo     = watcherinfo.MediaType
	extRecipientList    = "recipient-list-subscribe"
	extEventList        = "eventlist"
	allowedMethods      = "SUBSCRIBE, PUBLISH, OPTIONS"
)

// Server is a presence server. It is a [sipx.Handler] to be served by a stack,
// and is safe for concurrent use.
//
// # Lock order
//
// This is the order of all locks of the server and of its rooms. Who holds one takes
// only locks that stand below it.
//
//  1. presentity.forwarding; and presentity.once, in which a presentity is made;
//     cluster.reading; cluster.applying
//  2. the part of presentities.of that a presentity belongs to
//  3. subscription.Dialog.mu
//  4. presentity.mu, which also guards the presentity's watchers; or pendings.mu
//  5. one of clients.mu with a part of publication.Store.of below it, snapshot.mu,
//     subscription.Registry.mu, and source.Table.mu
//  6. cluster.mu
//  7. the worker of the registry (ends.mu), the journal, the locks of the deadline
//     queues, and loan.mu
//
// Server.life and lookups.mu stand alone: nothing is taken while they are held. A
// deadline queue calls its items one after another, without the lock of number 7; what
// such a call may wait for, it leaves to a goroutine. A PUBLISH that takes its loan back waits
// for those who write from it with numbers 3 and 5 held: it holds nothing itself. A snapshot, an entry, the value of a
// source and what the clients of a user are together are read without a lock.
//
// The host is called without a lock, with these exceptions. The forwarding controller
// is called with presentity.forwarding held, so that calls about one user come one at a
// time. The rules are asked with presentity.once held when a presentity is made; who
// needs that presentity waits. Config.Decorate may be called with numbers 3 and 5 held
// (Dialog.mu, snapshot.mu). The sender and the hooks are called without any of them.
type Server struct {
	cfg     Config
	started time.Time
	ctx     context.Context // ends when the server has shut down
	cancel  context.CancelFunc

	failures     logqueue.Repeats // answers that are ours to explain
	packages     map[string]*eventPackage
	registry     *subscription.Registry
	publications *publication.Store
	lines        *source.Table[LineState]
	calendars    *source.Table[CalendarState]
	externals    *source.Table[ExternalState]
	sources      map[string]sources // by the kind of their records
	presentities presentities
	pendings     pendings
	clients      clients
	lookups      lookups
	policies     atomic.Uint64 // counts the changes of the policy
	deadlines    deadline.Queue
	unknown      *snapshot     // what watchers of a pending address are shown
	pages        sync.Pool     // of *page
	loans        sync.Pool     // of *loan
	exchanges    sync.Pool     // of *exchange
	journal      *journal      // nil without a store
	cluster      *cluster      // nil where the store is this server's alone
	run          atomic.Uint32 // counts the processes that have worked with the store, and what they took over; 0 before Restore

	requests gate
	life     sync.Mutex // guards closing, and Go against Wait
	closing  bool       // no new goroutines
	work     sync.WaitGroup
}

// eventPackage is what may be subscribed to.
type eventPackage struct {
	subscription.Package
	watchers bool // who watches, rather than what is watched (RFC 3857)
}

// start runs f in a goroutine that Shutdown waits for, unless that has begun.
func (s *Server) start(f func()) {
	s.life.Lock()
	defer s.life.Unlock()
	if !s.closing {
		s.work.Go(f)
	}
}

// gate counts the requests under way, without a lock, until it is closed.
type gate struct {
	n     atomic.Int64 // with closedGate added once it is closed
	once  sync.Once
	empty chan struct{} // closed once nobody is left
}

const closedGate = 1 << 32

// enter reports whether the gate is open; leave is to be called in any case.
func (g *gate) enter() bool { return g.n.Add(1) < closedGate }

func (g *gate) leave() { g.add(-1) }

func (g *gate) close() { g.add(closedGate) }

func (g *gate) add(n int64) {
	if g.n.Add(n) == closedGate {
		g.once.Do(func() { close(g.empty) })
	}
}

// wait waits until nobody is left or ctx has ended, the error of which it returns then.
func (g *gate) wait(ctx context.Context) error {
	select {
	case <-g.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
