package caldav

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxDepth = 8        // of components within components
	maxLine  = 64 << 10 // bytes of a property
)

// component is one of an iCalendar stream (RFC 5545 §3.6), with what matters of it.
type component struct {
	name       string
	properties []property
	children   []*component
}

// property is a content line (RFC 5545 §3.1).
type property struct {
	name   string            // in upper case
	params map[string]string // by name in upper case; of several the first
	value  string            // as it is written
}

// get returns the first property of a name; nil where there is none.
func (c *component) get(name string) *property {
	for i := range c.properties {
		if c.properties[i].name == name {
			return &c.properties[i]
		}
	}
	return nil
}

// all returns the properties of a name.
func (c *component) all(name string) (found []*property) {
	for i := range c.properties {
		if c.properties[i].name == name {
			found = append(found, &c.properties[i])
		}
	}
	return found
}

var (
	errNotCalendar = errors.New("caldav: reading iCalendar: no calendar")
	errTruncated   = errors.New("caldav: reading iCalendar: it ends within a calendar")
)

// decode reads the calendars of a stream, of which it keeps what matters: alarms,
// attachments and descriptions are most of its bytes. What cannot be read costs its
// line only. That is why no library does it: they give up.
func (x *expansion) decode(data []byte) (calendars []*component) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var open []*component // outermost first
	var skipped []string  // the same for those within that do not matter
	for len(data) > 0 {
		var line []byte
		line, data = unfold(data)
		if len(line) > maxLine {
			continue
		}
		name, params, value, ok := cutLine(line)
		if !ok {
			continue
		}
		switch kind := strings.ToUpper(strings.TrimSpace(string(value))); {
		case kind == "" && (name == "BEGIN" || name == "END"):
		case name == "BEGIN" && (len(skipped) > 0 || !wanted(open, kind)):
			if skipped = append(skipped, kind); len(skipped) > maxDepth {
				x.problem(fmt.Errorf("%w: components nested more than %d deep", ErrLimit, maxDepth))
				return calendars
			}
		case name == "BEGIN":
			c := &component{name: kind}
			if len(open) > 0 {
				parent := open[len(open)-1]
				parent.children = append(parent.children, c)
			}
			open = append(open, c)
		case name == "END" && slices.Contains(skipped, kind):
			skipped = skipped[:lastIndex(skipped, kind, func(s string) string { return s })]
		case name == "END":
			// It ends also what is in it and has no end of its own.
			i := lastIndex(open, kind, func(c *component) string { return c.name })
			if i == 0 {
				calendars = append(calendars, open[0])
			}
			if i >= 0 {
				open, skipped = open[:i], nil
			}
		case len(skipped) == 0 && len(open) > 0 && matters(open[len(open)-1].name, name):
			c := open[len(open)-1]
			c.properties = append(c.properties, property{name, readParams(params), string(value)})
		}
	}
	if len(open) > 0 {
		x.problem(errTruncated)
	} else if len(calendars) == 0 {
		x.problem(errNotCalendar)
	}
	return calendars
}

// lastIndex returns where the last of a name is, or -1.
func lastIndex[T any](list []T, name string, of func(T) string) int {
	for i, v := range slices.Backward(list) {
		if of(v) == name {
			return i
		}
	}
	return -1
}

// unfold takes the first content line off data, with those that continue it
// (RFC 5545 §3.1).
func unfold(data []byte) (line, rest []byte) {
	line, rest = cutEOL(data)
	for first := true; len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t'); first = false {
		var more []byte
		if more, rest = cutEOL(rest[1:]); first {
			line = bytes.Clone(line) // lest data is overwritten
		}
		line = append(line, more...)
	}
	return line, rest
}

func cutEOL(data []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(data, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

// cutLine cuts a content line into its name in upper case, its parameters, each
// behind a semicolon, and its value.
func cutLine(line []byte) (name string, params, value []byte, ok bool) {
	end := bytes.IndexAny(line, ";:")
	if end <= 0 {
		return "", nil, nil, false
	}
	name = strings.ToUpper(strings.TrimSpace(string(line[:end])))
	colon := valueAt(line[end:])
	if colon < 0 {
		return "", nil, nil, false
	}
	params, value = line[end:end+colon], line[end+colon+1:]
	// A date has no colon: some write the zone of one, which may have, without quotes.
	if last := bytes.LastIndexByte(line, ':'); dated(name) && last > end {
		params, value = line[end:last], line[last+1:]
	}
	return name, params, value, true
}

// valueAt returns where the colon before the value is: the first outside of quotes.
// Where quotes do not come in pairs, they count for nothing.
func valueAt(s []byte) int {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == ':':
			return i
		case opens(s, i):
			end := quoteEnd(s, i)
			if end < 0 {
				return bytes.IndexByte(s, ':')
			}
			i = end
		}
	}
	return -1
}

