package calendar

import "time"

// Instant returns when the clock of a zone shows what clock, in UTC, does. A time
// that the clock skips is read with the offset before the gap; of a time that it
// shows twice, the first counts (RFC 5545 §3.3.5). [time.Date] promises neither.
//
// The day of a date begins at its midnight: Instant(2026-03-29 00:00 UTC, zone).
func Instant(clock time.Time, zone *time.Location) time.Time {
	before := shifted(clock, clock.Add(-24*time.Hour), zone)
	if Clock(before, zone).Equal(clock) {
		return before
	}
	if after := shifted(clock, clock.Add(24*time.Hour), zone); Clock(after, zone).Equal(clock) {
		return after
	}
	return before
}

// shifted returns the instant of clock if the offset were that of about t.
func shifted(clock, t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return clock.Add(-time.Duration(offset) * time.Second)
}

// Clock returns what the clock of a zone shows at an instant, as if it were UTC.
func Clock(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
