package caldav

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-ical"
)

// maxZones bounds the zones that are remembered.
const maxZones = 256

// zones remembers time zones, those that do not exist too: the same few are
// named by each event of a calendar. It is used by one goroutine.
type zones struct {
	known map[string]*time.Location // nil: there is none
}

func newZones() *zones { return &zones{known: make(map[string]*time.Location)} }

// find returns the zone of a TZID: that of the tz database, where the name can
// mean no other; else the definition that came with it; else, for short names
// such as "EST", the tz database again.
func (z *zones) find(id string, definitions map[string]*ical.Component, b *budget) (*time.Location, error) {
	id = strings.TrimSpace(id)
	if l := z.once("name "+id, func() *time.Location { return named(id) }); l != nil {
		return l, nil
	}
	if d := definitions[id]; d != nil {
		var err error
		l := z.once("definition "+fingerprint(d), func() (l *time.Location) {
			l, err = define(d, b)
			return l
		})
		if l != nil {
			return l, nil
		}
		if err != nil {
			return nil, err
		}
	}
	if l := z.once("short "+id, func() *time.Location { return load(id) }); l != nil {
		return l, nil
	}
	return nil, errors.New("caldav: TZID: unknown time zone")
}

func (z *zones) once(key string, get func() *time.Location) *time.Location {
	if l, ok := z.known[key]; ok {
		return l
	}
	if len(z.known) >= maxZones {
		clear(z.known)
	}
	l := get()
	z.known[key] = l
	return l
}

// calendar returns the zone of a calendar-timezone property (RFC 4791 §5.2.2):
// an object with one VTIMEZONE. It is nil where that cannot be read.
func (z *zones) calendar(data []byte) *time.Location {
	x := &expansion{}
	for _, c := range x.decode(data) {
		for _, d := range c.Children {
			id := d.Props.Get(ical.PropTimezoneID)
			if d.Name != ical.CompTimezone || id == nil {
				continue
			}
			name := strings.TrimSpace(id.Value)
			l, err := z.find(name, map[string]*ical.Component{name: d}, &budget{steps: maxSteps})
			if err == nil {
				return l
			}
		}
	}
	return nil
}

// named returns the zone of the tz database that a name means, be it one of its
// own, with or without the prefix of a vendor, or one of Windows; else nil.
func named(id string) *time.Location {
	if name, ok := windowsZone(id); ok {
		return load(name)
	}
	if !strings.Contains(id, "/") {
		if id == "UTC" || id == "GMT" {
			return time.UTC
		}
		return nil
	}
	// "/mozilla.org/20050126_1/Europe/Berlin", "/softwarestudio.org/…/America/Indiana/Knox"
	name := strings.TrimPrefix(id, "/")
	for {
		if l := load(name); l != nil {
			return l
		}
		var more bool
		if _, name, more = strings.Cut(name, "/"); !more || !strings.Contains(name, "/") {
			return nil
		}
	}
}

const maxZoneName = 64

// load loads a zone of the tz database; nil where there is none.
func load(name string) *time.Location {
	// time.LoadLocation gives "" and "Local" a meaning of their own.
	if name == "" || name == "Local" || len(name) > maxZoneName {
		return nil
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return l
}

// fingerprint identifies a VTIMEZONE by all that matters of it.
func fingerprint(c *ical.Component) string {
	var b strings.Builder
	for _, o := range c.Children {
		fmt.Fprintf(&b, "%s", o.Name)
		for _, name := range []string{
			ical.PropDateTimeStart, ical.PropTimezoneOffsetFrom, ical.PropTimezoneOffsetTo,
			ical.PropRecurrenceRule, ical.PropRecurrenceDates,
		} {
			for _, p := range o.Props.Values(name) {
				fmt.Fprintf(&b, ";%s=%s", name, p.Value)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
