package pidf

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// load makes data the document of d: one copy of it as UTF-8, from which all strings of the result are cut. It reads
// the XML declaration, and sees to it that what follows holds no illegal character.
func (d *decoder) load(data []byte) bool {
	if len(data) > d.limits.Bytes {
		d.fail(0, ErrTooLarge, "more bytes than the limit")
		return false
	}
	wide, marked := false, false
	switch {
	case len(data) == 0:
		d.fail(0, ErrSyntax, "no document")
		return false
	case bytes.HasPrefix(data, []byte("\xEF\xBB\xBF")):
		data, marked = data[3:], true
	case bytes.HasPrefix(data, []byte("\xFF\xFE")), bytes.HasPrefix(data, []byte("<\x00")):
		wide = d.loadUTF16(data, binary.LittleEndian)
	case bytes.HasPrefix(data, []byte("\xFE\xFF")), bytes.HasPrefix(data, []byte("\x00<")):
		wide = d.loadUTF16(data, binary.BigEndian)
	}
	if d.err != nil {
		return false
	}
	if !wide {
		d.doc = string(data)
	}
	if end := len(strings.TrimRight(d.doc, "\x00")); end < len(d.doc) {
		d.doc, d.from = d.doc[:end], end
		d.warn("zero bytes behind the document dropped")
	}
	label, ok := d.xmlDeclaration()
	if !ok {
		return false
	}
	if d.charset != "" && !marked {
		label = d.charset
	}
	return (wide || d.checkEncoding(label)) && d.checkCharacters()
}

