package related

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/quotedprintable"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/openblustar/blustar/pidf"
)

// mediaType splits a Content-Type into its type, in small letters, and its parameters. Package mime refuses what some
// servers write: a type parameter without the quotes that its slash demands, or space around an equals sign.
func mediaType(contentType string) (media string, parameters map[string]string) {
	media, rest, _ := strings.Cut(contentType, ";")
	parameters = make(map[string]string)
	for rest != "" {
		i := strings.IndexAny(rest, ";=")
		if i < 0 || rest[i] == ';' { // one without a value
			_, rest, _ = strings.Cut(rest, ";")
			continue
		}
		name, value := rest[:i], ""
		rest = strings.TrimLeft(rest[i+1:], " \t\r\n")
		if strings.HasPrefix(rest, `"`) {
			value, rest = quoted(rest[1:])
			_, rest, _ = strings.Cut(rest, ";")
		} else {
			value, rest, _ = strings.Cut(rest, ";")
			value = strings.TrimSpace(value)
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := parameters[name]; !twice {
			parameters[name] = value
		}
	}
	for name := range parameters { // RFC 2231 §3: long values in pieces
		if base, first := strings.CutSuffix(name, "*0"); first && parameters[base] == "" {
			for n := 0; ; n++ {
				piece, ok := parameters[base+"*"+strconv.Itoa(n)]
				if !ok {
					break
				}
				parameters[base] += piece
			}
		}
	}
	return strings.ToLower(strings.TrimSpace(media)), parameters
}

// quoted returns the quoted string that goes on with s, and what follows it.
func quoted(s string) (value, rest string) {
	var b []byte
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return string(b), s[i+1:]
		case '\\':
			if i++; i == len(s) {
				return string(b), ""
			}
		}
		b = append(b, s[i])
	}
	return string(b), ""
}

// readParts cuts a multipart body at its delimiters (RFC 2046 §5.1.1) and reads the parts. Where the strict rules fail,
// two faults of products are forgiven: a delimiter that stands at the end of a line instead of on one of its own, as
// liblinphone writes it, and an empty line above the header of a part, as BroadWorks does.
func readParts(body []byte, boundary string, max int) ([]Part, error) {
	parts, err := cutParts(body, boundary, max, true)
	if err != nil && !errors.Is(err, pidf.ErrTooMany) {
		if lenient, err := cutParts(body, boundary, max, false); err == nil {
			return lenient, nil
		}
	}
	return parts, err
}

func cutParts(body []byte, boundary string, max int, strict bool) ([]Part, error) {
	delimiter := []byte("--" + boundary)
	start := -1 // of the part before the delimiter; none before the first
	var parts []Part
	for at := 0; ; {
		i := bytes.Index(body[at:], delimiter)
		if i < 0 {
			return nil, fmt.Errorf("%w: no closing delimiter", ErrMessage)
		}
		i += at
		at = i + len(delimiter)
		rest, last := bytes.CutPrefix(body[at:], []byte("--"))
		rest = bytes.TrimLeft(rest, " \t\r")
		if !bytes.HasPrefix(rest, []byte("\n")) && (!last || len(rest) > 0) {
			continue // the start of a longer boundary, of a multipart within
		}
		if strict && i > 0 && body[i-1] != '\n' {
			continue // the end of a line of text
		}
		if start >= 0 {
			if len(parts) >= max {
				return nil, fmt.Errorf("%w: %w parts", ErrMessage, pidf.ErrTooMany)
			}
			p, err := readPart(cutLineEnd(body[start:i]), strict)
			if err != nil {
				return nil, err
			}
			parts = append(parts, p)
		}
		if last {
			return parts, nil
		}
		start = len(body) - len(rest) + len("\n")
		at = start
	}
}

// maxHeaderLines bounds the header of a part, which has four or five.
const maxHeaderLines = 100

// cutLineEnd removes the line end that belongs to the delimiter behind it.
func cutLineEnd(b []byte) []byte {
	if line, ok := bytes.CutSuffix(b, []byte("\r\n")); ok {
		return line
	}
	return bytes.TrimSuffix(b, []byte("\n"))
}

// readPart reads the header fields and the body of a part. A part without header fields may have an empty line before
// the fields that it has: those of a list, one of which is the Content-ID.
func readPart(data []byte, strict bool) (Part, error) {
	h, content, err := readHeader(data)
	if err == nil && len(h) == 0 && bytes.HasPrefix(content, []byte("Content-")) {
		if more, rest, err := readHeader(content); err == nil && (!strict || more.Get("Content-Type") != "") {
			h, content = more, rest
		}
	}
	if err != nil {
		return Part{}, err
	}
	p := Part{ID: strings.Trim(h.Get("Content-ID"), "<> "), Type: h.Get("Content-Type")}
	if p.Body, err = io.ReadAll(transferDecoder(bytes.NewReader(content), h)); err != nil {
		return Part{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	maps.DeleteFunc(h, func(name string, _ []string) bool { return isOwnHeader(name) })
	if len(h) > 0 {
		p.Header = h
	}
	return p, nil
}

// readHeader reads header fields up to an empty line.
func readHeader(data []byte) (textproto.MIMEHeader, []byte, error) {
	h := make(textproto.MIMEHeader)
	last := ""
	for n := 0; len(data) > 0; n++ {
		if n == maxHeaderLines {
			return nil, nil, fmt.Errorf("%w: %w lines in the header of a part", ErrMessage, pidf.ErrTooMany)
		}
		var line []byte
		line, data, _ = bytes.Cut(data, []byte("\n"))
		text := strings.TrimRight(string(line), "\r")
		if text == "" {
			break
		}
		if folded := text[0] == ' ' || text[0] == '\t'; folded && last != "" {
			values := h[last]
			values[len(values)-1] += " " + strings.TrimSpace(text)
			continue
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok || !isToken(strings.TrimSpace(name)) {
			return nil, nil, fmt.Errorf("%w: a line in the header of a part that is no field", ErrMessage)
		}
		last = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
		h[last] = append(h[last], strings.TrimSpace(value))
	}
	return h, data, nil
}

// isToken reports whether s can be the name of a header field.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7F || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
}

// spaceless drops the spaces and tabs that a base64 decoder, other than RFC 2045 §6.8, does not pass over.
type spaceless struct{ io.Reader }

func (s spaceless) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	kept := bytes.Map(func(r rune) rune {
		if r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, p[:n])
	return copy(p, kept), err
}

func transferDecoder(r io.Reader, h textproto.MIMEHeader) io.Reader {
	switch strings.ToLower(h.Get("Content-Transfer-Encoding")) {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, spaceless{r})
	case "quoted-printable":
		return quotedprintable.NewReader(r)
	}
	return r
}
