package calendar

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/openblustar/blustar/pidf/aa"
)

const (
	maxTextBytes = 256 // of a subject or location that is shown
	maxIDBytes   = 255
)

// Text returns a subject or a location as it is shown: on one line, at most 256
// bytes, what is cut marked by an ellipsis. It holds no memory of s.
func Text(s string) string {
	s = s[:min(len(s), 16*maxTextBytes)]
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if len(s) > maxTextBytes {
		n := maxTextBytes - len("…")
		for !utf8.RuneStart(s[n]) {
			n--
		}
		return strings.TrimSpace(s[:n]) + "…"
	}
	return strings.Clone(s)
}

// ID returns an ID that is short and printable: id itself, where it is so, else a
// digest of it.
func ID(id string) string {
	printable := strings.IndexFunc(id, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0
	if len(id) <= maxIDBytes && printable {
		return strings.Clone(id)
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// State reads what an appointment does to its owner's time: LegacyFreeBusyStatus and
// BusyType of Exchange, showAs of Microsoft Graph, X-MICROSOFT-CDO-BUSYSTATUS of
// iCalendar. Letter case does not count. Who works elsewhere is free. ok is false
// where the word is none of them.
func State(word string) (_ aa.CalendarState, ok bool) {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "free", "workingelsewhere":
		return aa.CalendarFree, true
	case "tentative":
		return aa.CalendarTentative, true
	case "busy":
		return aa.CalendarBusy, true
	case "oof", "outofoffice":
		return aa.CalendarOutOfOffice, true
	}
	return aa.CalendarUnknown, false
}

// Private reads the sensitivity of an appointment in Exchange and Microsoft Graph. What
// is neither normal nor personal is private, also what is not known; no word at all is
// not.
func Private(sensitivity string) bool {
	switch strings.ToLower(strings.TrimSpace(sensitivity)) {
	case "", "normal", "personal":
		return false
	}
	return true
}
