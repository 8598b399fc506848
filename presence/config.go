package presence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/sipx"
)

// Config makes a [Server]. Sender and Directory are required; the zero value of
// everything else is the default that its comment names. Durations and counts
// below zero are refused. Lifetimes count in whole seconds.
type Config struct {
	Sender    sipx.Sender         // sends NOTIFYs: usually the stack
	Directory directory.Directory // who is this address?
	Guard     Guard               // who sends this request? nil: everybody is let in
	Domains   []string            // served domains, for Request-URIs (BSP-2.1-3); none: the To address counts
	Dialect   DialectMode         // default: told from each request
	// UserAgents are the words that mark a User-Agent as one of BluStar, in any case.
	// nil: "blustar" and "aastra 8000i".
	UserAgents []string

	Store    PublicationStore     // default: in memory
	Forward  ForwardingController // for Event: lyncforwarding; nil: answered 489
	Lines    LineMonitor          // nil: lines come through the Feed only
	Calendar CalendarMonitor      // likewise
	External ExternalMonitor      // likewise
	Rules    []Rule               // consolidation; nil: DefaultRules
	Showing  Showing              // what BluStar watchers are shown, but for Own, which the server finds out
	Hooks    Hooks                // for metrics and events
	Logger   *slog.Logger         // default: silent

	NAT NATMode // where NOTIFYs over UDP go; default: auto (BSX-5)

	MaxSubscribeExpires time.Duration // longest SUBSCRIBE; default 300 s (BSP-4.1-2)
	MaxPublishExpires   time.Duration // longest PUBLISH; default 3600 s (BSP-4.3-1)
	MinExpires          time.Duration // shortest of both that is not 0; default 60 s, at most the maxima

	MaxNote          int // bytes of a published note, beyond it 413; default pidf.MaxNote
	MaxBody          int // bytes of a request body, beyond it 413; default 65536
	MaxList          int // entries of a list, beyond it 403; default 500
	MaxSubscriptions int // watched addresses over all dialogs, beyond it 503; default 200,000
	MaxPublications  int // live publications of one presentity, beyond it 403; default 32
	MaxClients       int // live clients of one user, beyond it 403; default 32
	MaxSources       int // each of lines, calendars and external users that are held; default 200,000
	MaxAppointments  int // of one calendar; default 1000
	MaxLookups       int // directory look-ups under way, beyond it the directory counts as down; default 256

	LookupTimeout time.Duration // for one look-up while a client waits; default 2 s
	LookupRetry   time.Duration // first pause before a failed look-up is tried again; doubles up to 60 times this; default 1 s
	Linger        time.Duration // monitors run on after the last watcher has gone; default 30 s
	Grace         time.Duration // values of a failed monitor stay; default 60 s (BSX-2)
}

// Guard decides who is let in. [*auth.Guard] is one.
type Guard interface {
	// Check judges one request. It may take as long as its verifier, and ends
	// with ctx. It is safe for concurrent use. Whom it accepts without an
	// identity may act for the address in From, whosever that is.
	Check(ctx context.Context, r auth.Request) auth.Decision
}

// DialectMode says how a client's dialect is found.
type DialectMode string

// Dialect modes; the zero value is auto.
const (
	DialectAuto     DialectMode = ""
	DialectBluStar  DialectMode = "blustar"
	DialectStandard DialectMode = "standard"
)

// NATMode says whether NOTIFYs over UDP go to the Contact or back to where the
// SUBSCRIBE came from (BSX-5).
type NATMode string

// NAT modes. Auto sends them back where the Contact's address is private,
// link-local, loopback or a carrier's (RFC 6598), and differs from the source.
const (
	NATAuto   NATMode = ""
	NATAlways NATMode = "always"
	NATNever  NATMode = "never"
)

