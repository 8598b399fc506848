package sipx

import (
	"fmt"
	"strconv"
	"strings"
)

// Request is a SIP request. One that comes from a stack is owned by the handler
// and has been checked (see the package comment); one that is sent must not be
// changed until its result was reported, and its Body may be shared by many.
type Request struct {
	Method   string // as written; methods are told apart by case (RFC 3261 §7.1)
	URI      URI    // the Request-URI: for a sent request the remote target
	From, To Address
	CallID   string
	CSeq     uint32
	Route    []string // to send: the dialog's route set, one address each; received: not filled, see Header
	Header   Header   // all other fields; of a received request Via and Content-Length too
	Body     []byte
	// Flow is where a received request came from. For a sent one it says how to
	// reach the peer: over that connection, or to that datagram address. The
	// zero Flow leaves it to Route and URI.
	Flow Flow

	top Via // the topmost, once Arrived has read it
}

// Error is a failure that a peer is told as a response: bad input, mostly.
type Error struct {
	Status int    // SIP status code
	Reason string // what is wrong, for the reason phrase and logs; no secrets
}

// Errorf makes an Error.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Reason: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return fmt.Sprintf("sipx: %d %s", e.Status, e.Reason) }

// Response returns the response that tells of e.
func (e *Error) Response() *Response { return &Response{Status: e.Status, Reason: e.Reason} }

// NewRequest checks the fields of a received request and makes a Request of it:
// From, To, Call-ID and CSeq go from h into fields of their own, compact names
// become long ones. The error is an [*Error] of status 400. h and body are the
// result's from then on: h is changed in place.
func NewRequest(method, uri string, h Header, body []byte) (*Request, error) {
	r := new(Request)
	if err := r.set(method, uri, h, body); err != nil {
		return nil, err
	}
	return r, nil
}

// set sets r to what NewRequest returns.
func (r *Request) set(method, uri string, h Header, body []byte) error {
	*r = Request{Method: method, Body: body, Header: h}
	if !isToken(method) {
		return Errorf(400, "bad method")
	}
	var err error
	// Header fields in a Request-URI are no part of it (RFC 3261 §19.1.1).
	if r.URI, err = ParseURI(uri); err != nil || r.URI.Headers != "" {
		return Errorf(400, "bad Request-URI")
	}
	var from, to, callID, cseq once
	kept := h[:0]
	for _, f := range h {
		f.Name = longName(f.Name)
		if !isToken(f.Name) || badControl(f.Value) {
			return Errorf(400, "bad header field")
		}
		switch {
		case sameName(f.Name, "From"):
			from.set(f.Value)
		case sameName(f.Name, "To"):
			to.set(f.Value)
		case sameName(f.Name, "Call-ID"):
			callID.set(f.Value)
		case sameName(f.Name, "CSeq"):
			cseq.set(f.Value)
		default:
			kept = append(kept, f)
		}
	}
	r.Header = kept
	if r.From, err = ParseAddress(from.value); err != nil || from.n != 1 {
		return Errorf(400, "bad or missing From")
	}
	if r.To, err = ParseAddress(to.value); err != nil || to.n != 1 {
		return Errorf(400, "bad or missing To")
	}
	r.CallID = strings.TrimSpace(callID.value)
	if callID.n != 1 || r.CallID == "" || len(r.CallID) > 256 || strings.ContainsAny(r.CallID, " \t") {
		return Errorf(400, "bad or missing Call-ID")
	}
	number, of, ok := parseCSeq(cseq.value)
	if cseq.n != 1 || !ok || of != method {
		return Errorf(400, "bad or missing CSeq")
	}
	r.CSeq = number
	return nil
}

// parseCSeq takes a CSeq value apart (RFC 3261 §20.16).
func parseCSeq(s string) (number uint32, method string, ok bool) {
	s = strings.TrimSpace(s)
	end := strings.IndexAny(s, " \t")
	if end < 0 {
		return 0, "", false
	}
	n, err := strconv.ParseUint(s[:end], 10, 31)
	return uint32(n), strings.TrimSpace(s[end:]), err == nil
}

// CSeqMethod returns the method of the CSeq field, or "" where that is missing
// or bad.
func (h Header) CSeqMethod() string {
	if _, method, ok := parseCSeq(h.Get("CSeq")); ok {
		return method
	}
	return ""
}

// once holds the value of a field that must stand exactly once.
type once struct {
	value string
	n     int
}

func (o *once) set(v string) { o.value = v; o.n++ }

func hasControl(s string) bool {
	for i := range len(s) {
		if isControl(s[i]) {
			return true
		}
	}
	return false
}

// badControl reports whether s has a control character where RFC 3261 §25.1 allows
// none. It allows them in quoted strings and comments, behind a backslash.
func badControl(s string) bool {
	if !hasControl(s) {
		return false
	}
	quoted, comment := false, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && (quoted || comment > 0):
			if i++; i < len(s) && (s[i] == '\r' || s[i] == '\n') {
				return true
			}
		case isControl(c):
			return true
		case c == '"' && comment == 0:
			quoted = !quoted
		case c == '(' && !quoted:
			comment++
		case c == ')' && !quoted && comment > 0:
			comment--
		}
	}
	return false
}

func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

