package caldav

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/openblustar/blustar/sipx"
)

// decoded is a body whose bytes were converted to UTF-8 already, after the charset
// parameter of its Content-Type: what the document declares does not count then
// (RFC 7303 §3).
type decoded struct {
	io.Reader
	io.Closer
}

// decodedBody returns the body of an answer, converted where its Content-Type
// names a charset.
func decodedBody(resp *http.Response) (io.ReadCloser, error) {
	charset, ok := sipx.ParamOf(resp.Header.Get("Content-Type"), "charset")
	if !ok || charset == "" {
		return resp.Body, nil
	}
	r, err := charsetReader(charset, resp.Body)
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	return decoded{r, resp.Body}, nil
}

// charsetReader converts the charsets that XML documents of calendar servers have
// to UTF-8.
func charsetReader(label string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return in, nil // a byte past ASCII is UTF-8 or an error of the parser
	case "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1", "windows-1252":
		return &latin1{in: bufio.NewReader(in)}, nil
	}
	return nil, fmt.Errorf("caldav: charset %q", label)
}

// latin1 converts ISO 8859-1 to UTF-8.
type latin1 struct{ in *bufio.Reader }

func (l *latin1) Read(p []byte) (n int, err error) {
	if len(p) < utf8.UTFMax {
		return 0, io.ErrShortBuffer
	}
	for n+utf8.UTFMax <= len(p) {
		c, err := l.in.ReadByte()
		if err != nil {
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
		n += utf8.EncodeRune(p[n:], rune(c))
		if l.in.Buffered() == 0 {
			break
		}
	}
	return n, nil
}
