package caldav

import (
	"errors"
	"fmt"
	"strings"
	"time"

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
func (z *zones) find(id string, definitions map[string]*component, b *budget) (*time.Location, error) {
	name := zoneName(id)
	if l := z.names.Find(name); l != nil {
		return l, nil
	}
	for _, name := range []string{id, name} {
		if d := definitions[name]; d != nil {
			if l, err := z.define(d, b); l != nil || err != nil {
				return l, err
			}
		}
	}
	if l := z.names.FindShort(name); l != nil {
		return l, nil
	}
	return nil, errors.New("caldav: TZID: unknown time zone")
}

// zoneName reads a TZID, so that the parameter and the property compare. The property
// is TEXT, with escapes (RFC 5545 §3.8.3.1); some escape the parameter, too.
func zoneName(s string) string {
	return strings.Trim(unescape(s), `" `)
}

// define returns the zone of a definition; nil where it could not be read before.
func (z *zones) define(d *component, b *budget) (*time.Location, error) {
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
		for _, d := range c.children {
			id := d.get(propZoneID)
			if d.name != compTimezone || id == nil {
				continue
			}
			name := zoneName(id.value)
			l, err := z.find(name, map[string]*component{name: d}, &budget{steps: maxSteps})
			if err == nil {
				return l
			}
		}
	}
	return nil
}

// fingerprint identifies a VTIMEZONE by all that matters of it.
func fingerprint(c *component) string {
	var b strings.Builder
	for _, o := range c.children {
		fmt.Fprintf(&b, "%s", o.name)
		for _, name := range []string{
			propStart, propOffsetFrom, propOffsetTo,
			propRule, propExtra,
		} {
			for _, p := range o.all(name) {
				fmt.Fprintf(&b, ";%s=%s", name, p.value)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
