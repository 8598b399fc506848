package caldav

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/pidf/aa"
)

// View says what of an iCalendar object is of interest, and for whom. The zero
// value shows nothing, because its range is empty.
type View struct {
	From, To       time.Time      // appointments that end after From and begin before To
	Addresses      []string       // mail addresses of the owner, whose answer to an invitation counts
	Location       *time.Location // of dates and floating times; default [time.Local]
	Transparent    bool           // all of it is free
	MaxBytes       int64          // more than this is an error; default 1 MiB
	MaxOccurrences int            // more than this are cut; default 1000
}

// Appointments reads an iCalendar stream (RFC 5545) and returns the occurrences
// of its events within the view, in no particular order. IDs are the UID, and
// for a recurring event the UID, a slash and the time at which the occurrence
// was planned first: they stay when it is moved. Two appointments of one ID are
// one. An event without a duration takes no time, and is left out.
//
// The error tells what could not be read; the rest is returned beside it. It is
// never longer than a few lines, and has none of the texts of an event. Where
// ctx ends, it is that of ctx.
func (v View) Appointments(ctx context.Context, data []byte) ([]aa.Appointment, error) {
	return v.expand(ctx, data, newZones(new(calendar.Zones)), &budget{maxSteps})
}

// maxProblems bounds the errors of one object that are told.
const maxProblems = 5

// expansion is the expanding of one object.
type expansion struct {
	View
	ctx      context.Context
	zones    *zones
	budget   budget
	found    appointments
	problems []error
}

// expand is Appointments, within what is left of the work of a poll.
func (v View) expand(ctx context.Context, data []byte, z *zones, work *budget) (appointments, error) {
	v.Location = cmp.Or(v.Location, time.Local)
	v.MaxBytes = cmp.Or(v.MaxBytes, 1<<20)
	v.MaxOccurrences = cmp.Or(v.MaxOccurrences, 1000)
	if int64(len(data)) > v.MaxBytes {
		return nil, fmt.Errorf("%w: object of %d bytes", ErrLimit, len(data))
	}
	share := work.share()
	x := &expansion{View: v, ctx: ctx, zones: z, budget: share}
	defer func() { work.spent(share, x.budget) }()
	for _, calendar := range x.decode(data) {
		x.calendar(calendar)
	}
	return x.found, errors.Join(x.problems...)
}

// problem notes an error, and that of the context only once.
func (x *expansion) problem(err error) {
	if err != nil && len(x.problems) < maxProblems {
		x.problems = append(x.problems, err)
	}
}

// alive reports whether ctx has not ended yet.
func (x *expansion) alive() bool {
	if err := x.ctx.Err(); err != nil {
		x.problems = []error{err}
		return false
	}
	return true
}

// add adds one occurrence of an event, unless it is out of view. It reports
// whether there is room for more.
func (x *expansion) add(e *event, id string, start moment, l length) bool {
	from, end := start.instant(), l.after(start)
	if !end.After(from) || !end.After(x.From) || !from.Before(x.To) {
		return x.alive()
	}
	if len(x.found) >= x.MaxOccurrences {
		x.problem(fmt.Errorf("%w: more than %d occurrences", ErrLimit, x.MaxOccurrences))
		return false
	}
	x.found = append(x.found, aa.Appointment{
		ID: calendar.ID(id), State: e.state, Subject: e.subject, Location: e.location,
		From: from.UTC(), End: end.UTC(), AllDay: e.allDay, Private: e.private, Timestamp: e.stamp,
	})
	return x.alive()
}
