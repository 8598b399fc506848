package msgraph

import (
	"fmt"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
)

// zonedTime is a dateTimeTimeZone: what a clock shows, and the zone of the clock beside it, by any
// name.
type zonedTime struct {
	DateTime string `json:"dateTime"`
	TimeZone string `json:"timeZone"`
}

// clock returns what the clock shows, as if it were UTC.
func (z *zonedTime) clock() (time.Time, error) {
	if z == nil {
		return time.Time{}, fmt.Errorf("msgraph: time is missing")
	}
	t, err := time.Parse("2006-01-02T15:04:05", z.DateTime) // takes a fraction too
	if err != nil {
		return time.Time{}, fmt.Errorf("msgraph: malformed time")
	}
	return t, nil
}

// instant returns the time that is meant.
func (z *zonedTime) instant(zones *calendar.Zones) (time.Time, error) {
	if z != nil {
		if t, err := time.Parse(time.RFC3339, z.DateTime); err == nil { // with an offset, which counts
			return t.UTC(), nil
		}
	}
	t, err := z.clock()
	if err != nil || z.TimeZone == "" { // not said: what was asked for, which is UTC
		return t, err
	}
	zone := zones.Find(z.TimeZone)
	if zone == nil {
		return time.Time{}, fmt.Errorf("msgraph: unknown time zone")
	}
	return calendar.Instant(t, zone).UTC(), nil
}
