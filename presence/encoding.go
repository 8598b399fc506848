package presence

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"

	"github.com/openblustar/blustar/sipx"
)

// contentCodings are those that bodies may come in.
const contentCodings = "gzip, deflate, identity"

// expand replaces a compressed body (RFC 3261 §20.12) by what it holds, which MaxBody
// bounds before it is there. The request is a copy then: the stack's own stays as it is.
func (s *Server) expand(x *exchange) error {
	coding := strings.ToLower(strings.TrimSpace(x.req.Header.Get("Content-Encoding")))
	if n := x.req.Header.Count("Content-Encoding"); n == 0 || n == 1 && coding == "identity" || len(x.req.Body) == 0 {
		return nil
	} else if n > 1 {
		coding = "" // one upon the other
	}
	var r io.Reader
	var err error
	switch coding {
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(x.req.Body))
	case "deflate":
		r, err = inflate(x.req.Body)
	default:
		return &refused{sipx.NewResponse(415, sipx.Field{Name: "Accept-Encoding", Value: contentCodings})}
	}
	if err != nil {
		return sipx.Errorf(400, "the body is not %s", coding)
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(s.cfg.MaxBody)+1))
	switch {
	case len(body) > s.cfg.MaxBody:
		return sipx.Errorf(413, "the body is more than %d bytes when it is expanded", s.cfg.MaxBody)
	case err != nil:
		return sipx.Errorf(400, "the body is not %s", coding)
	}
	req := *x.req
	req.Body = body
	x.req = &req
	return nil
}

// inflate reads "deflate", which is the zlib format (RFC 9110 §8.4.1.2); some send what
// is inside of it alone.
func inflate(body []byte) (io.Reader, error) {
	if len(body) >= 2 && body[0]&0x0f == 8 && (uint(body[0])<<8|uint(body[1]))%31 == 0 { // RFC 1950 §2.2
		return zlib.NewReader(bytes.NewReader(body))
	}
	return flate.NewReader(bytes.NewReader(body)), nil
}
