package markup

import (
	"strings"
	"unicode/utf8"
)

// The ASCII characters of names, one bit each: up to 63, and from 64 (Namespaces in XML 1.0 §4; the colon is no
// part of an NCName).
const (
	nameStartHigh = 0x3FFFFFF<<('A'-64) | 0x3FFFFFF<<('a'-64) | 1<<('_'-64)
	nameInnerLow  = 0x3FF<<'0' | 1<<'-' | 1<<'.'
)

func isNameStart(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 64 && uint64(nameStartHigh)>>(r-64)&1 != 0
	}
	switch { // XML 1.0 §2.3
	case r >= 0xC0 && r <= 0x2FF:
		return r != 0xD7 && r != 0xF7
	case r >= 0x370 && r <= 0x1FFF:
		return r != 0x37E
	case r >= 0x2C00 && r <= 0x2FEF, r >= 0x3001 && r <= 0xD7FF, r >= 0xF900 && r <= 0xFDCF, r >= 0xFDF0 && r <= 0xFFFD:
		return true
	}
	return r == 0x200C || r == 0x200D || r >= 0x2070 && r <= 0x218F || r >= 0x10000 && r <= 0xEFFFF
}

func isNameInner(r rune) bool {
	if r < utf8.RuneSelf {
		return isNameStart(r) || r < 64 && uint64(nameInnerLow)>>r&1 != 0
	}
	return r == 0xB7 || r >= 0x300 && r <= 0x36F || r == 0x203F || r == 0x2040 || isNameStart(r)
}

// class says what a byte is: a sum of these.
type class uint8

const (
	nameStart class = 1 << iota // can begin an NCName on its own, rather than as a part of others
	nameInner                   // can stand in one
	blank                       // white space
	ink                         // no white space
	unplain                     // in a text, may stand for something else than itself
	unspaced                    // in the value of an attribute, stands for a space
	bracket                     // may begin the end of a CDATA section
	doubtful                    // no ASCII, or XML has no place for it
)

var classes = func() (t [256]class) {
	for i := range t {
		if c := byte(i); isSpace(c) {
			t[i] = blank
		} else {
			t[i] = ink
		}
		switch c := rune(i); {
		case c >= utf8.RuneSelf, c < ' ' && t[i] != blank:
			t[i] |= doubtful
		case isNameStart(c):
			t[i] |= nameStart | nameInner
		case isNameInner(c):
			t[i] |= nameInner
		}
	}
	t['&'] |= unplain
	t['\r'] |= unplain | unspaced
	t['\n'] |= unspaced
	t['\t'] |= unspaced
	t[']'] |= bracket
	return t
}()

// classesIn returns the classes of all bytes of s.
func classesIn(s string) (all class) {
	for i := range len(s) {
		all |= classes[s[i]]
	}
	return all
}

// ncNameLen returns the length of the NCName that s starts with, 0 where it starts with none.
func ncNameLen(s string) int {
	i := 0
	for i < len(s) && classes[s[i]]&nameInner != 0 {
		i++
	}
	switch {
	case i > 0 && classes[s[0]]&nameStart == 0:
		return 0
	case i == len(s) || s[i] < utf8.RuneSelf:
		return i
	}
	for i < len(s) && (s[i] >= utf8.RuneSelf || classes[s[i]]&nameInner != 0) {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || i == 0 && !isNameStart(r) || !isNameInner(r) {
			break
		}
		i += size
	}
	return i
}

func IsNCName(s string) bool { return s != "" && ncNameLen(s) == len(s) }

// isChar reports whether XML allows r in a document (XML 1.0 §2.2).
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\n' || r == '\t' || r == '\r' || r >= 0xE000 && r <= 0xFFFD ||
		r >= 0x10000 && r <= 0x10FFFF
}

// IsText reports whether s is UTF-8 and XML allows all of it in a document.
func IsText(s string) bool {
	ascii := 0
	for ascii < len(s) && s[ascii] >= ' ' && s[ascii] < utf8.RuneSelf {
		ascii++
	}
	s = s[ascii:]
	for i, r := range s {
		if !isChar(r) || r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			return false
		}
	}
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// trimLeft removes XML's white space before s.
func trimLeft(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

// Trim removes XML's white space around s.
func Trim(s string) string {
	s = trimLeft(s)
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// Collapse is XML Schema's whiteSpace="Collapse".
func Collapse(s string) string {
	if classesIn(s)&blank == 0 {
		return s
	}
	s = Trim(s)
	for i := 0; i < len(s); i++ {
		if isSpace(s[i]) && (s[i] != ' ' || s[i+1] == ' ') {
			return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r < utf8.RuneSelf && isSpace(byte(r)) }), " ")
		}
	}
	return s
}

// AppendNCName replaces what an NCName cannot hold by hyphens: "global service" becomes "global-service", "200" "_200".
func AppendNCName(dst []byte, id, otherwise string) []byte {
	if id == "" {
		return append(dst, otherwise...)
	}
	for i, r := range id {
		switch {
		case i == 0 && !isNameStart(r):
			dst = append(dst, '_')
			if isNameInner(r) {
				dst = utf8.AppendRune(dst, r)
			}
		case isNameInner(r):
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, '-')
		}
	}
	return dst
}
