package presence

import (
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf"
)

// mailKey folds a mailbox address: they compare without case.
func mailKey(mail string) string { return strings.ToLower(strings.TrimSpace(mail)) }

func lineOf(src *source[LineState]) Line {
	v, prov, changed, known := src.read()
	if !known {
		v.State = pidf.LineUnknown
	}
	return Line{Provenance: prov, DN: src.key, State: v.State, Forward: v.Forward, Changed: changed}
}

// meetingsOf returns the appointments that are not over, by start.
func meetingsOf(src *source[CalendarState], now time.Time) []Meeting {
	v, prov, changed, _ := src.read()
	var list []Meeting
	for _, a := range v.Appointments {
		if !a.End.After(now) {
			continue
		}
		if a.Timestamp.IsZero() {
			a.Timestamp = changed
		}
		list = append(list, Meeting{prov, a})
	}
	slices.SortStableFunc(list, func(a, b Meeting) int { return a.From.Compare(b.From) })
	return list
}

// externalOf merges external presence with the forwarding that the user asked
// for (BSP-4.3-6).
func externalOf(src *source[ExternalState], fwd *forwarding) *External {
	var e *External
	if src != nil {
		if v, prov, changed, known := src.read(); known {
			e = &External{prov, v.Status, v.FreeText, v.FwdDestination, v.TelephoneEvent, changed}
		}
	}
	if fwd != nil {
		if e == nil {
			e = &External{Provenance: Provenance{Owner: fwd.owner, Received: fwd.since}, Changed: fwd.since}
		}
		e.FwdDestination = fwd.destination
	}
	return e
}

func equalLine(a, b LineState) bool { return a.State == b.State && a.Forward == b.Forward }

func equalCalendar(a, b CalendarState) bool {
	return slices.EqualFunc(a.Appointments, b.Appointments, func(x, y pidf.Appointment) bool {
		return x.ID == y.ID && x.State == y.State && x.Subject == y.Subject && x.Location == y.Location &&
			x.From.Equal(y.From) && x.End.Equal(y.End) && x.AllDay == y.AllDay && x.Private == y.Private
	})
}

func equalExternal(a, b ExternalState) bool {
	a.Lifetime, b.Lifetime = 0, 0
	return a == b
}

func (a ServiceState) or(b ServiceState) ServiceState {
	return ServiceState{a.Global || b.Global, a.Audio || b.Audio, a.Video || b.Video, a.Message || b.Message}
}

// lifetimes of the values, for newSources.
func lineLifetime(v LineState) time.Duration         { return v.Lifetime }
func calendarLifetime(v CalendarState) time.Duration { return v.Lifetime }
func externalLifetime(v ExternalState) time.Duration { return v.Lifetime }
