package pidf

import "time"

// time reads an xs:dateTime, to the second and in UTC (BSP-3-4). One without a zone is taken for UTC, with a warning.
func (d *decoder) time(s string) (time.Time, bool) {
	t, zone, ok := parseTime(trim(s))
	if ok && !zone {
		d.warn("time " + s + " without a zone taken for UTC")
	}
	return t, ok
}

// parseTime reads YYYY-MM-DDThh:mm:ss, a fraction and a zone (XML Schema Part 2 §3.2.7). A zero time would read as
// absent, so that it is none.
func parseTime(s string) (t time.Time, zone, ok bool) {
	if len(s) < len("2006-01-02T15:04:05") || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return time.Time{}, false, false
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
	hour, minute, second := number(11, 13, 0, 24), number(14, 16, 0, 59), number(17, 19, 0, 60)
	rest := s[19:]
	if rest != "" && rest[0] == '.' {
		n := 1
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
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
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		at := len(s) - 6
		offset = number(at+1, at+3, 0, 14)*3600 + number(at+4, at+6, 0, 59)*60
		if rest[0] == '-' {
			offset = -offset
		}
		zone = true
	default:
		return time.Time{}, false, false
	}
	if !good || hour == 24 && (minute != 0 || second != 0) {
		return time.Time{}, false, false
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second-offset, 0, time.UTC)
	if local := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC); local.Day() != day || t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, false, false
	}
	return t, zone, true
}

// appendTime writes t in UTC, to the second.
func appendTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, "2006-01-02T15:04:05Z")
}
