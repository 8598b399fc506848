// Package related reads and writes multipart messages: those of RFC 4662 §5, which carry the states of a list, and, to
// read, any other, such as the multipart/mixed body of a request.
package related

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/rlmi"
)

// Part is one body of a multipart/related message.
type Part struct {
	ID   string // Content-ID without angle brackets
	Type string // Content-Type
	Body []byte // without its transfer encoding

	// Header holds the other fields, such as Content-Disposition; nil for none. Content-Length and
	// Content-Transfer-Encoding are not among them.
	Header textproto.MIMEHeader
}

// isOwnHeader reports whether a field of that canonical name is not for Part.Header.
func isOwnHeader(name string) bool {
	switch name {
	case "Content-Id", "Content-Type", "Content-Length", "Content-Transfer-Encoding":
		return true
	}
	return false
}

// Message is the body of a NOTIFY for a list subscription (RFC 4662 §5): multipart/related with the RLMI document
// as its root, and the states that its instances name by their CID.
type Message struct {
	Start string // Content-ID of the RLMI document, without angle brackets
	List  *rlmi.List
	Parts []Part // the others, in order; one of type multipart/related is a list in the list
}

// ErrMessage is what the errors of Decode and Parts wrap where the message is not the one that was asked for, or has a
// fault of its own. Those of the list in it are errors of package pidf.
var ErrMessage = errors.New("related: not such a multipart message")

// defaultBytes is the limit that package pidf has.
const defaultBytes = 1 << 20

// maxParts bounds the parts of one message; far more than a list subscription is granted entries.
const maxParts = 10_000

// Append appends the message to dst, and returns the extended slice and its Content-Type.
//
// Content identifiers and types are written as they are, less what could end their header. The boundary is a
// hash of the bodies, so that none of them can contain it and equal messages are equal bytes.
func (m *Message) Append(dst []byte) (body []byte, contentType string) {
	root := m.List.AppendXML(nil)
	h := sha256.New()
	h.Write(root)
	for _, p := range m.Parts {
		h.Write(p.Body)
	}
	boundary := hex.EncodeToString(h.Sum(nil)[:16])
	dst = appendPart(dst, boundary, Part{ID: m.Start, Type: rlmi.MediaType + `;charset="UTF-8"`, Body: root})
	for _, p := range m.Parts {
		dst = appendPart(dst, boundary, p)
	}
	dst = append(dst, "--"+boundary+"--\r\n"...)
	return dst, `multipart/related;type="` + rlmi.MediaType + `";start="<` + escapeQuoted(header(m.Start)) +
		`>";boundary=` + boundary
}

func appendPart(dst []byte, boundary string, p Part) []byte {
	dst = append(dst, "--"...)
	dst = append(dst, boundary...)
	dst = append(dst, "\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <"...)
	dst = append(dst, header(p.ID)...)
	dst = append(dst, ">\r\nContent-Type: "...)
	dst = append(dst, header(p.Type)...)
	for _, name := range slices.Sorted(maps.Keys(p.Header)) {
		if !isToken(name) || isOwnHeader(textproto.CanonicalMIMEHeaderKey(name)) {
			continue
		}
		for _, value := range p.Header[name] {
			dst = append(dst, "\r\n"+name+": "...)
			dst = append(dst, printable(value)...)
		}
	}
	dst = append(dst, "\r\n\r\n"...)
	dst = append(dst, p.Body...)
	return append(dst, "\r\n"...)
}

// escapeQuoted escapes what a quoted string cannot hold as it is.
func escapeQuoted(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`)
}

// header removes what would end a header or an identifier in it.
func header(s string) string {
	return clean(s, func(r rune) bool { return isControl(r) || r == '<' || r == '>' })
}

// printable removes what would end a header.
func printable(s string) string { return clean(s, isControl) }

func isControl(r rune) bool { return r < 0x20 || r == 0x7F }

// clean removes what is unsafe, and space around the rest.
func clean(s string, unsafe func(rune) bool) string {
	if !strings.ContainsFunc(s, unsafe) {
		return strings.TrimSpace(s)
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unsafe(r) {
			return -1
		}
		return r
	}, s))
}

// Decode reads a multipart/related message. Its root, which d reads, is the part that the parameter start names, or
// else the first. The limit of bytes is for the message as a whole; the bodies of other parts are not looked into.
func Decode(d pidf.Decoder, contentType string, body []byte) (*Message, error) {
	media, parameters := mediaType(contentType)
	if media != "multipart/related" || parameters["boundary"] == "" {
		return nil, fmt.Errorf("%w: Content-Type %q", ErrMessage, contentType)
	}
	all, err := parts(d.Limits, parameters["boundary"], body)
	if err != nil {
		return nil, err
	}
	start := identifierOf(parameters["start"])
	for i, p := range all {
		if start != "" && p.ID != start {
			continue
		}
		if media, _ := mediaType(p.Type); media != rlmi.MediaType {
			return nil, fmt.Errorf("%w: its root is %q", ErrMessage, p.Type)
		}
		list, err := rlmi.Decode(d, p.Body)
		if err != nil {
			return nil, err
		}
		return &Message{Start: p.ID, List: list, Parts: append(all[:i:i], all[i+1:]...)}, nil
	}
	return nil, fmt.Errorf("%w: no root part", ErrMessage)
}

// Parts reads the parts of any multipart message, such as the multipart/mixed one of a SUBSCRIBE with several bodies.
// The limit of bytes in d is for the message as a whole.
func Parts(d pidf.Decoder, contentType string, body []byte) ([]Part, error) {
	media, parameters := mediaType(contentType)
	if !strings.HasPrefix(media, "multipart/") || parameters["boundary"] == "" {
		return nil, fmt.Errorf("%w: Content-Type %q", ErrMessage, contentType)
	}
	return parts(d.Limits, parameters["boundary"], body)
}

func parts(l pidf.Limits, boundary string, body []byte) ([]Part, error) {
	if l.Bytes >= 0 && len(body) > cmp.Or(l.Bytes, defaultBytes) {
		return nil, fmt.Errorf("%w: %w", ErrMessage, pidf.ErrTooLarge)
	}
	most := maxParts
	if l.Elements < 0 {
		most = math.MaxInt
	}
	return readParts(body, boundary, most)
}

// identifierOf returns a Content-ID without angle brackets, or from a cid: URL (RFC 2392).
func identifierOf(s string) string {
	s = strings.Trim(s, "<> ")
	if len(s) > 4 && strings.EqualFold(s[:4], "cid:") {
		if id, err := url.PathUnescape(s[4:]); err == nil {
			return id
		}
	}
	return s
}

// Part returns the part with a Content-ID, and whether there is one.
func (m *Message) Part(id string) (Part, bool) {
	for _, p := range m.Parts {
		if p.ID == id {
			return p, true
		}
	}
	return Part{}, false
}
