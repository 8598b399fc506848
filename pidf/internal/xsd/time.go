// Package xsd reads and writes values of the types of XML Schema.
package xsd

import (
	"time"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// ParseTime reads an xs:dateTime (XML Schema Part 2 §3.2.7) of the years 1 to 9999, in UTC. Canonical says that
// AppendTime writes it just so, zone that it has one. The zero time would read as absent, so that it is none.
func ParseTime(s string) (t time.Time, canonical, zone, ok bool) {
	if len(s) < len("2006-01-02T15:04:05") || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return
	}
	good := true
	number := func(from, to, lo, hi int) int {
		n := 0
		for _, c := range []byte(s[from:to]) {
			good = good && c >= '0' && c <= '9'
			n = n*10 + int(c-'0')
		}
		good = good && n >= lo && n <= hi
		return n
	}
	year, month, day := number(0, 4, 1, 9999), number(5, 7, 1, 12), number(8, 10, 1, 31)
	hour, minute, second := number(11, 13, 0, 24), number(14, 16, 0, 59), number(17, 19, 0, 59)
	rest, nanos := s[19:], 0
	if rest != "" && rest[0] == '.' {
		n, scale := 1, 100_000_000
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			nanos += int(rest[n]-'0') * scale
			scale /= 10
			n++
		}
		good = good && n > 1
		rest = rest[n:]
	}
	offset := 0
	switch {
	case rest == "":
	case rest == "Z":
		zone = true
		canonical = len(s) == len("2006-01-02T15:04:05Z") && hour < 24
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		at := len(s) - 6
		hours, minutes := number(at+1, at+3, 0, 14), number(at+4, at+6, 0, 59)
		good = good && (hours < 14 || minutes == 0)
		offset = hours*3600 + minutes*60
		if rest[0] == '-' {
			offset = -offset
		}
		zone = true
	default:
		return
	}
	if !good || hour == 24 && (minute != 0 || second != 0 || nanos != 0) || day > daysIn(year, month) {
		return time.Time{}, false, false, false
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second-offset, nanos, time.UTC)
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, false, false, false
	}
	return t, canonical, zone, true
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// IsDateTime reports whether s is an xs:dateTime, of any year and with space around it.
func IsDateTime(s string) bool {
	s = markup.Trim(s)
	rest := s
	if rest != "" && rest[0] == '-' {
		rest = rest[1:]
	}
	n := 0
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	if n < 4 || n > 4 && rest[0] == '0' {
		return false
	}
	// The rules for what follows depend on the year in February alone.
	year := 0
	for _, c := range []byte(rest[n-4 : n]) {
		year = year*10 + int(c-'0')
	}
	if year = year%400 + 400; year == 400 && n == 4 && rest[:4] == "0000" {
		return false // there is no year 0 in XML Schema 1.0
	}
	_, _, _, ok := ParseTime("0" + string(appendInt3(nil, year)) + rest[n:])
	return ok
}

func appendInt3(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
}

// AppendTime writes t in UTC, to the second.
func AppendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, "2006-01-02T15:04:05Z")
	}
	hour, minute, second := t.Clock()
	two := func(n int, after byte) {
		dst = append(dst, byte('0'+n/10), byte('0'+n%10), after)
	}
	dst = append(dst, byte('0'+year/1000), byte('0'+year/100%10))
	two(year%100, '-')
	two(int(month), '-')
	two(day, 'T')
	two(hour, ':')
	two(minute, ':')
	two(second, 'Z')
	return dst
}