func (c *Config) complete() error {
	if c.Sender == nil {
		return errors.New("presence: Config.Sender is missing")
	}
	if c.Directory == nil {
		return errors.New("presence: Config.Directory is missing")
	}
	switch c.Dialect {
	case DialectAuto, DialectBluStar, DialectStandard:
	default:
		return fmt.Errorf("presence: Config.Dialect %q: want blustar, standard or nothing", c.Dialect)
	}
	if c.UserAgents == nil {
		c.UserAgents = []string{"blustar", "aastra 8000i"}
	}
	if slices.Contains(c.UserAgents, "") {
		return errors.New("presence: Config.UserAgents has an empty word, which every User-Agent holds")
	}
	switch c.NAT {
	case NATAuto, NATAlways, NATNever:
	default:
		return fmt.Errorf("presence: Config.NAT %q: want always, never or nothing", c.NAT)
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"MaxSubscribeExpires", &c.MaxSubscribeExpires, 300 * time.Second},
		{"MaxPublishExpires", &c.MaxPublishExpires, 3600 * time.Second},
		{"MinExpires", &c.MinExpires, 60 * time.Second},
		{"LookupTimeout", &c.LookupTimeout, 2 * time.Second},
		{"LookupRetry", &c.LookupRetry, time.Second},
		{"Linger", &c.Linger, 30 * time.Second},
		{"Grace", &c.Grace, 60 * time.Second},
	} {
		if *d.v < 0 {
			return fmt.Errorf("presence: Config.%s is %v", d.name, *d.v)
		}
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	for _, n := range []struct {
		name string
		v    *int
		def  int
	}{
		{"MaxNote", &c.MaxNote, pidf.MaxNote},
		{"MaxBody", &c.MaxBody, 65536},
		{"MaxList", &c.MaxList, 500},
		{"MaxSubscriptions", &c.MaxSubscriptions, 200_000},
		{"MaxPublications", &c.MaxPublications, 32},
		{"MaxClients", &c.MaxClients, 32},
		{"MaxSources", &c.MaxSources, 200_000},
		{"MaxAppointments", &c.MaxAppointments, 1000},
		{"MaxLookups", &c.MaxLookups, 256},
	} {
		if *n.v < 0 {
			return fmt.Errorf("presence: Config.%s is %d", n.name, *n.v)
		}
		if *n.v == 0 {
			*n.v = n.def
		}
	}
	for _, d := range []time.Duration{c.MaxSubscribeExpires, c.MaxPublishExpires, c.MinExpires} {
		if d < time.Second || d >= 1<<31*time.Second {
			return fmt.Errorf("presence: an expiry of %v: want one second to 2^31 - 1", d)
		}
	}
	c.MinExpires = min(c.MinExpires, c.MaxSubscribeExpires, c.MaxPublishExpires)
	c.Showing.Own = false
	if c.Rules == nil {
		c.Rules = DefaultRules()
	}
	for i, r := range c.Rules {
		if r.Name == "" || r.Match == nil || r.Status == "" {
			return fmt.Errorf("presence: Config.Rules[%d] needs Name, Match and Status", i)
		}
	}
	if c.Store == nil {
		c.Store = NewMemoryStore()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Hooks are functions to be told what happens. Each may be nil. They are called
// from within the server, by several goroutines at once, some of them while a
// presentity is held still so that their order is the order of events: they must
// be quick, must not block and must not call the server.
type Hooks struct {
	// Changed is told each change of a consolidated status or note of users in
	// memory: who is watched, signed in or has published. With it set, the Feed
	// looks up whose the lines and mailboxes are that it is told of, as far as
	// their number or address is one of the user too, so that changes of users
	// whom nobody watches are told as well.
	Changed func(c Change)
	// Request is told the outcome of each request that was served: its method as
	// the client wrote it, and the status of the response.
	Request func(method string, status int, took time.Duration)
	// Notify is told the outcome of each NOTIFY: the status of its final
	// response, or 0 with an error.
	Notify func(status int, err error)
}

// Change is a change of what watchers of a presentity see.
type Change struct {
	Entity    string // the presentity's preferred address
	Status    Status
	Note      string
	Timestamp time.Time
}
