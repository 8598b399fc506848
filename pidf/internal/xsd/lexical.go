package xsd

import (
	"strings"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// IsInteger reports whether s is an xs:integer: from 1 if least is that, from 0, or any.
func IsInteger(s string, least int) bool {
	digits := strings.TrimLeft(s, "+-")
	if digits == "" || len(s)-len(digits) > 1 || strings.Trim(digits, "0123456789") != "" {
		return false
	}
	zero := strings.Trim(digits, "0") == ""
	return least < 0 || zero && least == 0 || !zero && s[0] != '-'
}

// IsLanguage reports whether s is a value of xml:lang: an xs:language, or empty.
func IsLanguage(s string) bool {
	s = markup.Trim(s)
	for i, part := range strings.Split(s, "-") {
		if (part == "" && s != "") || len(part) > 8 {
			return false
		}
		for _, c := range []byte(part) {
			if !(c|0x20 >= 'a' && c|0x20 <= 'z') && !(i > 0 && c >= '0' && c <= '9') {
				return false
			}
		}
	}
	return true
}