// AppendTo appends the whole message to dst. via is the value of the Via field
// that the sender adds, or "" to leave it to Header. Max-Forwards is added where
// Header has none; Content-Length always, so Header must not have it.
func (r *Request) AppendTo(dst []byte, via string) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = r.URI.AppendTo(dst)
	dst = append(dst, " SIP/2.0\r\n"...)
	if via != "" {
		dst = appendField(dst, "Via", via)
	}
	for _, route := range r.Route {
		dst = appendField(dst, "Route", route)
	}
	if _, ok := r.Header.Lookup("Max-Forwards"); !ok {
		dst = append(dst, "Max-Forwards: 70\r\n"...)
	}
	dst = append(dst, "From: "...)
	dst = r.From.AppendTo(dst)
	dst = append(dst, "\r\nTo: "...)
	dst = r.To.AppendTo(dst)
	dst = append(dst, "\r\nCall-ID: "...)
	dst = appendText(dst, r.CallID)
	dst = append(dst, "\r\nCSeq: "...)
	dst = strconv.AppendUint(dst, uint64(r.CSeq), 10)
	dst = append(dst, ' ')
	dst = append(dst, r.Method...)
	dst = append(dst, "\r\n"...)
	for _, f := range r.Header {
		dst = appendField(dst, f.Name, f.Value)
	}
	return appendBody(dst, r.Body)
}

// Response is a SIP response. One to be sent holds only what the handler
// decides: the stack adds Via, From, To, Call-ID and CSeq of the request.
type Response struct {
	Status int
	Reason string // empty for the usual phrase
	ToTag  string // the tag of To; where empty and the request had none, the stack makes one up (not for 100)
	Header Header
	Body   []byte
}

// NewResponse makes a response with these fields.
func NewResponse(status int, fields ...Field) *Response {
	return &Response{Status: status, Header: fields}
}

// ReasonPhrase returns Reason or, where it is empty, the usual phrase of Status.
func (r *Response) ReasonPhrase() string {
	if r.Reason != "" {
		return r.Reason
	}
	return StatusText(r.Status)
}

// AppendTo appends the whole response to req to dst. r.ToTag must be set where
// the request's To has no tag.
func (r *Response) AppendTo(dst []byte, req *Request) []byte {
	dst = r.appendStatusLine(dst)
	for via := range req.Header.Values("Via") {
		dst = appendField(dst, "Via", via)
	}
	dst = append(dst, "From: "...)
	dst = req.From.AppendTo(dst)
	dst = append(dst, "\r\nTo: "...)
	dst = req.To.AppendTo(dst)
	if r.ToTag != "" && req.To.Tag() == "" {
		dst = append(dst, ";tag="...)
		dst = append(dst, r.ToTag...)
	}
	dst = append(dst, "\r\nCall-ID: "...)
	dst = appendText(dst, req.CallID)
	dst = append(dst, "\r\nCSeq: "...)
	dst = strconv.AppendUint(dst, uint64(req.CSeq), 10)
	dst = append(dst, ' ')
	dst = append(dst, req.Method...)
	dst = append(dst, "\r\n"...)
	for _, f := range r.Header {
		dst = appendField(dst, f.Name, f.Value)
	}
	return appendBody(dst, r.Body)
}

func (r *Response) appendStatusLine(dst []byte) []byte {
	dst = append(dst, "SIP/2.0 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = appendText(dst, r.ReasonPhrase())
	return append(dst, "\r\n"...)
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = appendText(dst, value)
	return append(dst, "\r\n"...)
}

// appendText appends s with line ends made spaces: no value, whoever wrote it,
// can add a field or end the header.
func appendText(dst []byte, s string) []byte {
	if strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, '\r') < 0 {
		return append(dst, s...)
	}
	for i := range len(s) {
		if c := s[i]; c == '\n' || c == '\r' {
			dst = append(dst, ' ')
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

func appendBody(dst, body []byte) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

// StatusText returns the usual reason phrase of a status code, or "Unknown".
func StatusText(status int) string {
	switch status {
	case 100:
		return "Trying"
	case 200:
		return "OK"
	case 202:
		return "Accepted"
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 406:
		return "Not Acceptable"
	case 407:
		return "Proxy Authentication Required"
	case 408:
		return "Request Timeout"
	case 410:
		return "Gone"
	case 412:
		return "Conditional Request Failed"
	case 413:
		return "Request Entity Too Large"
	case 414:
		return "Request-URI Too Long"
	case 415:
		return "Unsupported Media Type"
	case 416:
		return "Unsupported URI Scheme"
	case 420:
		return "Bad Extension"
	case 421:
		return "Extension Required"
	case 423:
		return "Interval Too Brief"
	case 480:
		return "Temporarily Unavailable"
	case 481:
		return "Call/Transaction Does Not Exist"
	case 482:
		return "Loop Detected"
	case 483:
		return "Too Many Hops"
	case 484:
		return "Address Incomplete"
	case 485:
		return "Ambiguous"
	case 489:
		return "Bad Event"
	case 500:
		return "Server Internal Error"
	case 501:
		return "Not Implemented"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Server Time-out"
	case 505:
		return "Version Not Supported"
	case 513:
		return "Message Too Large"
	case 603:
		return "Decline"
	case 604:
		return "Does Not Exist Anywhere"
	}
	return "Unknown"
}
