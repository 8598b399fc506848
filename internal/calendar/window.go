package calendar

import (
	"cmp"
	"slices"
	"time"

	"github.com/openblustar/blustar/pidf/aa"
)

// A Window is the time of which appointments are shown: from From until before To.
type Window struct{ From, To time.Time }

// Has reports whether any of the time from from until end is in the window. What
// takes no time is not.
func (w Window) Has(from, end time.Time) bool {
	return end.After(from) && end.After(w.From) && from.Before(w.To)
}

// Select returns those of all that are in the window, earliest first, at most most
// of them: what has ended at now makes room first, the oldest of it before the rest,
// and then the latest. Of several with one ID the first counts. cut is how many were
// left out because of most. It works within all.
func (w Window) Select(all []aa.Appointment, most int, now time.Time) (kept []aa.Appointment, cut int) {
	seen := make(map[string]struct{}, len(all))
	all = slices.DeleteFunc(all, func(a aa.Appointment) bool {
		_, again := seen[a.ID]
		if again || !w.Has(a.From, a.End) {
			return true
		}
		seen[a.ID] = struct{}{}
		return false
	})
	slices.SortStableFunc(all, func(x, y aa.Appointment) int {
		return cmp.Or(x.From.Compare(y.From), x.End.Compare(y.End), cmp.Compare(x.ID, y.ID))
	})
	cut = max(0, len(all)-most)
	if cut > 0 {
		drop := cut
		all = slices.DeleteFunc(all, func(a aa.Appointment) bool {
			if drop == 0 || a.End.After(now) {
				return false
			}
			drop--
			return true
		})
	}
	n := min(len(all), most)
	return all[:n:n], cut
}
