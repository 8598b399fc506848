package caldav

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/pidf"
)

// event is a VEVENT: one that stands alone, the master of a recurring one, or
// an occurrence of it that differs (RFC 5545 §3.6.1).
type event struct {
	uid         string
	start       moment
	length      length
	occurrence  *moment // RECURRENCE-ID: what it replaces; nil for a master
	onward      bool    // RANGE=THISANDFUTURE: and all that follow it
	sequence    int
	rules       []string
	extra       []period           // RDATE
	except      moments            // EXDATE
	state       pidf.CalendarState // "" where it does not count
	subject     string
	location    string
	private     bool
	allDay      bool
	stamp       time.Time
	overridden  moments  // the occurrences that are replaced
	changes     []*event // those with onward, by occurrence
	withoutRule bool     // neither RRULE nor RDATE: its ID is the UID alone
}

// period is an RDATE: a start, and a length where it has one of its own.
type period struct {
	start  moment
	length *length
}

// maxDates bounds the dates of one kind of an event.
const maxDates = 10_000

// calendar expands the events of a calendar.
func (x *expansion) calendar(c *ical.Component) {
	definitions := make(map[string]*ical.Component)
	for _, child := range c.Children {
		if child.Name == ical.CompTimezone {
			if id := child.Props.Get(ical.PropTimezoneID); id != nil {
				definitions[strings.TrimSpace(id.Value)] = child
			}
		}
	}
	var events []*event
	for _, child := range c.Children {
		if child.Name != ical.CompEvent {
			continue
		}
		if !x.alive() {
			return
		}
		e, err := x.event(child, definitions)
		if err != nil {
			x.problem(err)
			continue
		}
		events = append(events, e)
	}
	for _, e := range replace(events) {
		if !x.alive() {
			return
		}
		x.occurrences(e)
	}
}

// replace leaves out the older ones of several versions, and tells masters
// which of their occurrences are replaced.
func replace(events []*event) []*event {
	type key struct {
		uid string
		at  int64
	}
	latest := make(map[key]*event)
	replaced := make(map[string]moments)
	changes := make(map[string][]*event)
	identity := func(e *event) key {
		k := key{uid: e.uid, at: -1 << 63} // of masters
		if e.occurrence != nil {
			k.at = e.occurrence.instant().Unix()
		}
		return k
	}
	for _, e := range events {
		k := identity(e)
		if other := latest[k]; other == nil || e.sequence >= other.sequence {
			latest[k] = e
		}
		if e.occurrence != nil {
			if replaced[e.uid] == nil {
				replaced[e.uid] = make(moments)
			}
			replaced[e.uid].add(*e.occurrence)
		}
	}
	events = slices.DeleteFunc(events, func(e *event) bool { return latest[identity(e)] != e })
	for _, e := range events {
		if e.onward {
			changes[e.uid] = append(changes[e.uid], e)
		}
	}
	for _, list := range changes {
		slices.SortFunc(list, func(a, b *event) int { return a.occurrence.instant().Compare(b.occurrence.instant()) })
	}
	for _, e := range events {
		e.overridden, e.changes = replaced[e.uid], changes[e.uid]
	}
	return events
}

// event reads a VEVENT.
func (x *expansion) event(c *ical.Component, definitions map[string]*ical.Component) (*event, error) {
	get := c.Props.Get
	e := &event{except: make(moments), state: x.state(c), subject: text(get(ical.PropSummary)), location: text(get(ical.PropLocation))}
	if uid := get(ical.PropUID); uid != nil {
		e.uid = strings.TrimSpace(uid.Value)
	}
	if e.uid == "" {
		return nil, errors.New("caldav: event without UID")
	}
	read := func(p *ical.Prop) ([]period, error) { return x.periods(p, definitions) }
	start, err := single(get(ical.PropDateTimeStart), read)
	if err != nil {
		return nil, err
	}
	if start == nil {
		return nil, errors.New("caldav: event without DTSTART")
	}
	e.start = *start
	if e.length, err = eventLength(c, e.start, read); err != nil {
		return nil, err
	}
	if p := get(ical.PropRecurrenceID); p != nil {
		if e.occurrence, err = single(p, read); err != nil {
			return nil, err
		}
		e.onward = strings.EqualFold(p.Params.Get(ical.ParamRange), "THISANDFUTURE")
	}
	for _, p := range c.Props.Values(ical.PropRecurrenceDates) {
		found, err := read(&p)
		x.problem(err)
		e.extra = append(e.extra, found...)
	}
	exceptions := 0
	for _, p := range c.Props.Values(ical.PropExceptionDates) {
		found, err := read(&p)
		x.problem(err)
		exceptions += len(found)
		for _, d := range found {
			e.except.add(d.start)
		}
	}
	if max(len(e.extra), exceptions) > maxDates {
		return nil, inProperty(ical.PropRecurrenceDates, ErrLimit)
	}
	for _, p := range c.Props.Values(ical.PropRecurrenceRule) {
		e.rules = append(e.rules, p.Value)
	}
	e.withoutRule = len(e.rules)+len(e.extra) == 0
	if p := get(ical.PropSequence); p != nil {
		e.sequence, _ = strconv.Atoi(strings.TrimSpace(p.Value)) // malformed: the oldest
	}
	if p := get(ical.PropClass); p != nil {
		// What is not known is to be treated as private (RFC 5545 §3.8.1.3).
		class := word(p)
		e.private = class != "" && class != "PUBLIC"
	}
	e.allDay = e.start.date || word(get(propAllDay)) == "TRUE"
	stamp, _ := single(cmp.Or(get(ical.PropLastModified), get(ical.PropDateTimeStamp)), read) // malformed: none
	if stamp != nil {
		e.stamp = stamp.instant().UTC()
	}
	return e, nil
}

