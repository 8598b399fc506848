package presence

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/internal/shard"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/source"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// Names on the wire.
const (
	eventPresence       = "presence"
	eventWatchers       = "presence.winfo"
	eventLyncForwarding = "lyncforwarding"
	typePIDF            = pidf.TypePIDF
	typeResourceLists   = pidf.TypeResourceLists
	typeWatcherInfo     = pidf.TypeWatcherInfo
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
//  1. presentity.forwarding; and presentity.once, in which a presentity is made
//  2. the part of presentities.of that a presentity belongs to
//  3. subscription.Dialog.mu
//  4. presentity.mu, which also guards the presentity's watchers; or pendings.mu
//  5. one of clients.mu with a part of publication.Store.of below it, snapshot.mu,
//     subscription.Registry.mu, and source.Table.mu with source.Source.mu below it
//  6. the worker of the registry (ends.mu), the journal, and the locks of the deadline
//     queues
//
// Server.life and lookups.mu stand alone: nothing is taken while they are held. A
// deadline queue calls its items one after another, without the lock of number 6; what
// such a call may wait for, it leaves to a goroutine. A snapshot, an entry, the value of a
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

	packages     map[string]*eventPackage
	registry     *subscription.Registry
	publications *publication.Store
	lines        *source.Table[LineState]
	calendars    *source.Table[CalendarState]
	externals    *source.Table[ExternalState]
	presentities presentities
	pendings     pendings
	clients      clients
	lookups      lookups
	policies     atomic.Uint64 // counts the changes of the policy
	deadlines    deadline.Queue
	unknown      *snapshot // of who has no entry
	journal      *journal  // nil without a store
	run          uint32    // counts the processes that have worked with the store; 0 before Restore

	requests gate
	life     sync.Mutex // guards closing, and Go against Wait
	closing  bool       // no new goroutines
	work     sync.WaitGroup
}

// New makes a server. It starts nothing: give it to a stack's Serve, and call
// Shutdown in the end. The error names everything that is wrong with the
// configuration.
func New(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, started: time.Now(), requests: gate{empty: make(chan struct{})}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.packages = map[string]*eventPackage{
		eventPresence: {Package: subscription.Package{Name: eventPresence, MediaType: typePIDF}},
		eventWatchers: {Package: subscription.Package{Name: eventWatchers, MediaType: typeWatcherInfo, Large: true}, watchers: true},
	}
	s.presentities = presentities{server: s, of: shard.New[*presentity]()}
	s.pendings = pendings{server: s, m: make(map[string]*pending)}
	s.clients = clients{server: s, m: make(map[clientKey]*client), users: make(map[string]*user)}
	s.lookups = lookups{most: cfg.MaxLookups, each: max(2, cfg.MaxLookups/4), of: make(map[party]int)}
	s.unknown = s.unknownSnapshot()
	s.journal = newJournal(s)
	events := subscription.Events{Ended: s.dialogEnded, Notified: cfg.Hooks.Notify}
	published := publication.Config{MaxPublications: cfg.MaxPublications, Expired: s.publicationExpired}
	if s.journal != nil {
		events.Changed, published.Changed = s.journal.dialog, s.journal.published
	}
	var err error
	if s.registry, err = subscription.New(subscription.Config{
		Sender: cfg.Sender, NAT: cfg.NAT, Logger: cfg.Logger, MaxWatches: cfg.MaxSubscriptions,
		AccountShare: cfg.AccountShare, SourceShare: cfg.SourceShare, SharedSources: cfg.SharedSources, Window: cfg.Window,
		Events: events,
	}); err != nil {
		return nil, err
	}
	if s.publications, err = publication.NewStore(published); err != nil {
		return nil, err
	}
	return s, s.newSources()
}

// exchange is a request on its way through the server.
type exchange struct {
	server   *Server
	w        sipx.ResponseWriter
	req      *sipx.Request
	sent     []byte // its body, as it came
	began    time.Time
	answered bool

	asked  auth.Request // what the guard was asked, if it was
	digest bool         // the client is not one of BluStar
}

