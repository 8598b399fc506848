package caldav

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/pidf/aa"
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
	exceptRules []string         // EXRULE
	extra       []period         // RDATE
	except      moments          // EXDATE
	state       aa.CalendarState // "" where it does not count
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
func (x *expansion) calendar(c *component) {
	definitions := make(map[string]*component)
	for _, child := range c.children {
		if child.name == compTimezone {
			if id := child.get(propZoneID); id != nil {
				definitions[zoneName(id.value)] = child
			}
		}
	}
	var events []*event
	for _, child := range c.children {
		if child.name != compEvent {
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
	masters := make(map[string]*event)
	for _, e := range events {
		if e.occurrence == nil {
			masters[e.uid] = e
		}
	}
	for _, e := range events {
		if master := masters[e.uid]; master != nil && e.occurrence != nil {
			m := e.occurrence.like(master.start)
			e.occurrence = &m
		}
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
func (x *expansion) event(c *component, definitions map[string]*component) (*event, error) {
	get := c.get
	e := &event{except: make(moments), state: x.state(c), subject: text(get(propSummary)),
		location: text(get(propLocation))}
	if uid := get(propUID); uid != nil {
		e.uid = strings.TrimSpace(uid.value)
	}
	if e.uid == "" {
		return nil, errors.New("caldav: event without UID")
	}
	read := func(p *property) ([]period, error) { return x.periods(p, definitions) }
	start, err := single(get(propStart), read)
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
	if p := get(propOccurrence); p != nil {
		if e.occurrence, err = single(p, read); err != nil {
			return nil, err
		}
		e.onward = strings.EqualFold(p.params[paramRange], "THISANDFUTURE")
	}
	for _, p := range c.all(propExtra) {
		found, err := read(p)
		x.problem(err)
		for _, d := range found {
			e.extra = append(e.extra, period{d.start.like(e.start), d.length})
		}
	}
	exceptions := 0
	for _, p := range c.all(propExcept) {
		found, err := read(p)
		x.problem(err)
		exceptions += len(found)
		for _, d := range found {
			if !d.start.date { // a date names all of its day
				d.start = d.start.like(e.start)
			}
			e.except.add(d.start)
		}
	}
	if max(len(e.extra), exceptions) > maxDates {
		return nil, inProperty(propExtra, ErrLimit)
	}
	for _, p := range c.all(propRule) {
		e.rules = append(e.rules, p.value)
	}
	for _, p := range c.all(propExceptRule) {
		e.exceptRules = append(e.exceptRules, p.value)
	}
	e.withoutRule = len(e.rules)+len(e.extra) == 0
	if p := get(propSequence); p != nil {
		e.sequence, _ = strconv.Atoi(strings.TrimSpace(p.value)) // malformed: the oldest
	}
	if p := get(propClass); p != nil {
		// What is not known is to be treated as private (RFC 5545 §3.8.1.3).
		class := word(p)
		e.private = class != "" && class != "PUBLIC"
	}
	e.allDay = e.start.date || word(get(propAllDay)) == "TRUE"
	stamp, _ := single(cmp.Or(get(propModified), get(propStamp)), read) // malformed: none
	if stamp != nil {
		e.stamp = stamp.instant().UTC()
	}
	return e, nil
}

// single reads a property with one date or time; nil where it is absent.
func single(p *property, read func(*property) ([]period, error)) (*moment, error) {
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
func (x *expansion) periods(p *property, definitions map[string]*component) ([]period, error) {
	zone, id := x.Location, p.params[paramZone]
	if id != "" {
		var err error
		if zone, err = x.zones.find(id, definitions, &x.budget); err != nil {
			x.problem(err)
			zone = x.Location
		}
	}
	isDate := strings.EqualFold(p.params[paramValue], "DATE")
	var found []period
	for s := range strings.SplitSeq(p.value, ",") {
		if len(found) > maxDates {
			return nil, inProperty(p.name, ErrLimit)
		}
		from, to, isPeriod := strings.Cut(s, "/")
		m, err := parseMoment(from, isDate, zone, x.Location)
		if err != nil {
			return nil, inProperty(p.name, err)
		}
		m.floating = id == "" && !m.date && !strings.HasSuffix(strings.ToUpper(strings.TrimSpace(from)), "Z")
		d := period{start: m}
		if isPeriod {
			l, err := parseDuration(to)
			if end, endErr := parseMoment(to, isDate, zone, x.Location); endErr == nil {
				l, err = length{exact: end.instant().Sub(m.instant())}, nil
			}
			if err != nil {
				return nil, inProperty(p.name, err)
			}
			d.length = &l
		}
		found = append(found, d)
	}
	return found, nil
}

// eventLength is DTEND or DURATION; without either, a date takes its day and a
// time none (RFC 5545 §3.6.1).
func eventLength(c *component, start moment, read func(*property) ([]period, error)) (length, error) {
	end, err := single(c.get(propEnd), read)
	switch {
	case err != nil:
		return length{}, err
	case end != nil && end.date && start.date:
		// RFC 5545 §3.8.2.2 wants a later date; the same one is common.
		return length{days: max(1, int(end.clock.Sub(start.clock)/(24*time.Hour)))}, nil
	case end != nil:
		return length{exact: end.instant().Sub(start.instant())}, nil
	}
	if p := c.get(propDuration); p != nil {
		l, err := parseDuration(p.value)
		if err != nil {
			return length{}, inProperty(propDuration, err)
		}
		return l, nil
	}
	if start.date {
		return length{days: 1}, nil
	}
	return length{}, nil
}

// word reads a property that is one of several words.
func word(p *property) string {
	if p == nil {
		return ""
	}
	return strings.ToUpper(strings.TrimSpace(p.value))
}

// state returns what an event does to the presence of its owner, or "" where it
// does not count.
func (x *expansion) state(c *component) aa.CalendarState {
	answer := x.answer(c)
	status := word(c.get(propStatus))
	switch {
	case status == "CANCELLED", answer == "DECLINED", answer == "DELEGATED":
		return ""
	case x.Transparent:
		return aa.CalendarFree
	}
	if state, ok := calendar.State(word(c.get(propBusyStatus))); ok {
		return state
	}
	switch {
	case word(c.get(propTransp)) == "TRANSPARENT":
		return aa.CalendarFree
	case status == "TENTATIVE", answer == "TENTATIVE", answer == "NEEDS-ACTION":
		return aa.CalendarTentative
	}
	return aa.CalendarBusy
}

// answer is the owner's to an invitation (PARTSTAT), or "" where it is none. Who is
// invited by several addresses answers by one of them. Who organizes takes part, and
// owes no answer.
func (x *expansion) answer(c *component) string {
	const none = "NEEDS-ACTION"
	found := ""
	for _, p := range c.all(propAttendee) {
		if !x.isOwner(p) {
			continue
		}
		if answer := strings.ToUpper(cmp.Or(p.params[paramAnswer], none)); answer != none {
			return answer
		}
		found = none
	}
	if found != "" && slices.ContainsFunc(c.all(propOrganizer), x.isOwner) {
		return ""
	}
	return found
}

// isOwner reports whether a property names the owner of the calendar.
func (x *expansion) isOwner(p *property) bool {
	for _, address := range []string{p.value, p.params[paramEmail]} {
		address = normalAddress(address)
		if address != "" && slices.ContainsFunc(x.Addresses, func(own string) bool { return normalAddress(own) == address }) {
			return true
		}
	}
	return false
}
