package caldav

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"github.com/openblustar/blustar/internal/calendar"
)

// maxZones bounds the definitions that are remembered.
const maxZones = 256

// zones finds time zones and remembers definitions, those that cannot be read too:
// the same few come with each event of a calendar. It is used by one goroutine.
type zones struct {
	names   *calendar.Zones
	defined map[string]*time.Location // by fingerprint; nil: it cannot be read
}

func newZones(names *calendar.Zones) *zones {
	return &zones{names: names, defined: make(map[string]*time.Location)}
}

// find returns the zone of a TZID: that of the tz database, where the name can
// mean no other; else the definition that came with it; else, for short names
// such as "EST", the tz database again.
func (z *zones) find(id string, definitions map[string]*ical.Component, b *budget) (*time.Location, error) {
	id = strings.TrimSpace(id)
	if l := z.names.Find(id); l != nil {
		return l, nil
	}
	if d := definitions[id]; d != nil {
		l, err := z.define(d, b)
		if l != nil || err != nil {
			return l, err
		}
	}
	if l := z.names.FindShort(id); l != nil {
		return l, nil
	}
	return nil, errors.New("caldav: TZID: unknown time zone")
}

// define returns the zone of a definition; nil where it could not be read before.
func (z *zones) define(d *ical.Component, b *budget) (*time.Location, error) {
	key := fingerprint(d)
	if l, ok := z.defined[key]; ok {
		return l, nil
	}
	if len(z.defined) >= maxZones {
		clear(z.defined)
	}
	l, err := define(d, b)
	z.defined[key] = l
	return l, err
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
