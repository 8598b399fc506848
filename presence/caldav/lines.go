package caldav

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/emersion/go-ical"
)

const (
	maxDepth  = 8        // of components within components
	maxParams = 2 << 10  // bytes of the name and parameters of a property: go-ical takes quadratic time for them
	maxValue  = 64 << 10 // bytes of its value
)

// decode reads the calendars of a stream.
func (x *expansion) decode(data []byte) []*ical.Component {
	lines, err := relevant(data)
	x.problem(err)
	d := ical.NewDecoder(bytes.NewReader(lines))
	var calendars []*ical.Component
	for {
		c, err := decodeCalendar(d)
		if err != nil {
			if !errors.Is(err, io.EOF) || len(calendars) == 0 {
				x.problem(fmt.Errorf("caldav: reading iCalendar: %w", err))
			}
			return calendars
		}
		calendars = append(calendars, c)
	}
}

// decodeCalendar reads one calendar. go-ical panics on some malformed lines.
func decodeCalendar(d *ical.Decoder) (c *ical.Component, err error) {
	defer func() {
		if recover() != nil {
			c, err = nil, errors.New("malformed content line")
		}
	}()
	calendar, err := d.Decode()
	if err != nil {
		return nil, err
	}
	return calendar.Component, nil
}

// relevant returns the lines of a stream that matter here, unfolded: alarms,
// attachments and descriptions are most of its bytes. Lines that cannot be read
// are left out, lest one of them costs the whole object.
func relevant(data []byte) ([]byte, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	out := make([]byte, 0, min(len(data), 4096))
	var open []string // components, outermost first
	skipped := 0      // components within one that does not matter
	for len(data) > 0 {
		var line []byte
		line, data = unfold(data)
		name, params, value, ok := cutLine(line)
		if !ok || len(name)+len(params) > maxParams || len(value) > maxValue {
			continue
		}
		switch {
		case name == "BEGIN" && skipped > 0, name == "BEGIN" && !wanted(open, strings.ToUpper(string(value))):
			if skipped++; skipped > maxDepth {
				return out, fmt.Errorf("%w: components nested more than %d deep", ErrLimit, maxDepth)
			}
			continue
		case name == "BEGIN":
			open = append(open, strings.ToUpper(string(value)))
		case name == "END" && skipped > 0:
			skipped--
			continue
		case name == "END":
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		case skipped > 0 || len(open) == 0 || !matters(open[len(open)-1], name):
			continue
		}
		out = append(out, name...)
		out = append(out, params...)
		out = append(out, ':')
		out = append(out, value...)
		out = append(out, '\r', '\n')
	}
	return out, nil
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

// cutLine cuts a content line at the end of its name, and at the colon before
// its value, which is the first one outside quotes.
func cutLine(line []byte) (name string, params, value []byte, ok bool) {
	quoted, nameEnd := false, -1
	for i, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ';' && nameEnd < 0:
			nameEnd = i
		case c == ':':
			if nameEnd < 0 {
				nameEnd = i
			}
			return strings.ToUpper(string(line[:nameEnd])), line[nameEnd:i], line[i+1:], nameEnd > 0
		}
	}
	return "", nil, nil, false
}

// wanted reports whether a component within the open ones matters.
func wanted(open []string, name string) bool {
	parent := ""
	if len(open) > 0 {
		parent = open[len(open)-1]
	}
	switch parent {
	case "":
		return name == ical.CompCalendar
	case ical.CompCalendar:
		return name == ical.CompEvent || name == ical.CompTimezone
	case ical.CompTimezone:
		return name == ical.CompTimezoneStandard || name == ical.CompTimezoneDaylight
	}
	return false
}

// The properties that go-ical has no names for.
const (
	propBusyStatus = "X-MICROSOFT-CDO-BUSYSTATUS"
	propAllDay     = "X-MICROSOFT-CDO-ALLDAYEVENT"
)

// matters reports whether a property of a component does.
func matters(component, property string) bool {
	switch component {
	case ical.CompEvent:
		switch property {
		case ical.PropUID, ical.PropDateTimeStart, ical.PropDateTimeEnd, ical.PropDuration, ical.PropRecurrenceRule,
			ical.PropRecurrenceDates, ical.PropExceptionDates, ical.PropRecurrenceID, ical.PropStatus, ical.PropTransparency,
			ical.PropClass, ical.PropSummary, ical.PropLocation, ical.PropAttendee, ical.PropSequence, ical.PropLastModified,
			ical.PropDateTimeStamp, propBusyStatus, propAllDay:
			return true
		}
	case ical.CompTimezone:
		return property == ical.PropTimezoneID
	case ical.CompTimezoneStandard, ical.CompTimezoneDaylight:
		switch property {
		case ical.PropDateTimeStart, ical.PropTimezoneOffsetFrom, ical.PropTimezoneOffsetTo, ical.PropRecurrenceRule,
			ical.PropRecurrenceDates:
			return true
		}
	}
	return false
}
