package sipx

import (
	"errors"
	"strings"
)

// AppendRejection appends to dst the response to a request that could not be
// parsed: status and reason of err, which should be an [*Error] (else 400), and
// what can be found of the fields that a response repeats.
//
// It appends nothing where no response is due: data is no request, is an ACK, or
// has no Via field.
func AppendRejection(dst, data []byte, err error) []byte {
	start, h, _, _ := parse(data, nil)
	method, rest, ok := strings.Cut(start, " ")
	if !ok || method == "ACK" || strings.HasPrefix(method, "SIP/") || !strings.Contains(rest, " ") {
		return dst
	}
	for i := range h {
		h[i].Name = longName(h[i].Name)
	}
	if h.Count("Via") == 0 {
		return dst
	}
	res := &Response{Status: 400}
	if e, ok := errors.AsType[*Error](err); ok {
		res = e.Response()
	}
	dst = res.appendStatusLine(dst)
	for via := range h.Values("Via") {
		dst = appendField(dst, "Via", via)
	}
	for _, name := range []string{"From", "To", "Call-ID", "CSeq"} {
		if v, ok := h.Lookup(name); ok {
			dst = appendField(dst, name, v)
		}
	}
	return appendBody(dst, nil)
}
