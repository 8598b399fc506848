package deadline

import "time"

// The own time of a process is counted in nanoseconds: Unix time as it would be had nobody set the
// clock on the wall since the process began. Where times are kept in eight bytes they are such.

var began = time.Now()

// Now returns the process's own time.
func Now() int64 { return began.UnixNano() + int64(time.Since(began)) }

// At returns a moment in the process's own time.
func At(t time.Time) int64 { return began.UnixNano() + int64(Steady(t).Sub(began)) }

// Time returns a moment of the process's own time, to be compared with others. What it shows is
// not the time on the wall.
func Time(at int64) time.Time { return began.Add(time.Duration(at - began.UnixNano())) }

// Steady returns t with a reading of the monotonic clock. A time that has none, as from a record,
// is as far from now as the clock on the wall says.
func Steady(t time.Time) time.Time {
	if isSteady(t) {
		return t
	}
	now := time.Now()
	return now.Add(t.Sub(now))
}

// Wall returns a moment by the clock on the wall as it is now, for records.
func Wall(t time.Time) time.Time {
	if !isSteady(t) {
		return t
	}
	now := time.Now()
	return now.Round(0).Add(t.Sub(now))
}

func isSteady(t time.Time) bool { return t != t.Round(0) }
