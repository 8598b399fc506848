package markup

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Load makes data the document: one copy of it as UTF-8, from which all strings of the result are cut. It reads
// the XML declaration, and sees to it that what follows holds no illegal character.
func (s *Scanner) Load(data []byte, charset string) bool {
	if len(data) > s.Limits.Bytes {
		s.Fail(0, ErrTooLarge, "more bytes than the limit")
		return false
	}
	wide, marked := false, false
	switch {
	case len(data) == 0:
		s.Fail(0, ErrSyntax, "no document")
		return false
	case bytes.HasPrefix(data, []byte("\xEF\xBB\xBF")):
		data, marked = data[3:], true
	case bytes.HasPrefix(data, []byte("\xFF\xFE")), bytes.HasPrefix(data, []byte("<\x00")):
		wide = s.loadUTF16(data, binary.LittleEndian)
	case bytes.HasPrefix(data, []byte("\xFE\xFF")), bytes.HasPrefix(data, []byte("\x00<")):
		wide = s.loadUTF16(data, binary.BigEndian)
	}
	if s.Err != nil {
		return false
	}
	if !wide {
		s.Doc = string(data)
	}
	if strings.HasSuffix(s.Doc, "\x00") {
		s.Doc = strings.TrimRight(s.Doc, "\x00")
		s.From = len(s.Doc)
		s.Warn("zero bytes behind the document dropped")
	}
	label, ok := s.xmlDeclaration()
	if !ok {
		return false
	}
	if charset != "" && !marked {
		label = charset
	}
	if (label == "" || label == "UTF-8") && printable(s.Doc) == len(s.Doc) {
		return true // as nearly all are
	}
	return (wide || s.checkEncoding(label)) && s.checkCharacters()
}

// loadUTF16 reports success. Not even BluStar's own clients send UTF-16, but XML 1.0 §4.3.3 obliges readers to take it.
func (s *Scanner) loadUTF16(data []byte, order binary.ByteOrder) bool {
	if len(data)%2 != 0 {
		s.Fail(0, ErrEncoding, "an odd number of bytes in UTF-16")
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
				s.Doc = string(dst)
				s.Fail(len(dst), ErrEncoding, "half a character in UTF-16")
				return false
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	s.Doc = string(dst)
	return true
}

// xmlDeclaration moves past the XML declaration (XML 1.0 §2.8) and returns the encoding that it names.
func (s *Scanner) xmlDeclaration() (encoding string, ok bool) {
	if usual := `<?xml version="1.0" encoding="UTF-8"?>`; strings.HasPrefix(s.Doc, usual) {
		s.Pos = len(usual)
		return "UTF-8", true
	}
	start := len(s.Doc) - len(trimLeft(s.Doc))
	rest := s.Doc[start:]
	if !strings.HasPrefix(rest, "<?xml") || len(rest) < 6 || !isSpace(rest[5]) {
		return "", true
	}
	if start > 0 {
		s.From = start
		s.Warn("space before the XML declaration")
	}
	end := strings.Index(rest, "?>")
	if end < 0 {
		s.Fail(start, ErrSyntax, "XML declaration without an end")
		return "", false
	}
	s.Pos = start + end + 2
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
				s.From = start
				s.Warn("XML version " + value + " read as 1.0")
			}
		case good && name == "encoding" && position == 1 && isEncodingName(value):
			position, encoding = 2, value
		case good && name == "standalone" && (position == 1 || position == 2) && (value == "yes" || value == "no"):
			position = 3
		default:
			s.Fail(start, ErrSyntax, "bad XML declaration")
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
	return IsNCName(s) && s[0] != '_' && isASCII(s)
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
func (s *Scanner) checkEncoding(label string) bool {
	s.From = 0
	if utf8.ValidString(s.Doc) {
		if label == "" || strings.EqualFold(label, "utf-8") {
			return true
		}
		switch strings.ToLower(label) {
		case "utf8":
			return true
		case "us-ascii", "ascii", "iso-8859-1", "latin1", "windows-1252":
			if isASCII(s.Doc) {
				return true
			}
		}
		s.Warn("encoding " + label + " is really UTF-8")
		return true
	}
	switch strings.ToLower(label) {
	case "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1", "l1", "windows-1252", "cp1252":
		s.Pos += strings.Count(s.Doc[:s.Pos], "") - 1 - utf8.RuneCountInString(s.Doc[:s.Pos])
		s.Doc = fromWindows1252(s.Doc)
		s.Warn("encoding " + label + " converted to UTF-8")
		return true
	}
	for i, r := range s.Doc {
		if _, n := utf8.DecodeRuneInString(s.Doc[i:]); r == utf8.RuneError && n == 1 {
			s.Fail(i, ErrEncoding, "bytes that are no UTF-8")
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
// control characters, U+FFFE and U+FFFF. Most of it is printable ASCII and new lines, which is seen for many
// bytes at a time.
func (s *Scanner) checkCharacters() bool {
	for rest := s.Doc; ; {
		if rest = rest[printable(rest):]; rest == "" {
			return true
		}
		d := rest[:min(len(rest), 8)]
		for k := range len(d) {
			c := d[k]
			if classes[c]&doubtful == 0 || c >= ' ' && c != 0xEF {
				continue
			}
			if c < ' ' || strings.HasPrefix(rest[k:], "\uFFFE") || strings.HasPrefix(rest[k:], "\uFFFF") {
				s.Fail(len(s.Doc)-len(rest)+k, ErrSyntax, "a character that XML does not allow")
				return false
			}
		}
		rest = rest[len(d):]
	}
}

// printable returns for how many bytes s has nothing but printable ASCII and white space; there may be some more.
func printable(s string) int {
	rest := s
	for len(rest) >= 32 && unprintable(rest)|unprintable(rest[8:])|unprintable(rest[16:])|unprintable(rest[24:]) == 0 {
		rest = rest[32:]
	}
	for len(rest) >= 8 && unprintable(rest) == 0 {
		rest = rest[8:]
	}
	if len(rest) < 8 && classesIn(rest)&doubtful == 0 {
		return len(s)
	}
	return len(s) - len(rest)
}

// unprintable returns 0 where all of the first eight bytes of d are new lines, or from the space to the end of ASCII.
func unprintable(d string) uint64 {
	const low, high = 0x0101010101010101, 0x8080808080808080
	x := binary.LittleEndian.Uint64([]byte(d[:8]))
	if (x|(x-' '*low))&high == 0 {
		return 0
	}
	lines := x ^ '\n'*low
	lines = ^(lines + 0x7F*low | lines) & high // of ASCII
	x += lines >> 7 * (' ' - '\n')
	return (x | (x - ' '*low)) & high
}
