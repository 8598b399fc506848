package ews

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/pidf/aa"
)

type appointments = []aa.Appointment

// rootFolder is what FindItem returns. HasAll is absent where there is no view.
type rootFolder struct {
	HasAll string         `xml:"IncludesLastItemInRange,attr"`
	Items  []calendarItem `xml:"Items>CalendarItem"`
}

type calendarItem struct {
	ID struct {
		ID string `xml:"Id,attr"`
	} `xml:"ItemId"`
	Subject     string
	Sensitivity string
	Start, End  string
	AllDay      string `xml:"IsAllDayEvent"`
	Status      string `xml:"LegacyFreeBusyStatus"`
	Location    string
	Cancelled   string `xml:"IsCancelled"`
	Response    string `xml:"MyResponseType"`
	Online      string `xml:"IsOnlineMeeting"`
}

// freeBusyResponse is what GetUserAvailability says of one mailbox.
type freeBusyResponse struct {
	Message *message `xml:"ResponseMessage"`
	View    struct {
		Type   string         `xml:"FreeBusyViewType"`
		Events []freeBusyItem `xml:"CalendarEventArray>CalendarEvent"`
	} `xml:"FreeBusyView"`
}

type freeBusyItem struct {
	StartTime string
	EndTime   string
	BusyType  string
	Details   *struct {
		Subject   string
		Location  string
		IsPrivate string
	} `xml:"CalendarEventDetails"`
}

// style says how what servers send is shown.
type style struct {
	elsewhere aa.CalendarState // of WorkingElsewhere
	personal  bool             // Sensitivity Personal is private
	online    string           // location of an online meeting without one
}

// appointment returns what is shown of an item; false where it does not count:
// cancelled, declined, or without length.
func (s *style) appointment(i *calendarItem) (aa.Appointment, bool, error) {
	if isTrue(i.Cancelled) || strings.TrimSpace(i.Response) == "Decline" {
		return aa.Appointment{}, false, nil
	}
	from, end, ok, err := times(i.Start, i.End)
	if !ok || err != nil {
		return aa.Appointment{}, false, err
	}
	a := aa.Appointment{
		ID: calendar.ID(cmp.Or(i.ID.ID, utc(from))), State: s.state(i.Status), Subject: calendar.Text(i.Subject),
		Location: calendar.Text(i.Location), From: from, End: end, AllDay: isTrue(i.AllDay),
		Private: s.private(i.Sensitivity),
	}
	if a.Location == "" && isTrue(i.Online) {
		a.Location = s.online
	}
	return a, true, nil
}

// available returns what is shown of the entries of GetUserAvailability. They
// have no identifier that lasts: times and texts make one.
func (s *style) available(items []freeBusyItem) (list appointments, problem error) {
	seen := make(map[string]int)
	for n := range items {
		i := &items[n]
		from, end, ok, err := times(i.StartTime, i.EndTime)
		if err != nil {
			problem = err
		}
		if !ok || err != nil {
			continue
		}
		a := aa.Appointment{State: s.state(i.BusyType), From: from, End: end}
		if d := i.Details; d != nil {
			a.Subject, a.Location, a.Private = calendar.Text(d.Subject), calendar.Text(d.Location), isTrue(d.IsPrivate)
		}
		id := fmt.Sprintf("%d-%d", from.Unix(), end.Unix())
		seen[id]++
		a.ID = fmt.Sprintf("%s-%d", id, seen[id])
		list = append(list, a)
	}
	return list, problem
}

// times reads when something begins and ends; false where it has no length.
func times(start, end string) (from, to time.Time, ok bool, err error) {
	if from, err = parseTime(start); err != nil {
		return from, to, false, err
	}
	if to, err = parseTime(end); err != nil {
		return from, to, false, err
	}
	return from, to, to.After(from), nil
}

// parseTime reads an xs:dateTime. One without an offset is in the zone of the
// request, which is UTC.
func parseTime(s string) (time.Time, error) {
	s = strings.TrimSpace(s)
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05", s)
	}
	if err != nil {
		return t, fmt.Errorf("%w: time %.40q", ErrAnswer, s)
	}
	return t.UTC(), nil
}

func (s *style) state(status string) aa.CalendarState {
	if strings.TrimSpace(status) == "WorkingElsewhere" {
		return s.elsewhere
	}
	state, _ := calendar.State(status) // NoData, nothing, and what a later version has, are unknown
	return state
}

func (s *style) private(sensitivity string) bool {
	return calendar.Private(sensitivity) || s.personal && strings.TrimSpace(sensitivity) == "Personal"
}

func isTrue(s string) bool {
	s = strings.TrimSpace(s)
	return s == "true" || s == "1"
}

// oofSettings is what the owner of a mailbox says of being out of office. The
// replies are not read.
type oofSettings struct {
	State    string `xml:"OofState"`
	Duration struct {
		Start string `xml:"StartTime"`
		End   string `xml:"EndTime"`
	} `xml:"Duration"`
}

// when says when the owner is out of office: at all, and in which time. A zero
// time is no bound. A Duration counts only where it is Scheduled: servers keep an
// old one.
func (o *oofSettings) when() (w calendar.Window, out bool, err error) {
	switch strings.TrimSpace(o.State) {
	case "Enabled":
		return w, true, nil
	case "Scheduled":
		w.From, w.To, out, err = times(o.Duration.Start, o.Duration.End)
		return w, out, err
	default:
		return w, false, nil
	}
}
