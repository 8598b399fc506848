package presence

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/openblustar/blustar/sipx"
)

// refused is an error whose response says more than a status and a reason.
type refused struct{ res *sipx.Response }

func (e *refused) Error() string { return "presence: " + e.res.ReasonPhrase() }

// unsupportedType refuses a body, naming what would be taken.
func unsupportedType(accept string) error {
	return &refused{sipx.NewResponse(415, sipx.Field{Name: "Accept", Value: accept})}
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
