package pidf

import (
	"strings"
	"unicode/utf8"
)

// plain says which ASCII characters are written as they are.
type plain [utf8.RuneSelf]bool

// What stays as it is in character data, and in the value of an attribute in double quotes. There white space but
// spaces is written as references, which normalization of attribute values leaves alone.
var (
	plainText = newPlain("\n\t", "&<>")
	plainAttr = newPlain("", "&<>\"")
)

func newPlain(and, but string) *plain {
	p := new(plain)
	for c := ' '; c < utf8.RuneSelf; c++ {
		p[c] = !strings.ContainsRune(but, c)
	}
	for _, c := range and {
		p[c] = true
	}
	return p
}

// appendEscaped appends s as character data.
func appendEscaped(dst []byte, s string) []byte { return plainText.escape(dst, s) }

// appendAttr appends s as the value of an attribute.
func appendAttr(dst []byte, s string) []byte { return plainAttr.escape(dst, s) }

// escape appends s, with U+FFFD for what XML has no place for, so that no value can make a document ill-formed.
func (p *plain) escape(dst []byte, s string) []byte {
	done := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if p[c] {
				i++
				continue
			}
		} else if r, n := utf8.DecodeRuneInString(s[i:]); isChar(r) && (r != utf8.RuneError || n > 1) {
			i += n
			continue
		}
		dst = append(dst, s[done:i]...)
		n := 1
		dst, n = appendSpecial(dst, s[i:])
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
