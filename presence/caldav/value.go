package caldav

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
)

const (
	dateLayout     = "20060102"
	dateTimeLayout = "20060102T150405"
)

// moment is a date, or a date and time, as it is written: on the clock of a
// zone. Recurrences are about that clock, not about instants.
type moment struct {
	clock time.Time // what the clock shows, as if it were UTC
	date  bool      // the time of day means nothing
	zone  *time.Location

	floating bool // the zone is not written, but the one that is meant
}

// instant returns when the clock shows it.
func (m moment) instant() time.Time { return calendar.Instant(m.clock, m.zone) }

// moved returns the moment of the same zone at another time of its clock.
func (m moment) moved(clock time.Time) moment {
	m.clock = clock
	return m
}

// like returns the moment as one of the same type and zone as start, the begin of a
// series: RFC 5545 wants that of EXDATE, RDATE and RECURRENCE-ID (§3.8.5.1, §3.8.5.2,
// §3.8.4.4), and not all programs do it.
func (m moment) like(start moment) moment {
	switch {
	case start.date && !m.date:
		day := m.clock.Truncate(24 * time.Hour)
		// Midnight of the series, if that is what is written in another zone; else
		// the day as it is written.
		if own := calendar.Clock(m.instant(), start.zone); !m.clock.Equal(day) && own.Equal(own.Truncate(24*time.Hour)) {
			day = own
		}
		return moment{clock: day, date: true, zone: start.zone}
	case m.date && !start.date:
		day := start.clock.Truncate(24 * time.Hour)
		return moment{clock: m.clock.Add(start.clock.Sub(day)), zone: start.zone}
	case m.floating && !start.floating:
		m.zone, m.floating = start.zone, false
	}
	return m
}

// compact writes the moment for IDs.
func (m moment) compact() string {
	if m.date {
		return m.clock.Format(dateLayout)
	}
	return m.instant().UTC().Format(dateTimeLayout) + "Z"
}

// parseMoment reads a DATE or DATE-TIME (RFC 5545 §3.3.4, §3.3.5).
func parseMoment(value string, isDate bool, zone, local *time.Location) (moment, error) {
	value = strings.ToUpper(strings.TrimSpace(value))
	m := moment{zone: zone}
	layout := dateTimeLayout
	switch {
	case isDate || len(value) == len(dateLayout):
		m.date, m.zone, layout = true, local, dateLayout
		value = value[:min(len(value), len(dateLayout))]
	case len(value) == len(dateTimeLayout)+1 && value[len(value)-1] == 'Z':
		m.zone, value = time.UTC, value[:len(dateTimeLayout)]
	}
	// A leap second is the second after (RFC 5545 §3.3.12).
	seconds, leap := strings.CutSuffix(value, "60")
	if leap = leap && len(value) == len(dateTimeLayout); leap {
		value = seconds + "59"
	}
	t, err := time.Parse(layout, value)
	if err != nil || t.Year() < 1 {
		return moment{}, errors.New("malformed date or time")
	}
	if leap {
		t = t.Add(time.Second)
	}
	m.clock = t
	return m, nil
}

// length is how long an event takes: days of the calendar, and then time.
type length struct {
	days  int
	exact time.Duration
}

// after returns the instant at which what begins at m ends.
func (l length) after(m moment) time.Time {
	if l.days != 0 {
		m.clock = m.clock.AddDate(0, 0, l.days)
	}
	return m.instant().Add(l.exact)
}

// about is the length in time, zones aside.
func (l length) about() time.Duration {
	return time.Duration(l.days)*24*time.Hour + l.exact
}

// maxDays bounds a duration, so that it fits a time.Duration.
const maxDays = 36500

// parseDuration reads a DURATION that is not negative (RFC 5545 §3.3.6). Days
// and weeks are of the calendar.
func parseDuration(s string) (length, error) {
	malformed := errors.New("malformed duration")
	s = strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(s)), "+")
	rest, ok := strings.CutPrefix(s, "P")
	if !ok {
		return length{}, malformed
	}
	var l length
	n, digits, clock := 0, 0, false
	for _, c := range rest {
		unit := time.Duration(0)
		switch {
		case c >= '0' && c <= '9':
			n = min(n*10+int(c-'0'), math.MaxInt32)
			digits++
			continue
		case c == 'T' && !clock && digits == 0:
			clock = true
			continue
		case digits == 0:
			return length{}, malformed
		case c == 'W' && !clock:
			l.days += 7 * n
		case c == 'D' && !clock:
			l.days += n
		case c == 'H' && clock:
			unit = time.Hour
		case c == 'M' && clock:
			unit = time.Minute
		case c == 'S' && clock:
			unit = time.Second
		default:
			return length{}, malformed
		}
		if l.days > maxDays || time.Duration(n) > maxDays*24*time.Hour/max(unit, 1) {
			return length{}, malformed
		}
		l.exact += time.Duration(n) * unit
		if l.exact > maxDays*24*time.Hour {
			return length{}, malformed
		}
		n, digits = 0, 0
	}
	if digits > 0 || len(rest) == 0 {
		return length{}, malformed
	}
	return l, nil
}

// text reads a TEXT (RFC 5545 §3.3.11) of one line. It forgives commas that should
// have been escaped, and unknown escapes.
func text(p *property) string {
	if p == nil {
		return ""
	}
	return calendar.Text(unescape(p.value))
}

// unescape reads the escapes of a TEXT of one line, also those that there are none of.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\n`, " ", `\N`, " ", `\\`, `\`, `\`, "").Replace(s)
}

// inProperty says which property an error is about; nil is no error.
func inProperty(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("caldav: %s: %w", name, err)
}
