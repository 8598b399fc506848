package caldav

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/teambition/rrule-go"

	"github.com/openblustar/blustar/internal/calendar"
)

const (
	maxSteps   = 1_000_000 // of all rules of an object
	pollSteps  = 2_000_000 // of all objects that a poll of a mailbox reads
	freeSteps  = 300       // of an object, also where those of the poll are used up
	shownCost  = 10        // steps that a time in view counts for
	barrenCost = 50_000    // steps that a rule without any match counts for
	maxRules   = 4         // of one event; RFC 5545 §3.8.5.3 wants one
	maxList    = 64        // values of one BY… part
	maxTimes   = 96        // times of day that a rule expands to
	maxEvery   = 100_000   // INTERVAL
)

var (
	errRule  = errors.New("malformed or not supported")
	errSkip  = errors.New("SKIP other than OMIT is not supported")
	errScale = errors.New("RSCALE other than GREGORIAN is not supported")
)

// budget bounds the work that an object, and all of them together, can ask for: some
// are made to take long, and others must not wait for them.
type budget struct{ steps int }

// share returns the part that one object may use.
func (b *budget) share() budget { return budget{max(freeSteps, min(maxSteps, b.steps))} }

// spent takes what was used of a share.
func (b *budget) spent(share, left budget) { b.steps = max(0, b.steps-share.steps+max(0, left.steps)) }

func (b *budget) take(n int) error {
	if b.steps -= n; b.steps < 0 {
		return fmt.Errorf("%w: recurrence rules take too long", ErrLimit)
	}
	return nil
}

// occurrences adds those of one event that are in view. DTSTART is always one
// (RFC 5545 §3.8.5.3), so that of an event with a rule that cannot be followed
// the first occurrence remains.
func (x *expansion) occurrences(e *event) {
	if e.state == "" {
		return
	}
	if e.occurrence != nil {
		x.add(e, e.uid+"/"+e.occurrence.compact(), e.start, e.length)
		return
	}
	if e.withoutRule {
		x.add(e, e.uid, e.start, e.length)
		return
	}
	// The range is in time of the clock, which is at most a day off.
	from, to := x.From.UTC().Add(-e.length.about()-widest), x.To.UTC().Add(widest)
	for _, c := range e.changes {
		by := c.start.instant().Sub(c.occurrence.instant())
		if early := x.From.UTC().Add(-by).Add(-c.length.about() - widest); early.Before(from) {
			from = early
		}
		if late := x.To.UTC().Add(-by).Add(widest); late.After(to) {
			to = late
		}
	}
	for _, rule := range e.exceptRules[:min(len(e.exceptRules), maxRules)] {
		x.problem(inProperty(propExceptRule, repeat(rule, e.start, from, to, &x.budget, func(clock time.Time) bool {
			e.except.add(e.start.moved(clock))
			return len(e.except) <= maxDates
		})))
	}
	done := make(map[int64]bool) // what more than one rule or date says is one
	add := func(m moment, l length) bool {
		if e.overridden.has(m) || e.except.has(m) {
			return true
		}
		planned, like := m, e
		if c := e.changed(m); c != nil {
			m, l, like = c.shifted(m), c.length, c
		}
		at := planned.instant().Unix()
		if done[at] || like.state == "" || l.about() <= 0 {
			return x.alive()
		}
		done[at] = true
		return x.add(like, e.uid+"/"+planned.compact(), m, l)
	}
	if !add(e.start, e.length) {
		return
	}
	for _, d := range e.extra {
		l := e.length
		if d.length != nil {
			l = *d.length
		}
		if !add(d.start, l) {
			return
		}
	}
	for _, rule := range e.rules[:min(len(e.rules), maxRules)] {
		x.problem(inProperty(propRule, repeat(rule, e.start, from, to, &x.budget, func(clock time.Time) bool {
			return add(e.start.moved(clock), e.length)
		})))
	}
}

// repeat yields the clock times of a rule from from until to, in order.
func repeat(rule string, start moment, from, to time.Time, b *budget, yield func(time.Time) bool) (err error) {
	defer func() {
		if recover() != nil { // rrule-go checks less than it indexes
			err = errRule
		}
	}()
	if err := b.take(1); err != nil {
		return err
	}
	o, err := parseRule(rule, start)
	if err != nil {
		return err
	}
	if o.Until.IsZero() || o.Until.After(to) {
		o.Until = to
	}
	if o.Until.Before(from) || start.clock.After(o.Until) {
		return nil
	}
	o.Dtstart = start.clock
	forward(o, from)
	if o.Freq > rrule.DAILY {
		return step(o, from, b, yield)
	}
	return iterate(o, from, b, yield)
}

