package presence

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/conf"
	"github.com/openblustar/blustar/internal/logqueue"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// Config makes a [Server]. Sender and Directory are required; the zero value of
// everything else is the default that its comment names. Durations and counts
// below zero are refused. Lifetimes count in whole seconds.
type Config struct {
	Sender    sipx.Sender         // sends NOTIFYs: usually the stack
	Directory directory.Directory // who is this address?
	Guard     Guard               // who sends this request? nil: everybody is let in
	// ListedFrom refuses accounts whose address in From the directory does not have, by 403.
	// Off by default: the clients of §4.1 write a number there that need not be listed. No
	// account may write another user's address, in any case.
	ListedFrom bool
	Policy     Policy      // what may a watcher see? nil: everything but the details of private appointments
	Domains    []string    // served domains, for Request-URIs; none: the To address counts
	Dialect    DialectMode // default: told from each request
	// UserAgents are the words that mark a User-Agent as one of BluStar, in any case.
	// nil: "blustar" and "aastra 8000i".
	UserAgents []string

	Forward  ForwardingController // for Event: lyncforwarding; nil: answered 489
	Lines    LineMonitor          // nil: lines come through the Feed only
	Calendar CalendarMonitor      // likewise
	External ExternalMonitor      // likewise
	Hooks    Hooks                // for metrics and events
	Logger   *slog.Logger         // default: silent; a slow handler holds up nothing: lines that it cannot take are dropped, and counted in Stats

	Rules []consolidation.Rule // nil: consolidation.DefaultRules
	// Decorate adds what the host wants to each document before it is sent, or nil. It
	// is called with locks held, by several goroutines at once: it must be quick, must
	// not block and must not call the server. One that hangs holds up the watchers of that
	// user. [Server.Shutdown] does not wait for it beyond its context.
	Decorate        func(Decoration)
	AllStatuses     bool // BluStar watchers are shown "away" and "other" as such; else as "busy", with their text (§3.2)
	NextAppointment bool // the next appointment is shown where none is running

	// Store keeps what was acknowledged over a restart: publications, dialogs, clients,
	// and the values of sources. nil: all of it ends with the process. [Server.Restore]
	// is to be called before requests are served. The server does not close it. One that
	// is [Shared] has several servers serve one site; StoreSync is 0 then, and StoreAlways
	// true.
	Store     Store
	StoreSync time.Duration // what a loss of power, or of the process, may cost: how long changes wait for their batch; default 50 ms
	// StoreAlways: SUBSCRIBE and PUBLISH are answered, and Feed returns, only once what they say is
	// in the store. If that fails, or takes 5 s, the answer is 503, and a PUBLISH is undone.
	StoreAlways bool

	NAT subscription.NATMode // where NOTIFYs over UDP go; default: auto

	MaxSubscribeExpires time.Duration // longest SUBSCRIBE; default 300 s
	MaxPublishExpires   time.Duration // longest PUBLISH; default 3600 s
	MinExpires          time.Duration // shortest of both that is not 0; default 60 s, at most the maxima

	MaxBody          int            // bytes of a request body, beyond it 413; default 65536
	MaxNote          int            // bytes of a note, beyond it 413; default aa.MaxNote
	MaxList          int            // entries of a list, beyond it 403; default 500
	MaxSubscriptions int            // watched addresses over all dialogs, beyond it 503; default 200,000
	AccountShare     int            // of them by one account, beyond it 403; default a quarter, or 1000
	SourceShare      int            // of them from one source (IPv6: /64), beyond it 503; default half, or 1000
	SharedSources    []netip.Prefix // sources of many, without such a share: SBCs, proxies
	Window           int            // NOTIFYs of one dialog under way over UDP; default 3; over connections 32
	MaxPublications  int            // live publications of one presentity, beyond it 403; default 32
	MaxClients       int            // live clients of one user, beyond it 403; default 32
	MaxSources       int            // each of lines, calendars and external users that are held; default 200,000
	MaxAppointments  int            // of one calendar; default 1000
	// MaxLookups bounds the directory look-ups under way; beyond it the directory counts as
	// down. Each holds up a request, so it must be below the requests that the stack handles
	// at a time: with MaxPending of package auth, there should be some left. One account or
	// source has a quarter. Default 96, of the 256 requests of package stack; of another
	// number that Sender tells (Handlers() int), the same part.
	MaxLookups int

	LookupTimeout time.Duration // for one look-up while a client waits; default 2 s
	LookupRetry   time.Duration // first pause before a failed look-up is tried again; doubles up to 60 times this; default 1 s
	Linger        time.Duration // monitors run on after the last watcher has gone; default 30 s
	Grace         time.Duration // values of a failed monitor stay, as do dialogs over connections after a restart; default 60 s

	log *logqueue.Queue // before Logger; nil where there is none
}

