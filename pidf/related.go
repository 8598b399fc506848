package pidf

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"strings"
)

// The media types of the documents of this package.
const (
	TypePIDF          = "application/pidf+xml"
	TypeXPIDF         = "application/xpidf+xml"
	TypeResourceLists = "application/resource-lists+xml"
	TypeRLMI          = "application/rlmi+xml"
	TypeWatcherInfo   = "application/watcherinfo+xml"
)

// Part is one body of a multipart/related message.
type Part struct {
	ID   string // Content-ID without angle brackets
	Type string // Content-Type
	Body []byte
}

// Related is the body of a NOTIFY for a list subscription (RFC 4662 §5): multipart/related with the RLMI document
// as its root, and the states that its instances name by their CID.
type Related struct {
	Start string // Content-ID of the RLMI document, without angle brackets
	List  *ListInfo
	Parts []Part // the others, in order; one of type multipart/related is a list in the list
}

// ErrRelated is what errors of DecodeRelated wrap when the message is not a multipart/related one with an RLMI root.
var ErrRelated = errors.New("pidf: not a multipart/related message with a list")

// maxParts bounds the parts of one message; far more than a list subscription is granted entries.
const maxParts = 10_000

// Append appends the message to dst, and returns the extended slice and its Content-Type.
//
// Content identifiers and types are written as they are, less what could end their header. The boundary is a
// hash of the bodies, so that none of them can contain it and equal messages are equal bytes.
func (r *Related) Append(dst []byte) (body []byte, contentType string) {
	root := r.List.AppendXML(nil)
	h := sha256.New()
	h.Write(root)
	for _, p := range r.Parts {
		h.Write(p.Body)
	}
	boundary := hex.EncodeToString(h.Sum(nil)[:16])
	dst = appendPart(dst, boundary, Part{r.Start, TypeRLMI + `;charset="UTF-8"`, root})
	for _, p := range r.Parts {
		dst = appendPart(dst, boundary, p)
	}
	dst = append(dst, "--"+boundary+"--\r\n"...)
	return dst, `multipart/related;type="` + TypeRLMI + `";start="<` + header(r.Start) + `>";boundary="` + boundary + `"`
}

func appendPart(dst []byte, boundary string, p Part) []byte {
	dst = append(dst, "--"...)
	dst = append(dst, boundary...)
	dst = append(dst, "\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <"...)
	dst = append(dst, header(p.ID)...)
	dst = append(dst, ">\r\nContent-Type: "...)
	dst = append(dst, header(p.Type)...)
	dst = append(dst, "\r\n\r\n"...)
	dst = append(dst, p.Body...)
	return append(dst, "\r\n"...)
}

// header removes what would end a header or an identifier in it.
func header(s string) string {
	if !strings.ContainsFunc(s, unsafeInHeader) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unsafeInHeader(r) {
			return -1
		}
		return r
	}, s)
}

func unsafeInHeader(r rune) bool { return r < 0x20 || r == 0x7F || r == '<' || r == '>' }

// DecodeRelated reads a message with the default limits.
func DecodeRelated(contentType string, body []byte) (*Related, error) {
	return Decoder{}.DecodeRelated(contentType, body)
}

// DecodeRelated reads a multipart/related message. Its root is the part that the parameter start names, or else the
// first. The limit of bytes is for the message as a whole; the bodies of parts are not looked into.
func (c Decoder) DecodeRelated(contentType string, body []byte) (*Related, error) {
	limits := c.Limits.withDefaults()
	if len(body) > limits.Bytes {
		return nil, &SyntaxError{Line: 1, Column: 1, Kind: ErrTooLarge, Detail: "more bytes than the limit"}
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "multipart/related" || params["boundary"] == "" {
		return nil, fmt.Errorf("%w: Content-Type %q", ErrRelated, contentType)
	}
	parts, err := readParts(multipart.NewReader(bytes.NewReader(body), params["boundary"]))
	if err != nil {
		return nil, err
	}
	start := strings.Trim(params["start"], "<> ")
	for i, p := range parts {
		if start != "" && p.ID != start {
			continue
		}
		if t, _, _ := mime.ParseMediaType(p.Type); t != TypeRLMI {
			return nil, fmt.Errorf("%w: its root is %q", ErrRelated, p.Type)
		}
		list, err := c.DecodeListInfo(p.Body)
		if err != nil {
			return nil, err
		}
		return &Related{Start: p.ID, List: list, Parts: append(parts[:i:i], parts[i+1:]...)}, nil
	}
	return nil, fmt.Errorf("%w: no root part", ErrRelated)
}

func readParts(r *multipart.Reader) ([]Part, error) {
	var parts []Part
	for {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return parts, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRelated, err)
		}
		if len(parts) == maxParts {
			return nil, fmt.Errorf("%w: %w parts", ErrRelated, ErrTooMany)
		}
		data, err := io.ReadAll(transferDecoder(part, part.Header))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRelated, err)
		}
		parts = append(parts, Part{
			ID:   strings.Trim(part.Header.Get("Content-ID"), "<> "),
			Type: part.Header.Get("Content-Type"),
			Body: data,
		})
	}
}

func transferDecoder(r io.Reader, h textproto.MIMEHeader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(h.Get("Content-Transfer-Encoding"))) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		return quotedprintable.NewReader(r)
	}
	return r
}

// Part returns the part with a Content-ID, and whether there is one.
func (r *Related) Part(id string) (Part, bool) {
	for _, p := range r.Parts {
		if p.ID == id {
			return p, true
		}
	}
	return Part{}, false
}
