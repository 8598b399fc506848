package sipx

import (
	"iter"
	"strconv"
	"strings"
)

// Field is one header field. A field with several comma-separated values may
// stand as one Field or as several.
type Field struct {
	Name, Value string
}

// Header is the header fields of a message in order. Names are compared without
// regard to case; compact forms (RFC 3261 §7.3.3) are expanded when a message is
// read, so that a Header holds long names only.
type Header []Field

// sameName compares names of fields.
func sameName(a, b string) bool { return len(a) == len(b) && (a == b || strings.EqualFold(a, b)) }

// Get returns the first value of name, or "".
func (h Header) Get(name string) string {
	v, _ := h.Lookup(name)
	return v
}

// Lookup returns the first value of name and whether there is one.
func (h Header) Lookup(name string) (string, bool) {
	for i := range h {
		if sameName(h[i].Name, name) {
			return h[i].Value, true
		}
	}
	return "", false
}

// Values iterates over the values of name, one for each field.
func (h Header) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range h {
			if sameName(h[i].Name, name) && !yield(h[i].Value) {
				return
			}
		}
	}
}

// Count returns how many fields are called name.
func (h Header) Count(name string) int {
	n := 0
	for range h.Values(name) {
		n++
	}
	return n
}

// Tokens iterates over the comma-separated elements of all fields called name,
// each without its parameters.
func (h Header) Tokens(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for v := range h.Values(name) {
			for part := range SplitList(v) {
				token, _ := cutKeep(part, ';')
				if !yield(strings.TrimSpace(token)) {
					return
				}
			}
		}
	}
}

// HasToken reports whether one of the elements of name is token.
func (h Header) HasToken(name, token string) bool {
	for t := range h.Tokens(name) {
		if strings.EqualFold(t, token) {
			return true
		}
	}
	return false
}

// Add appends a field.
func (h *Header) Add(name, value string) { *h = append(*h, Field{name, value}) }

// SplitList iterates over the comma-separated elements of s. Commas in quoted
// strings and in angle brackets do not separate; empty elements are left out.
func SplitList(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest := s; rest != ""; {
			part := rest[:elementEnd(rest)]
			rest = strings.TrimPrefix(rest[len(part):], ",")
			if part = strings.TrimSpace(part); part != "" && !yield(part) {
				return
			}
		}
	}
}

// elementEnd returns where the first element of a list ends.
func elementEnd(s string) int {
	quoted, angled := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angled = true
		case c == '>':
			angled = false
		case c == ',' && !angled:
			return i
		}
	}
	return len(s)
}

// longName maps a compact form to the long name (RFC 3261 §20, RFC 6665 §8.2.1,
// RFC 3515, RFC 3841, RFC 3892, RFC 4028).
func longName(name string) string {
	if len(name) != 1 {
		return name
	}
	switch name[0] | 0x20 {
	case 'a':
		return "Accept-Contact"
	case 'b':
		return "Referred-By"
	case 'c':
		return "Content-Type"
	case 'e':
		return "Content-Encoding"
	case 'f':
		return "From"
	case 'i':
		return "Call-ID"
	case 'k':
		return "Supported"
	case 'l':
		return "Content-Length"
	case 'm':
		return "Contact"
	case 'o':
		return "Event"
	case 'r':
		return "Refer-To"
	case 's':
		return "Subject"
	case 't':
		return "To"
	case 'u':
		return "Allow-Events"
	case 'v':
		return "Via"
	case 'x':
		return "Session-Expires"
	}
	return name
}

// Event is the value of an Event field (RFC 6665 §8.2.1).
type Event struct {
	Package string // in lower case, with its template: "presence", "presence.winfo"
	ID      string // the id parameter, or empty
}

// ParseEvent parses the value of an Event field.
func ParseEvent(s string) (Event, bool) {
	name, params := cutKeep(strings.TrimSpace(s), ';')
	name = strings.TrimSpace(name)
	if !isToken(name) {
		return Event{}, false
	}
	id, _ := param(params, "id")
	return Event{Package: strings.ToLower(name), ID: id}, true
}

// String writes the event as a field value.
func (e Event) String() string {
	if e.ID == "" {
		return e.Package
	}
	return e.Package + ";id=" + e.ID
}

// MediaType returns the type of a Content-Type value in lower case, without
// parameters.
func MediaType(s string) string {
	t, _ := cutKeep(s, ';')
	return strings.ToLower(strings.TrimSpace(t))
}

// ParamOf returns the parameter name of a field value such as that of
// Content-Type or Subscription-State.
func ParamOf(value, name string) (string, bool) {
	_, params := cutKeep(value, ';')
	return param(params, name)
}

// Seconds parses a value in delta-seconds (RFC 3261 §20.19), the unit of
// Expires, Min-Expires and Retry-After; parameters and comments after the
// number are ignored. Values past 2^31-1 are taken as that.
func Seconds(s string) (int, bool) {
	s = strings.TrimSpace(s)
	end := 0
	for end < len(s) && '0' <= s[end] && s[end] <= '9' {
		end++
	}
	if end == 0 {
		return 0, false
	}
	if rest := strings.TrimSpace(s[end:]); rest != "" && rest[0] != ';' && rest[0] != '(' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:end], 10, 31)
	if err != nil {
		return 1<<31 - 1, true
	}
	return int(n), true
}