// loadUTF16 reports success. Not even BluStar's own clients send UTF-16, but XML 1.0 §4.3.3 obliges readers to take it.
func (d *decoder) loadUTF16(data []byte, order binary.ByteOrder) bool {
	if len(data)%2 != 0 {
		d.fail(0, ErrEncoding, "an odd number of bytes in UTF-16")
		return false
	}
	dst := make([]byte, 0, len(data))
	for i := 0; i < len(data); i += 2 {
		r := rune(order.Uint16(data[i:]))
		switch {
		case r == 0xFEFF && i == 0:
			continue
		case utf16.IsSurrogate(r):
			low := rune(0)
			if i+2 < len(data) {
				low = rune(order.Uint16(data[i+2:]))
			}
			i += 2
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				d.doc = string(dst)
				d.fail(len(dst), ErrEncoding, "half a character in UTF-16")
				return false
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	d.doc = string(dst)
	return true
}

// xmlDeclaration moves past the XML declaration (XML 1.0 §2.8) and returns the encoding that it names.
func (d *decoder) xmlDeclaration() (encoding string, ok bool) {
	start := len(d.doc) - len(trimLeft(d.doc))
	rest := d.doc[start:]
	if !strings.HasPrefix(rest, "<?xml") || len(rest) < 6 || !isSpace(rest[5]) {
		return "", true
	}
	if start > 0 {
		d.from = start
		d.warn("space before the XML declaration")
	}
	end := strings.Index(rest, "?>")
	if end < 0 {
		d.fail(start, ErrSyntax, "XML declaration without an end")
		return "", false
	}
	d.pos = start + end + 2
	fields := rest[len("<?xml"):end]
	position := 0
	for {
		spaces := len(fields)
		fields = trimLeft(fields)
		if fields == "" && position > 0 {
			return encoding, true
		}
		name, value, tail, good := pseudoAttribute(fields)
		good = good && spaces > len(fields)
		switch {
		case good && name == "version" && position == 0 && isVersion(value):
			position = 1
			if value != "1.0" {
				d.from = start
				d.warn("XML version " + value + " read as 1.0")
			}
		case good && name == "encoding" && position == 1 && isEncodingName(value):
			position, encoding = 2, value
		case good && name == "standalone" && (position == 1 || position == 2) && (value == "yes" || value == "no"):
			position = 3
		default:
			d.fail(start, ErrSyntax, "bad XML declaration")
			return "", false
		}
		fields = tail
	}
}

func isVersion(s string) bool {
	minor, ok := strings.CutPrefix(s, "1.")
	return ok && minor != "" && strings.Trim(minor, "0123456789") == ""
}

func isEncodingName(s string) bool {
	return isNCName(s) && s[0] != '_' && isASCII(s)
}

// pseudoAttribute reads name = "value".
func pseudoAttribute(s string) (name, value, tail string, ok bool) {
	n := ncNameLen(s)
	name, rest := s[:n], trimLeft(s[n:])
	if n == 0 || !strings.HasPrefix(rest, "=") {
		return "", "", "", false
	}
	rest = trimLeft(rest[1:])
	if rest == "" || rest[0] != '"' && rest[0] != '\'' {
		return "", "", "", false
	}
	value, tail, ok = strings.Cut(rest[1:], rest[:1])
	return name, value, tail, ok
}

// checkEncoding sees to it that the document is UTF-8, whatever its declaration says: most products that label
// their documents otherwise write UTF-8 all the same, and those that do mean ISO 8859-1 betray themselves with the
// first character past ASCII.
func (d *decoder) checkEncoding(label string) bool {
	d.from = 0
	if utf8.ValidString(d.doc) {
		switch strings.ToLower(label) {
		case "", "utf-8", "utf8":
			return true
		case "us-ascii", "ascii", "iso-8859-1", "latin1", "windows-1252":
			if isASCII(d.doc) {
				return true
			}
		}
		d.warn("encoding " + label + " is really UTF-8")
		return true
	}
	switch strings.ToLower(label) {
	case "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1", "l1", "windows-1252", "cp1252":
		d.pos += strings.Count(d.doc[:d.pos], "") - 1 - utf8.RuneCountInString(d.doc[:d.pos])
		d.doc = fromWindows1252(d.doc)
		d.warn("encoding " + label + " converted to UTF-8")
		return true
	}
	for i, r := range d.doc {
		if _, n := utf8.DecodeRuneInString(d.doc[i:]); r == utf8.RuneError && n == 1 {
			d.fail(i, ErrEncoding, "bytes that are no UTF-8")
			break
		}
	}
	return false
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// fromWindows1252 converts ISO 8859-1, as the Web does: read as Windows-1252, which has characters where ISO 8859-1
// has control characters that nobody writes (WHATWG Encoding §4.2).
func fromWindows1252(s string) string {
	const high = "\u20AC\u0081\u201A\u0192\u201E\u2026\u2020\u2021\u02C6\u2030\u0160\u2039\u0152\u008D\u017D\u008F" +
		"\u0090\u2018\u2019\u201C\u201D\u2022\u2013\u2014\u02DC\u2122\u0161\u203A\u0153\u009D\u017E\u0178"
	table := []rune(high)
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	for i := range len(s) {
		r := rune(s[i])
		if r >= 0x80 && r < 0xA0 {
			r = table[r-0x80]
		}
		b.WriteRune(r)
	}
	return b.String()
}

// checkCharacters refuses what XML has no place for (XML 1.0 §2.2). The document is valid UTF-8, which leaves the
// control characters, U+FFFE and U+FFFF.
func (d *decoder) checkCharacters() bool {
	for i := 0; i < len(d.doc); i++ {
		c := d.doc[i]
		if c >= 0x20 && c != 0xEF || c == '\n' || c == '\r' || c == '\t' {
			continue
		}
		if c == 0xEF && !strings.HasPrefix(d.doc[i:], "\uFFFE") && !strings.HasPrefix(d.doc[i:], "\uFFFF") {
			continue
		}
		d.fail(i, ErrSyntax, "a character that XML does not allow")
		return false
	}
	return true
}

// UTF8 converts an XML document of any kind to UTF-8, and returns it without its XML declaration: for parsers that take
// nothing else. Charset is the parameter of its Content-Type, empty for none, and goes before what the document declares
// (RFC 7303 §3). It reads UTF-8, UTF-16, US-ASCII and ISO-8859-1; a document that says otherwise and is UTF-8 all the
// same is taken for that. The error is a [*SyntaxError].
func UTF8(data []byte, charset string) ([]byte, error) {
	d := newDecoder(Decoder{Limits: Limits{Bytes: -1}, Charset: charset})
	defer d.release()
	if !d.load(data) {
		return nil, d.err
	}
	return []byte(d.doc[d.pos:]), nil
}
