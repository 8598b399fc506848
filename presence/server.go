package presence

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/sipx"
)

// Names on the wire.
const (
	eventPresence       = "presence"
	eventWatchers       = "presence.winfo"
	eventLyncForwarding = "lyncforwarding"
	typePIDF            = "application/pidf+xml"
	typeResourceLists   = "application/resource-lists+xml"
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
	s.dialogs = dialogs{byTag: make(map[string]*dialog), byConn: make(map[uint64]map[*dialog]struct{})}
	s.expiries = expiries{server: s}
	s.clients = clients{server: s, m: make(map[clientKey]*client), live: make(map[*presentity][]*client)}
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

// Shutdown ends all subscriptions with a last NOTIFY (terminated, deactivated),
// waits for their answers until ctx ends, and stops all monitors and timers.
// Requests that come meanwhile are answered 503. Call it before the stack's
// Shutdown, which carries those NOTIFYs. After it no goroutine of the server is
// left; later calls return at once. The error is ctx's where it cut the waiting
// short.
func (s *Server) Shutdown(ctx context.Context) error {
	s.life.Lock()
	first := !s.closing
	s.closing = true
	s.life.Unlock()
	if !first {
		return nil
	}
	err := s.awaitRequests(ctx) // one under way may still open a dialog
	for _, d := range s.dialogs.all() {
		s.endDialog(d, reasonDeactivated)
	}
	for s.outstanding.Load() > 0 && err == nil {
		select {
		case <-s.idle:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	s.cancel()
	s.stopTimers()
	s.work.Wait()
	return err
}

// awaitRequests waits for the requests that entered before the server closed.
func (s *Server) awaitRequests(ctx context.Context) error {
	done := make(chan struct{})
	s.work.Go(func() {
		s.requests.Wait()
		close(done)
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stopTimers stops what would otherwise fire into nothing later.
func (s *Server) stopTimers() {
	s.expiries.stop()
	for _, p := range s.presentities.all() {
		p.mu.Lock()
		stopTimer(&p.change)
		stopTimer(&p.retry)
		stopTimer(&p.winfo.timer)
		for _, pub := range p.pubs {
			stopTimer(&pub.expiry)
		}
		if p.forward != nil {
			stopTimer(&p.forward.expiry)
		}
		p.mu.Unlock()
	}
	s.clients.mu.Lock()
	for _, c := range s.clients.m {
		stopTimer(&c.expiry)
	}
	s.clients.mu.Unlock()
	s.lines.stopTimers()
	s.calendars.stopTimers()
	s.externals.stopTimers()
}

// enter notes work that Shutdown waits for, and reports whether it may start.
func (s *Server) enter() bool {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closing {
		return false
	}
	s.work.Add(1)
	return true
}

// enterRequest notes a request, which Shutdown waits for first.
func (s *Server) enterRequest() bool {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closing {
		return false
	}
	s.work.Add(1)
	s.requests.Add(1)
	return true
}

// after runs f once after d, unless the server shuts down before.
func (s *Server) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		if s.enter() {
			defer s.work.Done()
			f()
		}
	})
}

// start runs f in a goroutine that Shutdown waits for; f ends with s.ctx.
func (s *Server) start(f func()) bool {
	if !s.enter() {
		return false
	}
	go func() {
		defer s.work.Done()
		f()
	}()
	return true
}

// sendDone notes the outcome of a NOTIFY.
func (s *Server) sendDone() {
	if s.outstanding.Add(-1) == 0 {
		select {
		case s.idle <- struct{}{}:
		default:
		}
	}
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
	if hook := s.cfg.Observer.Request; hook != nil {
		hook(req.Method, res.Status, time.Since(began))
	}
}

func (s *Server) respond(w sipx.ResponseWriter, req *sipx.Request, res *sipx.Response) {
	level := slog.LevelDebug
	if res.Status >= 500 {
		level = slog.LevelWarn
	}
	if s.cfg.Logger.Enabled(s.ctx, level) {
		s.cfg.Logger.Log(s.ctx, level, "request", "method", req.Method, "from", req.From.URI.String(), "to", req.To.URI.String(),
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

// refusal is the response that tells of err.
func (s *Server) refusal(req *sipx.Request, err error) *sipx.Response {
	var told *sipx.Error
	var wrongType *typeError
	var brief *tooBrief
	switch {
	case errors.As(err, &brief):
		return sipx.NewResponse(423, sipx.Field{Name: "Min-Expires", Value: seconds(brief.min)})
	case errors.As(err, &wrongType):
		return sipx.NewResponse(415, sipx.Field{Name: "Accept", Value: wrongType.accept})
	case errors.As(err, &told):
		res := told.Response()
		res.Reason = oneLine(res.Reason)
		if res.Status == 503 {
			res.Header.Add("Retry-After", retryAfter())
		}
		return res
	}
	s.cfg.Logger.Error("request failed", "method", req.Method, "call_id", req.CallID, "error", err)
	return sipx.NewResponse(500)
}

// oneLine makes s fit for a reason phrase.
func oneLine(s string) string {
	const max = 200
	if len(s) > max {
		s = s[:max]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, s)
}

func overloaded(reason string) *sipx.Response {
	return &sipx.Response{Status: 503, Reason: reason, Header: sipx.Header{{Name: "Retry-After", Value: retryAfter()}}}
}

// retryAfter spreads those that were turned away, so that they do not come back
// together.
func retryAfter() string { return strconv.Itoa(5 + rand.IntN(11)) }

func (s *Server) badEvent() *sipx.Response {
	return sipx.NewResponse(489, sipx.Field{Name: "Allow-Events", Value: s.events()})
}

func (s *Server) events() string {
	const always = eventPresence + ", " + eventWatchers
	if s.cfg.Forward != nil {
		return always + ", " + eventLyncForwarding
	}
	return always
}

// oneContact returns the Contact of a request, which must be one.
func oneContact(req *sipx.Request) (sipx.Address, error) {
	if req.Header.Count("Contact") != 1 {
		return sipx.Address{}, sipx.Errorf(400, "one Contact is mandatory")
	}
	list, err := sipx.ParseAddresses(req.Header.Get("Contact"), 2)
	if err != nil || len(list) != 1 {
		return sipx.Address{}, sipx.Errorf(400, "one Contact is mandatory")
	}
	if scheme := list[0].URI.Scheme; scheme != "sip" && scheme != "sips" {
		return sipx.Address{}, sipx.Errorf(400, "Contact must be a sip URI")
	}
	return list[0], nil
}

// maxRoutes bounds a dialog's route set.
const maxRoutes = 16

func recordRoutes(req *sipx.Request) ([]string, error) {
	var routes []string
	for value := range req.Header.Values("Record-Route") {
		list, err := sipx.ParseAddresses(value, maxRoutes)
		if err != nil || len(routes)+len(list) > maxRoutes {
			return nil, sipx.Errorf(400, "bad Record-Route")
		}
		for _, a := range list {
			routes = append(routes, a.String())
		}
	}
	return routes, nil
}

// granted returns the lifetime that a request gets (BSP-4.1-2, BSP-4.3-1).
func (s *Server) granted(req *sipx.Request, most time.Duration) (time.Duration, error) {
	value, ok := req.Header.Lookup("Expires")
	if !ok {
		return most, nil
	}
	n, ok := sipx.Seconds(value)
	if !ok {
		return 0, sipx.Errorf(400, "bad Expires")
	}
	asked := time.Duration(n) * time.Second
	if asked != 0 && asked < s.cfg.MinExpires {
		return 0, &tooBrief{s.cfg.MinExpires}
	}
	return min(asked, most), nil
}

// accepts reports whether a watcher takes documents of this type. It need not
// say so of that which its event package has by default.
func accepts(h sipx.Header, media string) bool {
	if h.Count("Accept") == 0 {
		return true
	}
	for t := range h.Tokens("Accept") {
		switch strings.ToLower(t) {
		case media, "application/*", "*/*":
			return true
		}
	}
	return false
}

// contact is our Contact on a flow, as a field value. There are few different
// ones, which dialogs share.
func (s *Server) contact(f sipx.Flow) string {
	uri := s.cfg.Sender.Contact(f)
	if text, ok := s.contacts.Load(uri); ok {
		return text.(string)
	}
	text := sipx.Address{URI: uri}.String()
	if s.contactCount.Add(1) <= maxContacts {
		s.contacts.Store(uri, text)
	}
	return text
}

// maxContacts bounds how many of our own Contacts are kept.
const maxContacts = 256

// check has the guard judge a request. A response means that it is refused.
func (s *Server) check(ctx context.Context, req *sipx.Request, contact sipx.Address, d *Dialect) (auth.Identity, *sipx.Response) {
	if s.cfg.Guard == nil {
		return auth.Identity{}, nil
	}
	endpoint := contactKey(contact.URI)
	if contact.URI.IsZero() {
		endpoint = req.Flow.Remote.String()
	}
	from := bareURI(req.From.URI)
	if a, err := directory.ParseAddress(from); err == nil {
		from = a.String()
	}
	r := auth.Request{
		Client:    from + " " + endpoint,
		Source:    req.Flow.Remote.Addr().Unmap(),
		Secure:    req.Flow.Secure(),
		UserAgent: req.Header.Get("User-Agent"),
		Method:    req.Method,
		URI:       req.URI.String(),
		Body:      req.Body,
		Rauth:     req.Header.Get("X-BSS-rauth"),
		AMCC:      contact.URI.User == amccUser,
		Digest:    d.Digest,
	}
	for v := range req.Header.Values("Authorization") {
		r.Authorization = append(r.Authorization, v)
	}
	decision := s.cfg.Guard.Check(ctx, r)
	var res *sipx.Response
	switch decision.Verdict {
	case auth.Accept:
		return decision.Identity, nil
	case auth.Challenge:
		res = sipx.NewResponse(401)
		if !d.Digest {
			res.Header.Add("Contact", s.contact(req.Flow))
			if v := req.Header.Get("Expires"); v != "" {
				res.Header.Add("Expires", v)
			}
		}
	case auth.Unavailable:
		res = sipx.NewResponse(503)
		wait := retryAfter()
		if decision.RetryAfter > 0 {
			wait = strconv.Itoa(int((decision.RetryAfter + time.Second - 1) / time.Second))
		}
		res.Header.Add("Retry-After", wait)
	default:
		res = sipx.NewResponse(403)
	}
	for _, f := range decision.Header {
		res.Header.Add(f.Name, f.Value)
	}
	s.cfg.Logger.Info("not let in", "status", res.Status, "method", req.Method, "client", r.Client,
		"source", r.Source.String(), "reason", decision.Reason)
	return auth.Identity{}, res
}

// mayActFor reports whether the authenticated account is the entry's, or that of
// an AMCC, which acts for its users (BSP-2.4-7). Who was let in without
// credentials is taken at their word.
func mayActFor(id auth.Identity, entry *directory.Entry) bool {
	return id.Account == "" || id.AMCC || auth.SameAccount(id, entry.Account, entry.ID)
}
