package msgraph

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/pidf/aa"
)

// event is an event of a calendar view: one that stands alone, or an occurrence of a series.
type event struct {
	Removed     any        `json:"@removed"`
	ID          string     `json:"id"`
	Type        string     `json:"type"`
	Subject     string     `json:"subject"`
	Sensitivity string     `json:"sensitivity"`
	ShowAs      string     `json:"showAs"`
	AllDay      bool       `json:"isAllDay"`
	Canceled    bool       `json:"isCancelled"`
	Start       *zonedTime `json:"start"`
	End         *zonedTime `json:"end"`
	Zone        string     `json:"originalStartTimeZone"`
	Modified    string     `json:"lastModifiedDateTime"`
	Location    struct {
		Name string `json:"displayName"`
	} `json:"location"`
	Response struct {
		Answer string `json:"response"`
	} `json:"responseStatus"`
}

// eventFields is what is asked for of an event.
const eventFields = "id,type,subject,sensitivity,showAs,isAllDay,isCancelled,start,end,originalStartTimeZone," +
	"lastModifiedDateTime,location,responseStatus"

// reader reads the appointments of answers.
type reader struct {
	location *time.Location // of whole days where the event has none
	zones    calendar.Zones
}

// events reads a page of a calendar view. One that is broken costs itself only.
func (r *reader) events(list []json.RawMessage) (found []aa.Appointment, broken error) {
	for _, data := range list {
		var e event
		if err := json.Unmarshal(data, &e); err != nil {
			broken = errors.New("msgraph: malformed event")
			continue
		}
		switch a, counts, err := r.appointment(&e); {
		case err != nil:
			broken = err
		case counts:
			found = append(found, a)
		}
	}
	return found, broken
}

// appointment reads an event, and reports whether it counts: those that are canceled or declined,
// those without length, and what repeats, but is no occurrence, do not.
func (r *reader) appointment(e *event) (aa.Appointment, bool, error) {
	if e.Removed != nil {
		return aa.Appointment{}, false, nil
	}
	if e.ID == "" {
		return aa.Appointment{}, false, errors.New("msgraph: event without an ID")
	}
	if e.Canceled || strings.EqualFold(e.Response.Answer, "declined") || strings.EqualFold(e.Type, "seriesMaster") {
		return aa.Appointment{}, false, nil
	}
	from, end, err := r.span(e)
	if err != nil {
		return aa.Appointment{}, false, err
	}
	state, _ := calendar.State(e.ShowAs)
	modified, _ := time.Parse(time.RFC3339, e.Modified) // malformed: none
	return aa.Appointment{
		ID: calendar.ID(e.ID), State: state, Subject: calendar.Text(e.Subject), Location: calendar.Text(e.Location.Name),
		From: from, End: end, AllDay: e.AllDay, Private: calendar.Private(e.Sensitivity), Timestamp: modified.UTC(),
	}, end.After(from), nil
}

// span returns when an event begins and ends. Whole days are dates, although Graph writes them as
// midnight in UTC: they begin at the midnight of where they were made.
func (r *reader) span(e *event) (from, end time.Time, err error) {
	if !e.AllDay {
		if from, err = e.Start.instant(&r.zones); err == nil {
			end, err = e.End.instant(&r.zones)
		}
		return from, end, err
	}
	zone := r.zones.Find(e.Zone)
	if zone == nil {
		zone = r.location
	}
	if from, err = e.Start.clock(); err == nil {
		end, err = e.End.clock()
	}
	return calendar.Instant(from, zone).UTC(), calendar.Instant(end, zone).UTC(), err
}

// schedule is what getSchedule tells of one mailbox.
type schedule struct {
	ID    string             `json:"scheduleId"`
	Items *[]json.RawMessage `json:"scheduleItems"`
	Error *struct {
		Code string `json:"responseCode"`
	} `json:"error"`
}

// item is one appointment of a schedule. Its texts are missing where we may not see them.
type item struct {
	Private  bool       `json:"isPrivate"`
	Status   string     `json:"status"`
	Subject  string     `json:"subject"`
	Location string     `json:"location"`
	Start    *zonedTime `json:"start"`
	End      *zonedTime `json:"end"`
}

// scheduleErrors say what an error of one mailbox is.
var scheduleErrors = map[string]error{
	"errormailrecipientnotfound": ErrNotFound,
	"errorinvalidsmtpaddress":    ErrNotFound,
	"errornonexistentmailbox":    ErrNotFound,
	"errornofreebusyaccess":      ErrForbidden,
	"erroraccessdenied":          ErrForbidden,
}

// items reads a schedule. Its items have no ID; one is made of when they are.
func (r *reader) items(s *schedule) (found []aa.Appointment, broken, err error) {
	if s.Error != nil {
		return nil, nil, &scheduleError{plainCode(s.Error.Code)}
	}
	if s.Items == nil {
		return nil, nil, errNoList
	}
	same := make(map[string]int)
	for _, data := range *s.Items {
		var i item
		if json.Unmarshal(data, &i) != nil {
			broken = errors.New("msgraph: malformed item of a schedule")
			continue
		}
		from, err := i.Start.instant(&r.zones)
		end, endErr := i.End.instant(&r.zones)
		if err = errors.Join(err, endErr); err != nil {
			broken = err
			continue
		}
		if !end.After(from) {
			continue
		}
		id := from.Format(time.RFC3339) + "/" + end.Format(time.RFC3339)
		if same[id]++; same[id] > 1 {
			id += "/" + strconv.Itoa(same[id])
		}
		state, _ := calendar.State(i.Status)
		found = append(found, aa.Appointment{
			ID: id, State: state, Subject: calendar.Text(i.Subject), Location: calendar.Text(i.Location),
			From: from, End: end, AllDay: r.midnight(from) && r.midnight(end), Private: i.Private,
		})
	}
	return found, broken, nil
}

// midnight reports whether t is one. A schedule does not say which of its items are whole days.
func (r *reader) midnight(t time.Time) bool {
	hour, minute, second := t.In(r.location).Clock()
	return hour+minute+second == 0
}

// scheduleError is an error of one mailbox among several.
type scheduleError struct{ code string }

func (e *scheduleError) Error() string { return "msgraph: getSchedule: " + e.code }

func (e *scheduleError) Is(target error) bool {
	return target != nil && scheduleErrors[strings.ToLower(e.code)] == target
}
