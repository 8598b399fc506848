package caldav

import (
	"slices"
	"time"

	"github.com/teambition/rrule-go"
)

// step yields the times of a rule that repeats within a day. rrule-go never
// ends where the interval steps over all of BYHOUR, BYMINUTE or BYSECOND, so
// this goes from one interval to the next and looks (RFC 5545 §3.3.10).
func step(o *rrule.ROption, from time.Time, b *budget, yield func(time.Time) bool) error {
	if len(o.Byyearday)+len(o.Byweekno)+len(o.Bysetpos) > 0 {
		return errRule
	}
	unit := map[rrule.Frequency]time.Duration{
		rrule.HOURLY: time.Hour, rrule.MINUTELY: time.Minute, rrule.SECONDLY: time.Second,
	}[o.Freq] * time.Duration(o.Interval)
	count := 0
	for t := o.Dtstart; ; t = following(o, t, unit) {
		if err := b.take(1); err != nil {
			return err
		}
		// Parts of a smaller unit than the rule's add times, those of a larger one
		// are conditions.
		first := t
		minutes, seconds := []int{t.Minute()}, []int{t.Second()}
		if o.Freq == rrule.HOURLY && len(o.Byminute) > 0 {
			minutes, first = o.Byminute, t.Truncate(time.Hour)
		}
		if o.Freq < rrule.SECONDLY && len(o.Bysecond) > 0 {
			seconds, first = o.Bysecond, first.Truncate(time.Minute)
		}
		if first.After(o.Until) {
			return nil
		}
		if !matches(o, t) {
			continue
		}
		for _, minute := range minutes {
			for _, second := range seconds {
				at := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), minute, second, 0, time.UTC)
				if at.Before(o.Dtstart) || at.After(o.Until) {
					continue
				}
				if count++; o.Count > 0 && count > o.Count {
					return nil
				}
				if err := b.take(1); err != nil {
					return err
				}
				if at.Before(from) {
					continue
				}
				if err := b.take(shownCost); err != nil {
					return err
				}
				if !yield(at) {
					return nil
				}
			}
		}
	}
}

// following returns the next time after t, by whole intervals, at which the conditions
// of a rule may hold: of days and hours at which they do not, none is looked at.
func following(o *rrule.ROption, t time.Time, interval time.Duration) time.Time {
	var from time.Time
	switch {
	case !in(o.Bymonth, int(t.Month())):
		from = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	case !dayMatches(o, t):
		from = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
	case !in(o.Byhour, t.Hour()):
		from = t.Truncate(time.Hour).Add(time.Hour)
	case o.Freq >= rrule.MINUTELY && !in(o.Byminute, t.Minute()):
		from = t.Truncate(time.Minute).Add(time.Minute)
	}
	intervals := max(1, (from.Sub(t)+interval-1)/interval)
	return t.Add(intervals * interval)
}

// in reports whether a list has n, or says nothing.
func in(list []int, n int) bool { return len(list) == 0 || slices.Contains(list, n) }

// matches reports whether the conditions of a rule hold at t.
func matches(o *rrule.ROption, t time.Time) bool {
	return dayMatches(o, t) &&
		in(o.Byhour, t.Hour()) &&
		(o.Freq < rrule.MINUTELY || in(o.Byminute, t.Minute())) &&
		(o.Freq < rrule.SECONDLY || in(o.Bysecond, t.Second()))
}

// dayMatches reports whether those hold that are about its day.
func dayMatches(o *rrule.ROption, t time.Time) bool {
	weekday := func(d rrule.Weekday) bool { return d.Day() == (int(t.Weekday())+6)%7 }
	fromEnd := t.Day() - daysIn(t) - 1
	return in(o.Bymonth, int(t.Month())) &&
		(in(o.Bymonthday, t.Day()) || in(o.Bymonthday, fromEnd)) &&
		(len(o.Byweekday) == 0 || slices.ContainsFunc(o.Byweekday, weekday))
}

// daysIn returns how many days the month of t has.
func daysIn(t time.Time) int {
	return time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