// ServeSIP implements [sipx.Handler].
func (s *Server) ServeSIP(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	x := &exchange{server: s, w: w, req: req, sent: req.Body, began: time.Now()}
	defer s.requests.leave()
	if !s.requests.enter() {
		x.answer(comingBack("shutting down"))
		return
	}
	if !s.journal.ready() {
		x.answer(comingBack("starting"))
		return
	}
	if err := s.serve(ctx, x); err != nil && !x.answered {
		x.answer(s.refusal(req, err))
	}
}

// FlowClosed implements [sipx.FlowObserver]: the dialogs on a connection end with
// it.
func (s *Server) FlowClosed(f sipx.Flow) { s.registry.FlowClosed(f) }

// logged writes an address without the password that a URI may have.
func logged(u sipx.URI) string {
	u.User, _, _ = strings.Cut(u.User, ":")
	return bareURI(u)
}

// answer sends the response, and reports whether it is the one that was asked for: a
// success that is to be in the store first, and is not, is a 503.
func (x *exchange) answer(res *sipx.Response) (as bool) {
	x.answered = true
	s, req := x.server, x.req
	if as = true; res.Status < 300 && req.Method != "OPTIONS" {
		if err := s.journal.wait(s.ctx); err != nil {
			res, as = overloaded("not stored"), false
		}
	}
	level := slog.LevelDebug
	if res.Status >= 500 {
		level = slog.LevelWarn
	}
	if s.cfg.Logger.Enabled(s.ctx, level) {
		s.cfg.Logger.Log(s.ctx, level, "request", "method", req.Method, "from", logged(req.From.URI), "to", logged(req.To.URI),
			"flow", req.Flow.String(), "call_id", req.CallID, "status", res.Status, "reason", res.ReasonPhrase())
	}
	if err := x.w.Respond(res); err != nil {
		s.cfg.Logger.Debug("response was not sent", "call_id", req.CallID, "error", err)
	}
	if hook := s.cfg.Hooks.Request; hook != nil {
		hook(req.Method, res.Status, time.Since(x.began))
	}
	return as
}

// serve handles a request. An error is answered by refusal.
func (s *Server) serve(ctx context.Context, x *exchange) error {
	if err := s.screen(x.req); err != nil {
		return err
	}
	if err := s.expand(x); err != nil {
		return err
	}
	switch x.req.Method {
	case "SUBSCRIBE":
		return s.subscribe(ctx, x)
	case "PUBLISH":
		return s.publish(ctx, x)
	case "OPTIONS":
		x.answer(sipx.NewResponse(200,
			sipx.Field{Name: "Allow", Value: allowedMethods},
			sipx.Field{Name: "Allow-Events", Value: s.events()},
			sipx.Field{Name: "Accept", Value: typePIDF + ", " + typeResourceLists},
			sipx.Field{Name: "Accept-Encoding", Value: contentCodings},
			sipx.Field{Name: "Supported", Value: extRecipientList + ", " + extEventList}))
		return nil
	case "NOTIFY":
		// It belongs to a subscriber that was on this stack before a restart, and
		// ends that subscription (RFC 6665 §4.1.3).
		if x.req.To.Tag() != "" {
			return sipx.Errorf(481, "")
		}
	}
	return &refused{sipx.NewResponse(405, sipx.Field{Name: "Allow", Value: allowedMethods})}
}

// screen refuses what no method takes (BSP-4-5, RFC 3261 §8.2).
func (s *Server) screen(req *sipx.Request) error {
	switch req.URI.Scheme {
	case "sip", "sips", "tel":
	default:
		return sipx.Errorf(416, "")
	}
	var unknown []string
	for option := range req.Header.Tokens("Require") {
		if !strings.EqualFold(option, extRecipientList) && !strings.EqualFold(option, extEventList) {
			unknown = append(unknown, option)
		}
	}
	if unknown != nil {
		return &refused{sipx.NewResponse(420, sipx.Field{Name: "Unsupported", Value: strings.Join(unknown, ", ")})}
	}
	if len(req.Body) > s.cfg.MaxBody {
		return sipx.Errorf(413, "")
	}
	return nil
}

func (s *Server) events() string {
	const always = eventPresence + ", " + eventWatchers
	if s.cfg.Forward != nil {
		return always + ", " + eventLyncForwarding
	}
	return always
}
