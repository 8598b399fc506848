package presence

import (
	"context"
	"fmt"
	"time"

	"github.com/openblustar/blustar/internal/logqueue"
	"github.com/openblustar/blustar/internal/shard"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/source"
	"github.com/openblustar/blustar/presence/subscription"
)

// New makes a server. It starts nothing: give it to a stack's Serve, and call
// Shutdown in the end. The error names everything that is wrong with the
// configuration.
func New(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, started: time.Now(), requests: gate{empty: make(chan struct{})}}
	s.failures = logqueue.Repeats{Logger: cfg.Logger, Message: "request answered so again"}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.packages = map[string]*eventPackage{
		eventPresence: {Package: subscription.Package{Name: eventPresence, MediaType: typePIDF}},
		eventWatchers: {Package: subscription.Package{Name: eventWatchers, MediaType: typeWatcherInfo, Large: true}, watchers: true},
	}
	s.sources = make(map[string]sources)
	s.presentities = presentities{server: s, of: shard.New[*presentity]()}
	s.pendings = pendings{server: s, m: make(map[string]*pending)}
	s.clients = clients{server: s, m: make(map[clientKey]*client), users: make(map[string]*userClients)}
	s.lookups = lookups{
		directory: cfg.Directory, timeout: cfg.LookupTimeout, log: cfg.Logger,
		most: cfg.MaxLookups, each: max(2, cfg.MaxLookups/4), of: make(map[party]int),
	}
	s.unknown = &snapshot{server: s, at: s.started, result: consolidation.Result{Status: consolidation.StatusUnknown, Rule: "unknown"}}
	s.cluster = newCluster(s)
	s.journal = newJournal(s)
	events := subscription.Events{Ended: s.dialogEnded, Notified: cfg.Hooks.Notify}
	published := publication.Config{MaxPublications: cfg.MaxPublications, Read: readOriginal, Expired: s.publicationExpired}
	if s.journal != nil {
		events.Changed, published.Changed = s.journal.dialog, s.contributionChanged
	}
	speaking := subscription.Config{
		Sender: cfg.Sender, NAT: cfg.NAT, Logger: cfg.Logger, MaxWatches: cfg.MaxSubscriptions,
		AccountShare: cfg.AccountShare, SourceShare: cfg.SourceShare, SharedSources: cfg.SharedSources, Window: cfg.Window,
		Events: events, Node: s.cluster.name(),
	}
	if s.cluster != nil {
		speaking.MaySpeak, published.MayExpire = s.cluster.maySpeak, s.cluster.mayExpire
	}
	var err error
	if s.registry, err = subscription.New(speaking); err != nil {
		return nil, err
	}
	if s.publications, err = publication.NewStore(published); err != nil {
		return nil, err
	}
	return s, s.newSources()
}

// Restore reads [Config.Store], and goes on with everything that is in it. Call it once, before
// the stack serves. Until it has returned, requests are answered 503 with a Retry-After of one
// second. Without a store it does nothing.
//
// Dialogs go on silently. A watcher gets a NOTIFY only if the document is not the one that it has
// acknowledged last; these NOTIFYs are spread over [ResumeSpread]. A dialog over a connection
// waits for its client as long as Config.Grace. What has expired meanwhile has ended. The value
// of a monitor is shown as it was until the monitor says something, or Config.Grace is over.
//
// The error says what is wrong with the store. Nothing has been restored then, and nothing is
// written.
func (s *Server) Restore(ctx context.Context) error {
	if s.journal == nil || s.journal.ready() {
		return nil
	}
	if s.cluster != nil {
		return s.cluster.join(ctx)
	}
	began := time.Now()
	in := newInventory(s)
	if err := s.cfg.Store.Load(ctx, in.take); err != nil {
		return fmt.Errorf("presence: restore: %w", err)
	}
	if err := s.countRun(ctx, &in); err != nil {
		return fmt.Errorf("presence: restore: %w", err)
	}
	in.restore()
	in.warn()
	bundleOf := func(d *subscription.Dialog) uint64 { return in.turns[serialKey(d.Serial())].bundle }
	in.lost = append(in.lost, s.journal.writer.bundles.restore(in.bundles, in.restored, bundleOf)...)
	s.journal.bury(in.lost)
	s.journal.begin()
	s.cfg.Logger.Info("restored", "publications", len(in.publications), "clients", len(in.clients), "subscriptions", len(in.restored),
		"left out", in.bad, "took", time.Since(began))
	s.start(in.resume)
	return nil
}

// newSources makes the tables of the three kinds.
func (s *Server) newSources() (err error) {
	line := source.Config[LineState]{
		Check:    func(_ string, v LineState) (LineState, error) { return v, checkLine(v) },
		Equal:    func(a, b LineState) bool { return a.State == b.State && a.Forward == b.Forward },
		Lifetime: func(v LineState) time.Duration { return v.Lifetime },
	}
	if m := s.cfg.Lines; m != nil {
		line.Monitor = m.MonitorLine
	}
	if s.lines, err = newTable(s, kindLine, line); err != nil {
		return err
	}
	calendar := source.Config[CalendarState]{
		Check:    func(_ string, v CalendarState) (CalendarState, error) { return v, s.checkCalendar(v) },
		Equal:    equalCalendar,
		Lifetime: func(v CalendarState) time.Duration { return v.Lifetime },
	}
	if m := s.cfg.Calendar; m != nil {
		calendar.Monitor = func(ctx context.Context, mail string, update func(CalendarState)) error {
			return m.MonitorCalendar(ctx, mail, func(v CalendarState) { update(s.usable(mail, v)) })
		}
	}
	if s.calendars, err = newTable(s, kindCalendar, calendar); err != nil {
		return err
	}
	external := source.Config[ExternalState]{
		Check: func(_ string, v ExternalState) (ExternalState, error) { return v, checkExternal(v) },
		Equal: func(a, b ExternalState) bool {
			a.Lifetime, b.Lifetime = 0, 0
			return a == b
		},
		Lifetime: func(v ExternalState) time.Duration { return v.Lifetime },
	}
	if m := s.cfg.External; m != nil {
		external.Monitor = func(ctx context.Context, id string, update func(ExternalState)) error {
			p := s.presentities.find(id)
			if p == nil {
				return nil
			}
			return m.MonitorExternal(ctx, *p.entry.Load(), update)
		}
	}
	s.externals, err = newTable(s, kindExternal, external)
	return err
}

// newTable makes the table of a kind, with what all kinds have in common.
func newTable[V any](s *Server, kind string, cfg source.Config[V]) (*source.Table[V], error) {
	cfg.Name, cfg.Logger = kind, s.cfg.Logger
	if s.journal != nil {
		cfg.Changed = func(key string) { s.journal.mark(sourceRef{kind, key}) }
	}
	cfg.Max, cfg.Linger, cfg.Grace = s.cfg.MaxSources, s.cfg.Linger, s.cfg.Grace
	cfg.MayExpire, cfg.Others = s.cluster.sharing(kind)
	t, err := source.New(cfg)
	s.sources[kind] = sourcesOf[V]{t}
	return t, err
}
