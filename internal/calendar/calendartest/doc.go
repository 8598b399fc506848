// Package calendartest has the behavior that every calendar monitor must show,
// whatever its server does, as tests on the clock of testing/synctest.
//
// A package that has a monitor brings a [Rig], which is that monitor together with a
// fake of its server, and runs
//
//	func TestBehavior(t *testing.T) { calendartest.Run(t, newRig) }
//
// [Run] stands between the two: it kills the server, slows it down, cuts its answers,
// puts a web page in their place. It calls the monitor again where it ends, as the
// presence server does, and judges what watchers would see.
package calendartest

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

const (
	// Mail is the mailbox that the fake server has, Unknown one that it has not.
	Mail    = "tom.hanks@example.com"
	Unknown = "nobody@example.com"
	// User and Canary are the account that reads all mailboxes, and its password: it
	// must turn up in no log and no error.
	User   = "presence"
	Canary = "c4n4ry-p4ssw0rd"
)

// Rig is a monitor and the fake of its server. All fields are required.
type Rig struct {
	// Server answers the requests: usually [Transport] of a handler.
	Server http.RoundTripper
	// Monitor returns a monitor whose requests go over rt, signed in as [User], with
	// the zone Europe/Berlin for dates, and defaults for the rest: a day of the past
	// and 14 days of the future, at most 1000 appointments.
	Monitor func(t *testing.T, rt http.RoundTripper, log *slog.Logger) presence.CalendarMonitor
	// Set makes events all that there is in the mailbox [Mail].
	Set func(events ...Event)
	// Shows is within what time a change shows.
	Shows time.Duration
	// Move moves the mailbox to another place. At the old one the server answers from
	// then on as it does for a mailbox that has moved.
	Move func()
	// Throttle answers as a server that wants to be left alone for wait.
	Throttle func(w http.ResponseWriter, r *http.Request, wait time.Duration)
	// Refuse answers as a server that does not take the credentials.
	Refuse func(w http.ResponseWriter, r *http.Request)
}

// Event is an appointment, or a daily series of them, as a test has it.
type Event struct {
	ID                string
	Subject, Location string
	State             aa.CalendarState // free, tentative, busy, out of office
	Private           bool
	AllDay            bool                  // Begin is a midnight and Length whole days
	Begin             time.Time             // in the zone of the event
	Length            time.Duration         // on the clock
	Days              int                   // of a series: on so many days in a row; 0 for a single one
	Without           []int                 // of a series: those that are cancelled, from 0 on
	Later             map[int]time.Duration // of a series: those that begin so much later than planned
}

// Occurrence is one appointment of an Event.
type Occurrence struct {
	Index      int
	Planned    time.Time // when it was planned first
	Begin, End time.Time
}

// Occurrences returns the appointments of e, as a server expands them: on each day at
// the same time of the clock.
func (e Event) Occurrences() []Occurrence {
	var all []Occurrence
	for i := range max(1, e.Days) {
		if contains(e.Without, i) {
			continue
		}
		planned := onClock(e.Begin, time.Duration(i)*24*time.Hour)
		begin := onClock(planned, e.Later[i])
		all = append(all, Occurrence{i, planned, begin, onClock(begin, e.Length)})
	}
	return all
}

// onClock returns when the clock of t shows d more.
func onClock(t time.Time, d time.Duration) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second()+int(d/time.Second), 0, t.Location())
}

func contains(list []int, n int) bool {
	for _, v := range list {
		if v == n {
			return true
		}
	}
	return false
}
