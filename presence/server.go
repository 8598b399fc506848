package presence

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
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
type Server struct {
	cfg    Config
	ctx    context.Context // ends when the server has shut down
	cancel context.CancelFunc

	presentities presentities
	dialogs      dialogs
	expiries     expiries
	clients      clients
	lines        *sources[LineState]
	calendars    *sources[CalendarState]
	externals    *sources[ExternalState]
	membership   sync.Mutex    // of watches in presentities
	watching     atomic.Int64  // watches
	lookups      chan struct{} // one place for each look-up under way
	actives      activeTexts
	contacts     sync.Map // of sipx.URI: our own Contacts as field values
	contactCount atomic.Int64

	requests    sync.WaitGroup
	life        sync.Mutex // guards closing, and Add against Wait
	closing     bool       // no new requests, timers and goroutines
	work        sync.WaitGroup
	outstanding atomic.Int64  // NOTIFYs without an outcome
	idle        chan struct{} // told when outstanding falls to 0
}

// New makes a server. It starts nothing: give it to a stack's Serve, and call
// Shutdown in the end.
func New(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, lookups: make(chan struct{}, cfg.MaxLookups), idle: make(chan struct{}, 1)}
	s.actives = make(activeTexts, min(cfg.MaxSubscribeExpires/time.Second, 3600)+1)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.presentities = presentities{server: s, m: make(map[string]*presentity)}
	s.dialogs = dialogs{byTag: make(map[string]*dialog), byConn: make(map[uint64]map[*dialog]struct{}), ended: make(map[string]parted)}
	s.expiries = expiries{server: s}
	s.clients = clients{server: s, m: make(map[clientKey]*client), at: make(map[endpoint]*client), live: make(map[*presentity][]*client)}
	s.lines = newSources(s, cfg.MaxSources, lineLifetime, equalLine, checkLine)
	s.calendars = newSources(s, cfg.MaxSources, calendarLifetime, equalCalendar, checkCalendar(cfg.MaxAppointments))
	s.externals = newSources(s, cfg.MaxSources, externalLifetime, equalExternal, checkExternal)
	if m := cfg.Lines; m != nil {
		s.lines.monitor = func(ctx context.Context, _ directory.Entry, dn string, update func(LineState)) error {
			return m.MonitorLine(ctx, dn, update)
		}
	}
	if m := cfg.Calendar; m != nil {
		s.calendars.monitor = func(ctx context.Context, _ directory.Entry, mail string, update func(CalendarState)) error {
			return m.MonitorCalendar(ctx, mail, func(v CalendarState) { update(s.usable(mail, v)) })
		}
	}
	if m := cfg.External; m != nil {
		s.externals.monitor = func(ctx context.Context, user directory.Entry, _ string, update func(ExternalState)) error {
			return m.MonitorExternal(ctx, user, update)
		}
	}
	return s, nil
}

// ServeSIP implements [sipx.Handler].
func (s *Server) ServeSIP(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
	if !s.enterRequest() {
		s.respond(w, req, overloaded("shutting down"))
		return
	}
	defer s.work.Done()
	defer s.requests.Done()
	began := time.Now()
	res, then, err := s.serve(ctx, req)
	if err != nil {
		res = s.refusal(req, err)
	}
	s.respond(w, req, res)
	if then != nil {
		then()
	}
	if hook := s.cfg.Hooks.Request; hook != nil {
		hook(req.Method, res.Status, time.Since(began))
	}
}

func (s *Server) respond(w sipx.ResponseWriter, req *sipx.Request, res *sipx.Response) {
	level := slog.LevelDebug
	if res.Status >= 500 {
		level = slog.LevelWarn
	}
	if s.cfg.Logger.Enabled(s.ctx, level) {
		s.cfg.Logger.Log(s.ctx, level, "request", "method", req.Method, "from", req.From.URI, "to", req.To.URI,
			"flow", req.Flow.String(), "call_id", req.CallID, "status", res.Status, "reason", res.ReasonPhrase())
	}
	if err := w.Respond(res); err != nil {
		s.cfg.Logger.Debug("response was not sent", "call_id", req.CallID, "error", err)
	}
}

// serve handles a request: it returns the response, and what follows once that
// has left.
func (s *Server) serve(ctx context.Context, req *sipx.Request) (*sipx.Response, func(), error) {
	if res := s.screen(req); res != nil {
		return res, nil, nil
	}
	switch req.Method {
	case "SUBSCRIBE":
		return s.subscribe(ctx, req)
	case "PUBLISH":
		return s.publish(ctx, req)
	case "OPTIONS":
		return sipx.NewResponse(200,
			sipx.Field{Name: "Allow", Value: allowedMethods},
			sipx.Field{Name: "Allow-Events", Value: s.events()},
			sipx.Field{Name: "Accept", Value: typePIDF + ", " + typeResourceLists},
			sipx.Field{Name: "Supported", Value: extRecipientList + ", " + extEventList}), nil, nil
	case "NOTIFY":
		// It belongs to a subscriber that was on this stack before a restart, and
		// ends that subscription (RFC 6665 §4.1.3).
		if req.To.Tag() != "" {
			return sipx.NewResponse(481), nil, nil
		}
	}
	return sipx.NewResponse(405, sipx.Field{Name: "Allow", Value: allowedMethods}), nil, nil
}

// screen refuses what no method takes (BSP-4-5, RFC 3261 §8.2).
func (s *Server) screen(req *sipx.Request) *sipx.Response {
	switch req.URI.Scheme {
	case "sip", "sips", "tel":
	default:
		return sipx.NewResponse(416)
	}
	var unknown []string
	for option := range req.Header.Tokens("Require") {
		if !strings.EqualFold(option, extRecipientList) && !strings.EqualFold(option, extEventList) {
			unknown = append(unknown, option)
		}
	}
	if unknown != nil {
		return sipx.NewResponse(420, sipx.Field{Name: "Unsupported", Value: strings.Join(unknown, ", ")})
	}
	if len(req.Body) > s.cfg.MaxBody {
		return sipx.NewResponse(413)
	}
	if e := req.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return sipx.NewResponse(415, sipx.Field{Name: "Accept-Encoding", Value: "identity"})
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
