package markup

import (
	"strings"
	"unicode/utf8"
)

// reference reads the character or predefined entity reference that s starts with (XML 1.0 §4.1, §4.6) and returns
// its length, 0 where there is none. There are no other entities, because there are no document type declarations.
func reference(s string) (rune, int) {
	switch {
	case strings.HasPrefix(s, "&amp;"):
		return '&', 5
	case strings.HasPrefix(s, "&lt;"):
		return '<', 4
	case strings.HasPrefix(s, "&gt;"):
		return '>', 4
	case strings.HasPrefix(s, "&quot;"):
		return '"', 6
	case strings.HasPrefix(s, "&apos;"):
		return '\'', 6
	case !strings.HasPrefix(s, "&#"):
		return 0, 0
	}
	i, base := 2, rune(10)
	if strings.HasPrefix(s, "&#x") {
		i, base = 3, 16
	}
	var r rune
	for start := i; i < len(s); i++ {
		c := s[i]
		var digit rune
		switch {
		case c >= '0' && c <= '9':
			digit = rune(c - '0')
		case base == 16 && c >= 'a' && c <= 'f':
			digit = rune(c-'a') + 10
		case base == 16 && c >= 'A' && c <= 'F':
			digit = rune(c-'A') + 10
		case c == ';' && i > start && isChar(r):
			return r, i + 1
		default:
			return 0, 0
		}
		if r = r*base + digit; r > utf8.MaxRune {
			return 0, 0
		}
	}
	return 0, 0
}

// AppendText appends text with its references resolved and its line ends normalized (XML 1.0 §2.11).
func AppendText(dst []byte, text string, cdata bool) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '&' && !cdata:
			r, n := reference(text[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		case c == '\r':
			if i+1 >= len(text) || text[i+1] != '\n' {
				dst = append(dst, '\n')
			}
		default:
			dst = append(dst, c)
		}
		i++
	}
	return dst
}

// Value returns the value of an attribute, white space in it normalized (XML 1.0 §3.3.3).
func (a *Attr) Value() string {
	if a.plain {
		return a.raw
	}
	dst := make([]byte, 0, len(a.raw))
	for i := 0; i < len(a.raw); {
		switch c := a.raw[i]; c {
		case '&':
			r, n := reference(a.raw[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		case '\r':
			if i+1 >= len(a.raw) || a.raw[i+1] != '\n' {
				dst = append(dst, ' ')
			}
		case '\n', '\t':
			dst = append(dst, ' ')
		default:
			dst = append(dst, c)
		}
		i++
	}
	return string(dst)
}
