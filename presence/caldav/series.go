package caldav

import (
	"slices"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
)

// moments is a set of occurrences, as EXDATE and RECURRENCE-ID name them. Its
// keys are of two kinds, times and whole days.
type moments map[instantOrDay]struct{}

type instantOrDay struct {
	seconds int64 // Unix time, or of a day that of its midnight on the clock
	day     bool
}

func (s moments) add(m moment) {
	if m.date {
		s[instantOrDay{m.clock.Unix(), true}] = struct{}{}
		return
	}
	s[instantOrDay{m.instant().Unix(), false}] = struct{}{}
}

// has reports whether the set names the moment. A date names the whole day: some
// clients write no time.
func (s moments) has(m moment) bool {
	if len(s) == 0 {
		return false
	}
	if _, ok := s[instantOrDay{m.clock.Truncate(24 * time.Hour).Unix(), true}]; ok {
		return true
	}
	_, ok := s[instantOrDay{m.instant().Unix(), false}]
	return ok
}

// changed returns the last change of the series, as from an occurrence on
// (RANGE=THISANDFUTURE, RFC 5545 §3.2.13), that holds for one planned at m; nil
// where there is none.
func (e *event) changed(m moment) *event {
	if len(e.changes) == 0 {
		return nil
	}
	n, found := slices.BinarySearchFunc(e.changes, m.instant(), func(c *event, at time.Time) int {
		return c.occurrence.instant().Compare(at)
	})
	switch {
	case found:
		return e.changes[n]
	case n == 0:
		return nil
	}
	return e.changes[n-1]
}

// shifted returns when an occurrence planned at m begins after a change: as much
// earlier or later, on the clock, as the one that the change names.
func (e *event) shifted(m moment) moment {
	was, planned := calendar.Clock(e.occurrence.instant(), e.start.zone), calendar.Clock(m.instant(), e.start.zone)
	return e.start.moved(planned.Add(e.start.clock.Sub(was)))
}
