package markup

import (
	"strings"
	"unicode/utf8"
)

// AppendEscaped appends s as character data, so that it takes at most three times its space, or what it took as a CDATA
// section.
func AppendEscaped(dst []byte, s string) []byte {
	n := plain(s, inText)
	if n == len(s) { // as nearly all are
		return append(dst, s...)
	}
	from := len(dst)
	dst = escape(dst, s, n, inText)
	if n := len(dst) - from; n > 3*len(s) && n > len(s)+len("<![CDATA[]]>") && IsText(s) && !strings.Contains(s, "\r") {
		dst = append(dst[:from], "<![CDATA["...)
		dst = append(dst, strings.ReplaceAll(s, "]]>", "]]]]><![CDATA[>")...)
		dst = append(dst, "]]>"...)
	}
	return dst
}

// plain returns the length of what s starts with that is ASCII and written as it is.
func plain(s string, where byte) int {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || special[c]&where != 0 {
			return i
		}
	}
	return len(s)
}

// AppendAttr appends s as the value of an attribute in double quotes. White space but spaces is written as
// references, which normalization of attribute values leaves alone.
func AppendAttr(dst []byte, s string) []byte { return escape(dst, s, plain(s, inValue), inValue) }

// AppendQuoted appends s as the value of an attribute with its quotes: single ones where s is mostly double ones.
func AppendQuoted(dst []byte, s string) []byte {
	from, n := len(dst), plain(s, inValue)
	dst = append(dst, '"')
	if n == len(s) {
		return append(append(dst, s...), '"')
	}
	dst = append(escape(dst, s, n, inValue), '"')
	if len(dst)-from > 3*len(s)+2 {
		dst = append(escape(append(dst[:from], '\''), s, plain(s, inSingle), inSingle), '\'')
	}
	return dst
}

// Where a byte is not written as it is, one bit each.
const (
	inText byte = 1 << iota
	inValue
	inSingle // a value in single quotes
	inAny    = inText | inValue | inSingle
)

// special says where an ASCII character is not written as it is; ">" in a text only behind "]]".
var special = [utf8.RuneSelf]byte{
	inAny, inAny, inAny, inAny, inAny, inAny, inAny, inAny, inAny, inValue | inSingle, inValue | inSingle, inAny, inAny, inAny, inAny, inAny,
	inAny, inAny, inAny, inAny, inAny, inAny, inAny, inAny, inAny, inAny, inAny, inAny, inAny, inAny, inAny, inAny,
	'&': inAny, '<': inAny, '>': inText, '"': inValue, '\'': inSingle,
}

// escape appends s, with U+FFFD for what XML has no place for, so that no value can make a document ill-formed. The first n
// bytes are plain.
func escape(dst []byte, s string, n int, where byte) []byte {
	done := 0
	for i := n; i < len(s); i += plain(s[i:], where) {
		c := s[i]
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(s[i:]); isChar(r) && (r != utf8.RuneError || n > 1) {
				i += n
				continue
			}
		} else if c == '>' && !strings.HasSuffix(s[:i], "]]") {
			i++
			continue
		}
		dst = append(dst, s[done:i]...)
		n := 1
		if c == '&' { // the most frequent
			dst = append(dst, "&amp;"...)
		} else {
			dst, n = appendSpecial(dst, s[i:])
		}
		i += n
		done = i
	}
	return append(dst, s[done:]...)
}

// appendSpecial appends the character that s starts with, escaped, and returns how many bytes of s it is.
func appendSpecial(dst []byte, s string) ([]byte, int) {
	switch s[0] {
	case '&':
		return append(dst, "&amp;"...), 1
	case '<':
		return append(dst, "&lt;"...), 1
	case '>':
		return append(dst, "&gt;"...), 1
	case '"':
		return append(dst, "&quot;"...), 1
	case '\'':
		return append(dst, "&apos;"...), 1
	case '\n':
		return append(dst, "&#10;"...), 1
	case '\t':
		return append(dst, "&#9;"...), 1
	case '\r':
		return append(dst, "&#13;"...), 1
	}
	_, n := utf8.DecodeRuneInString(s)
	return append(dst, "\uFFFD"...), n
}

// AppendBinding appends the declaration of a prefix, as an attribute.
func AppendBinding(dst []byte, prefix, space string) []byte {
	dst = append(dst, " xmlns"...)
	if prefix != "" {
		dst = append(dst, ':')
		dst = append(dst, prefix...)
	}
	dst = append(dst, `="`...)
	dst = AppendAttr(dst, space)
	return append(dst, '"')
}
