package presence

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/sipx"
)

// exchange is a request on its way through the server. Nobody keeps it: it is used again.
type exchange struct {
	server   *Server
	w        sipx.ResponseWriter
	req      *sipx.Request
	sent     []byte // its body, as it came
	began    time.Time
	answered bool

	contact sipx.Address // zero where there is none
	dialect *Dialect
	expires time.Duration // granted

	asked  auth.Request   // what the guard was asked, if it was
	passed *auth.Identity // who was let in by another node, which passes it on; else nil
	id     auth.Identity  // who was let in

	subscribing subscribing
	publishing  publishing
}

// subscribing is a SUBSCRIBE on its way through the server.
type subscribing struct {
	*exchange
	event sipx.Event
	pack  *eventPackage
}

// publishing is a PUBLISH on its way through the server.
type publishing struct {
	*exchange
	address string // whose presence it is
	owner   string // who says so: the Contact, or the source
	until   time.Time
	ifMatch string
	p       *presentity
	loan    *loan            // memory for doc
	doc     *pidf.Presence   // nil for a refresh
	body    []byte           // of which it was decoded, in UTF-8
	said    publication.Said // what doc says of the user
}

// logged writes an address without the password that a URI may have.
func logged(u sipx.URI) string {
	u.User, _, _ = strings.Cut(u.User, ":")
	return bareURI(u)
}

// answer sends a response. A success waits for the store, if that is configured, and turns into a
// 503 if the store fails: then answer reports false.
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
	if s.cfg.Logger.Enabled(s.ctx, level) &&
		(level == slog.LevelDebug || s.failures.First(req.Flow.Source().String(), strconv.Itoa(res.Status)+" "+res.ReasonPhrase())) {
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

// accept sends the 200 to a PUBLISH.
func (pub *publishing) accept(etag string) {
	pub.answer(sipx.NewResponse(200,
		sipx.Field{Name: "Contact", Value: pub.server.cfg.Sender.Contact(pub.req.Flow)},
		sipx.Field{Name: "Expires", Value: seconds(pub.expires)},
		sipx.Field{Name: "SIP-ETag", Value: etag}))
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
		return 0, &refused{sipx.NewResponse(423, sipx.Field{Name: "Min-Expires", Value: seconds(s.cfg.MinExpires)})}
	}
	return min(asked, most), nil
}

// accepts reports whether a watcher takes documents of this type. Without Accept it takes the type
// of its event package.
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

// dialectOf tells who sent a request that opens a dialog or a publication.
func (s *Server) dialectOf(x *exchange) *Dialect {
	req := x.req
	switch {
	case s.cfg.Dialect != DialectAuto:
		if s.cfg.Dialect == DialectBluStar {
			return bluStar
		}
		return standard
	case slices.ContainsFunc(s.cfg.UserAgents, func(word string) bool { return containsFold(req.Header.Get("User-Agent"), word) }),
		x.contact.URI.User == amccUser,
		hasBSSHeader(req.Header),
		saysBluStar(req.Body),
		isList(req) && !knowsEventLists(req):
		return bluStar
	}
	return standard
}

func hasBSSHeader(h sipx.Header) bool {
	for i := range h {
		if name := h[i].Name; len(name) > 6 && strings.EqualFold(name[:6], "X-BSS-") {
			return true
		}
	}
	return false
}

// saysBluStar reports whether a body has an aa:blustar element, whatever its
// prefix: a document may declare the namespace and not use it.
func saysBluStar(body []byte) bool {
	const namespace = "blustar/2011" // in all three spellings
	return bytes.Contains(body, []byte(namespace)) &&
		(bytes.Contains(body, []byte(":blustar")) || bytes.Contains(body, []byte("<blustar")))
}

func isList(req *sipx.Request) bool {
	return len(req.Body) > 0 && sipx.MediaType(req.Header.Get("Content-Type")) == typeResourceLists
}

// knowsEventLists reports whether a client understands RLMI (RFC 4662 §4.1).
func knowsEventLists(req *sipx.Request) bool {
	return req.Header.HasToken("Supported", extEventList) || req.Header.HasToken("Require", extEventList)
}

// containsFold reports whether s contains sub, in any case of ASCII letters.
func containsFold(s, sub string) bool {
	for i := 0; i+len(sub) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sub)], sub) {
			return true
		}
	}
	return false
}

// refused is an error whose response says more than a status and a reason.
type refused struct{ res *sipx.Response }

func (e *refused) Error() string { return "presence: " + e.res.ReasonPhrase() }

// unsupportedType refuses a body, naming what would be taken.
func unsupportedType(accept string) error {
	return &refused{sipx.NewResponse(415, sipx.Field{Name: "Accept", Value: accept})}
}

func (s *Server) badEvent() error {
	return &refused{sipx.NewResponse(489, sipx.Field{Name: "Allow-Events", Value: s.events()})}
}

func (s *Server) events() string {
	const always = eventPresence + ", " + eventWatchers
	if s.cfg.Forward != nil {
		return always + ", " + eventLyncForwarding
	}
	return always
}

// refusal is the response that tells of err.
func (s *Server) refusal(req *sipx.Request, err error) *sipx.Response {
	if e, ok := errors.AsType[*refused](err); ok {
		return e.res
	}
	if e, ok := errors.AsType[*sipx.Error](err); ok {
		res := e.Response()
		res.Reason = oneLine(res.Reason)
		if res.Status == 503 {
			res.Header.Add("Retry-After", retryAfter())
		}
		return res
	}
	s.cfg.Logger.Error("request failed", "method", req.Method, "call_id", req.CallID, "error", err)
	return sipx.NewResponse(500)
}

// publishError turns an error of the store of publications into the one for the peer.
func publishError(err error) error {
	switch {
	case errors.Is(err, publication.ErrNoMatch):
		return sipx.Errorf(412, "")
	case errors.Is(err, publication.ErrNothing):
		return sipx.Errorf(400, "a refresh without a publication")
	case errors.Is(err, publication.ErrOvertaken):
		return sipx.Errorf(500, "CSeq out of order")
	case errors.Is(err, publication.ErrTooMany):
		return sipx.Errorf(403, "too many publications of one user")
	case errors.Is(err, publication.ErrTooLarge):
		return sipx.Errorf(413, "too much is published by one user")
	}
	return err
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

// comingBack refuses what a server that is about to stop, or begins, cannot take: in a
// second it may be there again.
func comingBack(reason string) *sipx.Response {
	return &sipx.Response{Status: 503, Reason: reason, Header: sipx.Header{{Name: "Retry-After", Value: "1"}}}
}

// retryAfter spreads those that were turned away, so that they do not come back
// together.
func retryAfter() string { return strconv.Itoa(5 + rand.IntN(11)) }