// single reads a property with one date or time; nil where it is absent.
func single(p *ical.Prop, read func(*ical.Prop) ([]period, error)) (*moment, error) {
	if p == nil {
		return nil, nil
	}
	found, err := read(p)
	if err != nil {
		return nil, err
	}
	return &found[0].start, nil
}

// periods reads a property of dates, times or periods, at least one.
func (x *expansion) periods(p *ical.Prop, definitions map[string]*ical.Component) ([]period, error) {
	zone := x.Location
	if id := p.Params.Get(ical.ParamTimezoneID); id != "" {
		var err error
		if zone, err = x.zones.find(id, definitions, &x.budget); err != nil {
			x.problem(err)
			zone = x.Location
		}
	}
	isDate := strings.EqualFold(p.Params.Get(ical.ParamValue), string(ical.ValueDate))
	var found []period
	for s := range strings.SplitSeq(p.Value, ",") {
		if len(found) > maxDates {
			return nil, inProperty(p.Name, ErrLimit)
		}
		from, to, isPeriod := strings.Cut(s, "/")
		m, err := parseMoment(from, isDate, zone, x.Location)
		if err != nil {
			return nil, inProperty(p.Name, err)
		}
		d := period{start: m}
		if isPeriod {
			l, err := parseDuration(to)
			if end, endErr := parseMoment(to, isDate, zone, x.Location); endErr == nil {
				l, err = length{exact: end.instant().Sub(m.instant())}, nil
			}
			if err != nil {
				return nil, inProperty(p.Name, err)
			}
			d.length = &l
		}
		found = append(found, d)
	}
	return found, nil
}

// eventLength is DTEND or DURATION; without either, a date takes its day and a
// time none (RFC 5545 §3.6.1).
func eventLength(c *ical.Component, start moment, read func(*ical.Prop) ([]period, error)) (length, error) {
	end, err := single(c.Props.Get(ical.PropDateTimeEnd), read)
	switch {
	case err != nil:
		return length{}, err
	case end != nil && end.date && start.date:
		// RFC 5545 §3.8.2.2 wants a later date; the same one is common.
		return length{days: max(1, int(end.clock.Sub(start.clock)/(24*time.Hour)))}, nil
	case end != nil:
		return length{exact: end.instant().Sub(start.instant())}, nil
	}
	if p := c.Props.Get(ical.PropDuration); p != nil {
		l, err := parseDuration(p.Value)
		if err != nil {
			return length{}, inProperty(ical.PropDuration, err)
		}
		return l, nil
	}
	if start.date {
		return length{days: 1}, nil
	}
	return length{}, nil
}

// word reads a property that is one of several words.
func word(p *ical.Prop) string {
	if p == nil {
		return ""
	}
	return strings.ToUpper(strings.TrimSpace(p.Value))
}

// state returns what an event does to the presence of its owner, or "" where it
// does not count.
func (x *expansion) state(c *ical.Component) pidf.CalendarState {
	answer := x.answer(c)
	status := word(c.Props.Get(ical.PropStatus))
	switch {
	case status == string(ical.EventCancelled), answer == "DECLINED", answer == "DELEGATED":
		return ""
	case x.Transparent:
		return pidf.CalendarFree
	}
	if state, ok := calendar.State(word(c.Props.Get(propBusyStatus))); ok {
		return state
	}
	switch {
	case word(c.Props.Get(ical.PropTransparency)) == "TRANSPARENT":
		return pidf.CalendarFree
	case status == string(ical.EventTentative), answer == "TENTATIVE", answer == "NEEDS-ACTION":
		return pidf.CalendarTentative
	}
	return pidf.CalendarBusy
}

// answer is the owner's to an invitation (PARTSTAT), or "" where it is none.
func (x *expansion) answer(c *ical.Component) string {
	for _, p := range c.Props.Values(ical.PropAttendee) {
		for _, address := range []string{p.Value, p.Params.Get("EMAIL")} {
			if address = normalAddress(address); address == "" {
				continue
			}
			if slices.ContainsFunc(x.Addresses, func(own string) bool { return normalAddress(own) == address }) {
				return strings.ToUpper(cmp.Or(p.Params.Get(ical.ParamParticipationStatus), "NEEDS-ACTION"))
			}
		}
	}
	return ""
}