// opens reports whether a quote at i begins a parameter's value.
func opens(s []byte, i int) bool { return s[i] == '"' && i > 0 && (s[i-1] == '=' || s[i-1] == ',') }

// quoteEnd returns where the quotes end that begin at i: one within a text, with more
// of it behind, does not end it. It returns -1 where none does.
func quoteEnd(s []byte, i int) int {
	for end := i + 1; end < len(s); end++ {
		if s[end] == '"' && (end+1 == len(s) || bytes.IndexByte([]byte(`;:,`), s[end+1]) >= 0) {
			return end
		}
	}
	return -1
}

// readParams reads parameters, each behind a semicolon. Empty ones are left out.
func readParams(s []byte) map[string]string {
	var params map[string]string
	quotes := true // there may be one that ends
	for len(s) > 0 {
		s = s[1:] // the semicolon
		end := 0
		for end < len(s) && s[end] != ';' {
			if quotes && opens(s, end) {
				closing := quoteEnd(s, end)
				end, quotes = max(end, closing), closing >= 0
			}
			end++
		}
		name, value, ok := strings.Cut(string(s[:end]), "=")
		s = s[end:]
		name = strings.ToUpper(strings.TrimSpace(name))
		if !ok || !matteringParam(name) {
			continue
		}
		if params == nil {
			params = make(map[string]string)
		}
		if _, again := params[name]; !again {
			params[name] = strings.Trim(value, `" `)
		}
	}
	return params
}

// dated reports whether a property has dates, and nothing else, for its value.
func dated(name string) bool {
	switch name {
	case propStart, propEnd, propOccurrence, propExtra, propExcept:
		return true
	}
	return false
}

// wanted reports whether a component within the open ones matters.
func wanted(open []*component, name string) bool {
	parent := ""
	if len(open) > 0 {
		parent = open[len(open)-1].name
	}
	switch parent {
	case "":
		return name == compCalendar
	case compCalendar:
		return name == compEvent || name == compTimezone
	case compTimezone:
		return name == compStandard || name == compDaylight
	}
	return false
}

// What matters of a calendar.
const (
	compCalendar = "VCALENDAR"
	compEvent    = "VEVENT"
	compTimezone = "VTIMEZONE"
	compStandard = "STANDARD"
	compDaylight = "DAYLIGHT"

	propUID        = "UID"
	propStart      = "DTSTART"
	propEnd        = "DTEND"
	propDuration   = "DURATION"
	propRule       = "RRULE"
	propExceptRule = "EXRULE" // of RFC 2445 §4.8.5.2, gone from RFC 5545
	propExtra      = "RDATE"
	propExcept     = "EXDATE"
	propOccurrence = "RECURRENCE-ID"
	propStatus     = "STATUS"
	propTransp     = "TRANSP"
	propClass      = "CLASS"
	propSummary    = "SUMMARY"
	propLocation   = "LOCATION"
	propAttendee   = "ATTENDEE"
	propOrganizer  = "ORGANIZER"
	propSequence   = "SEQUENCE"
	propModified   = "LAST-MODIFIED"
	propStamp      = "DTSTAMP"
	propBusyStatus = "X-MICROSOFT-CDO-BUSYSTATUS"
	propAllDay     = "X-MICROSOFT-CDO-ALLDAYEVENT"
	propZoneID     = "TZID"
	propOffsetFrom = "TZOFFSETFROM"
	propOffsetTo   = "TZOFFSETTO"

	paramZone   = "TZID"
	paramValue  = "VALUE"
	paramRange  = "RANGE"
	paramAnswer = "PARTSTAT"
	paramEmail  = "EMAIL" // RFC 7986 §6.2
)

func matteringParam(name string) bool {
	switch name {
	case paramZone, paramValue, paramRange, paramAnswer, paramEmail:
		return true
	}
	return false
}

// matters reports whether a property of a component does.
func matters(component, property string) bool {
	switch component {
	case compEvent:
		switch property {
		case propUID, propStart, propEnd, propDuration, propRule, propExceptRule, propExtra, propExcept, propOccurrence, propStatus,
			propTransp, propClass, propSummary, propLocation, propAttendee, propOrganizer, propSequence, propModified, propStamp,
			propBusyStatus, propAllDay:
			return true
		}
	case compTimezone:
		return property == propZoneID
	case compStandard, compDaylight:
		switch property {
		case propStart, propOffsetFrom, propOffsetTo, propRule, propExtra:
			return true
		}
	}
	return false
}
