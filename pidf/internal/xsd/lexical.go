package xsd

import (
	"math"
	"strconv"
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

// TrimInteger returns an integer without white space around it and without its plus sign, which strconv does not take
// for one without a sign.
func TrimInteger(s string) string { return strings.TrimPrefix(markup.Trim(s), "+") }

// IsCanonicalInteger reports whether an integer is written as strconv writes it.
func IsCanonicalInteger(s string) bool {
	s = markup.Trim(s)
	if rest, minus := strings.CutPrefix(s, "-"); minus {
		return rest != "" && rest[0] != '0'
	}
	return s == "0" || s != "" && s[0] != '0' && s[0] != '+'
}

// IsPriority reports whether s is a qvalue (RFC 3863 §4.4): from 0 to 1 with at most three decimals.
func IsPriority(s string) bool {
	if s == "" || len(s) > 5 || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return false
	}
	for _, c := range []byte(s[min(len(s), 2):]) {
		if c < '0' || c > '9' || c != '0' && s[0] == '1' {
			return false
		}
	}
	return true
}

// Priority normalizes a qvalue, and reports whether that changed it. Asterisk writes 0.800000, and with some locales
// 0,800000.
func Priority(s string) (q string, changed bool) {
	if s == "" || IsPriority(s) {
		return s, false
	}
	v, err := strconv.ParseFloat(strings.Replace(s, ",", ".", 1), 64)
	if err != nil || !(v >= 0 && v <= 1e6) {
		return s, false
	}
	return strconv.FormatFloat(math.Round(min(v, 1)*1000)/1000, 'f', -1, 64), true
}

// IsOneOf reports whether s is a value of an enumeration, whose values are separated by bars.
func IsOneOf(s, list string) bool {
	for value := range strings.SplitSeq(list, "|") {
		if value == s {
			return true
		}
	}
	return false
}

// Folded returns the value of an enumeration that s is but for its capitals, otherwise s itself.
func Folded(s, list string) string {
	if strings.ToLower(s) == s {
		return s
	}
	for value := range strings.SplitSeq(list, "|") {
		if strings.EqualFold(value, s) {
			return value
		}
	}
	return s
}
