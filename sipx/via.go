package sipx

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// Via is one element of a Via field (RFC 3261 §20.42).
type Via struct {
	Transport string // in lower case: "udp", "tcp", …
	Host      string // the host of sent-by, as written; an IPv6 address keeps its brackets
	Port      int    // the port of sent-by, 0 where none was written
	Params    string // from the first ';' on, as written, or empty
}

var errVia = errors.New("sipx: bad Via")

// ParseVia parses one element of a Via field.
func ParseVia(s string) (Via, error) {
	sent, params := cutKeep(s, ';')
	name, rest, ok1 := strings.Cut(sent, "/")
	version, rest, ok2 := strings.Cut(rest, "/")
	rest = strings.TrimSpace(rest)
	end := strings.IndexAny(rest, " \t")
	if !ok1 || !ok2 || end < 0 ||
		!strings.EqualFold(strings.TrimSpace(name), "SIP") || strings.TrimSpace(version) != "2.0" {
		return Via{}, errVia
	}
	v := Via{Transport: lowerTransport(rest[:end]), Params: params}
	for p := range strings.SplitSeq(strings.TrimPrefix(params, ";"), ";") {
		if params != "" && strings.TrimSpace(p) == "" {
			return Via{}, errVia
		}
	}
	host, port := strings.TrimSpace(rest[end:]), ""
	if strings.HasPrefix(host, "[") {
		i := strings.IndexByte(host, ']')
		if i < 0 {
			return Via{}, errVia
		}
		host, port = host[:i+1], strings.TrimSpace(host[i+1:])
		if port != "" && port[0] != ':' {
			return Via{}, errVia
		}
		port = strings.TrimPrefix(port, ":")
	} else {
		host, port, _ = strings.Cut(host, ":")
		host, port = strings.TrimSpace(host), strings.TrimSpace(port)
	}
	if v.Host = host; host == "" || strings.ContainsAny(host, " \t,/<>\"@") || !isToken(v.Transport) {
		return Via{}, errVia
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Via{}, errVia
		}
		v.Port = int(n)
	}
	return v, nil
}

// lowerTransport is strings.ToLower without an allocation for the usual ones.
func lowerTransport(s string) string {
	switch s {
	case "UDP":
		return "udp"
	case "TCP":
		return "tcp"
	case "TLS":
		return "tls"
	case "WS":
		return "ws"
	case "WSS":
		return "wss"
	}
	return strings.ToLower(s)
}

// Param returns the value of the parameter name, compared without case, and
// whether it is there at all.
func (v Via) Param(name string) (string, bool) { return param(v.Params, name) }

// Branch returns the branch parameter, or "".
func (v Via) Branch() string {
	branch, _ := v.Param("branch")
	return branch
}

// String writes the element as a field value.
func (v Via) String() string {
	s := "SIP/2.0/" + strings.ToUpper(v.Transport) + " " + v.Host
	if v.Port != 0 {
		s += ":" + strconv.Itoa(v.Port)
	}
	return s + v.Params
}

// TopVia returns the topmost element of the Via fields.
func (h Header) TopVia() (Via, error) {
	for first := range SplitList(h.Get("Via")) {
		return ParseVia(first)
	}
	return Via{}, errVia
}

// Arrived notes on r that it came over f, as a server transport must: it sets
// r.Flow and adds to the topmost Via the received and rport parameters
// (RFC 3261 §18.2.1, RFC 3581 §4), which responses repeat.
//
// It returns where a response to a datagram goes. That is the source address
// where the Via has an rport parameter, and where it names another host than
// the packet came from: behind a NAT the port in the Via means nothing. Else it
// is the port that the Via asks for (RFC 3261 §18.2.2).
//
// The error, of status 400, is about a Via that is missing or bad.
func (r *Request) Arrived(f Flow) (reply netip.AddrPort, err error) {
	r.Flow = f
	at := -1
	for i := range r.Header {
		if sameName(r.Header[i].Name, "Via") {
			at = i
			break
		}
	}
	if at < 0 {
		return f.Remote, Errorf(400, "missing Via")
	}
	field := r.Header[at].Value
	first, rest := field, ""
	if strings.IndexByte(field, ',') >= 0 {
		for part := range SplitList(field) {
			end := strings.Index(field, part) + len(part)
			first, rest = part, field[end:]
			break
		}
	}
	via, err := ParseVia(first)
	if err != nil {
		return f.Remote, Errorf(400, "bad Via")
	}
	r.top = via
	rport, asked := via.Param("rport")
	sentBy, _ := netip.ParseAddr(strings.Trim(via.Host, "[]"))
	source := f.Remote.Addr().Unmap()
	same := sentBy.Unmap() == source

	reply = f.Remote
	if same && !asked {
		reply = netip.AddrPortFrom(f.Remote.Addr(), uint16(via.Port))
		if via.Port == 0 {
			reply = netip.AddrPortFrom(f.Remote.Addr(), 5060)
		}
	}
	_, there := via.Param("received")
	fill, receive := asked && rport == "", !there && (!same || asked && rport == "")
	if !fill && !receive {
		return reply, nil
	}
	var scratch [256]byte
	noted := append(scratch[:0], first...)
	if fill {
		noted = appendRport(scratch[:0], first, f.Remote.Port())
	}
	if receive {
		noted = source.AppendTo(append(noted, ";received="...))
	}
	r.Header[at].Value = string(append(noted, rest...))
	return reply, nil
}

// appendRport appends a Via element with its empty rport parameter given a value.
func appendRport(dst []byte, via string, port uint16) []byte {
	for i := 0; ; {
		j := strings.IndexByte(via[i:], ';')
		if j < 0 {
			return append(dst, via...)
		}
		i += j + 1
		end := len(via)
		if k := strings.IndexByte(via[i:], ';'); k >= 0 {
			end = i + k
		}
		name, _, _ := strings.Cut(via[i:end], "=")
		if strings.EqualFold(strings.TrimSpace(name), "rport") {
			dst = append(append(dst, via[:i]...), "rport="...)
			return append(strconv.AppendUint(dst, uint64(port), 10), via[end:]...)
		}
	}
}

// branchCookie starts every branch that is unique (RFC 3261 §8.1.1.7).
const branchCookie = "z9hG4bK"

// TransactionKey returns what a retransmission of r has in common with it
// (RFC 3261 §17.2.3), and nothing else that came over the same flow has. It
// needs a Via; without one it is "".
func (r *Request) TransactionKey() string { return string(r.AppendTransactionKey(nil)) }

// AppendTransactionKey appends the [Request.TransactionKey] to dst.
func (r *Request) AppendTransactionKey(dst []byte) []byte {
	via := r.top
	if via.Host == "" {
		var err error
		if via, err = r.Header.TopVia(); err != nil {
			return dst
		}
	}
	method := r.Method
	if method == "ACK" {
		method = "INVITE"
	}
	if branch := via.Branch(); len(branch) > len(branchCookie) &&
		strings.EqualFold(branch[:len(branchCookie)], branchCookie) {
		dst = append(append(dst, branch...), '\n')
		dst = append(append(dst, via.Host...), '\n')
		dst = append(strconv.AppendInt(dst, int64(via.Port), 10), '\n')
		return append(dst, method...)
	}
	// An element of RFC 2543, which knows no unique branch.
	return append(dst, strings.Join([]string{r.URI.String(), r.To.Tag(), r.From.Tag(), r.CallID,
		strconv.FormatUint(uint64(r.CSeq), 10), method, r.Header.Get("Via")}, "\n")...)
}