// forward moves the start of an endless rule by whole intervals to shortly
// before from, where they are equally long on the clock.
func forward(o *rrule.ROption, from time.Time) {
	unit, ok := map[rrule.Frequency]time.Duration{
		rrule.WEEKLY: 7 * 24 * time.Hour, rrule.DAILY: 24 * time.Hour,
		rrule.HOURLY: time.Hour, rrule.MINUTELY: time.Minute, rrule.SECONDLY: time.Second,
	}[o.Freq]
	if !ok || o.Count > 0 {
		return
	}
	// In seconds: a time.Duration ends after 292 years.
	seconds := int64(unit/time.Second) * int64(o.Interval)
	if n := (from.Unix()-o.Dtstart.Unix())/seconds - 1; n > 0 {
		o.Dtstart = time.Unix(o.Dtstart.Unix()+n*seconds, 0).UTC()
	}
}

// iterate yields the times of a rule of days or longer.
func iterate(o *rrule.ROption, from time.Time, b *budget, yield func(time.Time) bool) error {
	// rrule-go follows a rule that never matches to the year 9999, and nothing
	// stops it. The Gregorian calendar repeats after 400 years, weekdays
	// included: near the end of time, there is less of it to go.
	years := max(0, (9998-o.Until.Year())/400*400)
	o.Dtstart, o.Until = o.Dtstart.AddDate(years, 0, 0), o.Until.AddDate(years, 0, 0)
	r, err := rrule.NewRRule(*o)
	if err != nil {
		return errRule // its own has what the rule says
	}
	next := r.Iterator()
	unsure := mayNeverMatch(o)
	if unsure {
		if err := b.take(barrenCost); err != nil {
			return err
		}
	}
	for {
		t, ok := next()
		if !ok {
			return nil
		}
		if unsure { // it did, and costs what it takes
			b.steps += barrenCost
			unsure = false
		}
		if err := b.take(1); err != nil {
			return err
		}
		if t = t.AddDate(-years, 0, 0); t.Before(from) {
			continue
		}
		if err := b.take(shownCost); err != nil {
			return err
		}
		if !yield(t) {
			return nil
		}
	}
}

// mayNeverMatch reports whether what a rule asks for may not exist, as the 30th of
// February.
func mayNeverMatch(o *rrule.ROption) bool {
	return len(o.Bysetpos)+len(o.Byyearday)+len(o.Byweekno) > 0 ||
		len(o.Bymonthday) > 0 && (len(o.Bymonth) > 0 || len(o.Byweekday) > 0 || o.Freq != rrule.MONTHLY || o.Interval > 1)
}

// parseRule reads an RRULE. What it returns, rrule-go and step end with.
func parseRule(rule string, start moment) (*rrule.ROption, error) {
	rule = strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(rule)), ";")
	rule, err := gregorian(rule)
	if err != nil {
		return nil, err
	}
	o, err := rrule.StrToROption(rule)
	if err != nil || !o.Dtstart.IsZero() || len(o.Byeaster) > 0 || o.Count < 0 || o.Interval < 0 || o.Interval > maxEvery {
		return nil, errRule
	}
	o.Interval = max(1, o.Interval)
	if !o.Until.IsZero() {
		o.Until = untilOn(rule, o.Until, start)
	}
	lists := []*[]int{
		&o.Bysecond, &o.Byminute, &o.Byhour, &o.Bymonthday, &o.Byyearday, &o.Byweekno, &o.Bymonth, &o.Bysetpos,
	}
	for _, list := range lists {
		slices.Sort(*list)
		if *list = slices.Compact(*list); len(*list) > maxList {
			return nil, errRule
		}
	}
	times := max(1, len(o.Byhour)) * max(1, len(o.Byminute)) * max(1, len(o.Bysecond))
	if o.Freq <= rrule.DAILY && times > maxTimes || len(o.Byweekday) > maxList {
		return nil, errRule
	}
	for _, day := range o.Byweekday {
		// rrule-go looks for a 53rd Monday of a month beyond the end of its tables.
		ofMonth := o.Freq == rrule.MONTHLY || len(o.Bymonth) > 0
		if n := day.N(); ofMonth && o.Freq <= rrule.MONTHLY && (n > 5 || n < -5) {
			return nil, errRule
		}
	}
	return o, nil
}

// gregorian returns a rule without the parts of RFC 7529 that say what goes without
// saying: the Gregorian calendar, and to leave out days that do not exist.
func gregorian(rule string) (string, error) {
	parts := strings.Split(rule, ";")
	kept := parts[:0]
	for _, part := range parts {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case name == "RSCALE" && value == "GREGORIAN", name == "SKIP" && value == "OMIT", name == "":
		case name == "RSCALE":
			return "", errScale
		case name == "SKIP":
			return "", errSkip
		default:
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, ";"), nil
}

// untilOn returns UNTIL on the clock of the event. A date, which is for events
// of whole days only, is taken as the end of that day.
func untilOn(rule string, until time.Time, start moment) time.Time {
	_, value, _ := strings.Cut(rule, "UNTIL=")
	value, _, _ = strings.Cut(value, ";")
	switch {
	case strings.HasSuffix(value, "Z"):
		return calendar.Clock(until, start.zone)
	case len(value) == len(dateLayout):
		return until.Add(24*time.Hour - time.Second)
	}
	return until
}