func (c *Config) complete() error {
	check := conf.Of("presence: Config")
	check.Require("Sender", c.Sender != nil)
	check.Require("Directory", c.Directory != nil)
	conf.OneOf(check, "Dialect", c.Dialect, DialectAuto, DialectBluStar, DialectStandard)
	if c.UserAgents == nil {
		c.UserAgents = []string{"blustar", "aastra 8000i"}
	}
	if slices.Contains(c.UserAgents, "") {
		check.Failf("UserAgents", "an empty word, which every User-Agent holds")
	}
	conf.Default(check, "MaxSubscribeExpires", &c.MaxSubscribeExpires, 300*time.Second)
	conf.Default(check, "MaxPublishExpires", &c.MaxPublishExpires, 3600*time.Second)
	conf.Default(check, "MinExpires", &c.MinExpires, 60*time.Second)
	for name, d := range map[string]time.Duration{
		"MaxSubscribeExpires": c.MaxSubscribeExpires, "MaxPublishExpires": c.MaxPublishExpires, "MinExpires": c.MinExpires,
	} {
		conf.Within(check, name, d, time.Second, (1<<31-1)*time.Second)
	}
	c.MinExpires = min(c.MinExpires, c.MaxSubscribeExpires, c.MaxPublishExpires)
	conf.Default(check, "StoreSync", &c.StoreSync, 50*time.Millisecond)
	conf.Default(check, "MaxBody", &c.MaxBody, 65536)
	conf.Default(check, "MaxNote", &c.MaxNote, aa.MaxNote)
	conf.Default(check, "MaxList", &c.MaxList, 500)
	conf.Default(check, "MaxSubscriptions", &c.MaxSubscriptions, 200_000)
	conf.Default(check, "AccountShare", &c.AccountShare, max(1000, c.MaxSubscriptions/4))
	conf.Default(check, "SourceShare", &c.SourceShare, max(1000, c.MaxSubscriptions/2))
	conf.Default(check, "Window", &c.Window, 3)
	conf.Default(check, "MaxPublications", &c.MaxPublications, 32)
	conf.Default(check, "MaxClients", &c.MaxClients, 32)
	conf.Default(check, "MaxSources", &c.MaxSources, 200_000)
	conf.Default(check, "MaxAppointments", &c.MaxAppointments, 1000)
	handlers := 256
	if s, ok := c.Sender.(interface{ Handlers() int }); ok {
		handlers = s.Handlers()
	}
	conf.Default(check, "MaxLookups", &c.MaxLookups, max(1, handlers*3/8))
	if c.MaxLookups >= handlers {
		check.Failf("MaxLookups", "%d: not below the %d requests that are handled at a time", c.MaxLookups, handlers)
	}
	conf.Default(check, "LookupTimeout", &c.LookupTimeout, 2*time.Second)
	conf.Default(check, "LookupRetry", &c.LookupRetry, time.Second)
	conf.Default(check, "Linger", &c.Linger, 30*time.Second)
	conf.Default(check, "Grace", &c.Grace, 60*time.Second)
	if c.Rules == nil {
		c.Rules = consolidation.DefaultRules()
	}
	check.Fail("Rules", consolidation.CheckRules(c.Rules))
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	} else {
		c.log = logqueue.New(c.Logger)
		c.Logger = c.log.Logger()
	}
	return check.Err()
}
