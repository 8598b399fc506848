package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

// The states that a PBX, a calendar and another presence system push. Each takes
// ?lifetime=90s: after it without another the state is unknown again.

// putLine is PUT /v1/lines/{dn}.
func (s *server) putLine(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		State   aa.LineState `json:"state"`
		Forward string       `json:"forward"`
	}
	lifetime, err := lifetimeOf(r)
	if err != nil {
		return err
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	err = s.presence.Feed().SetLine(r.Context(), r.PathValue("dn"), presence.LineState{
		State: body.State, Forward: body.Forward, Lifetime: lifetime,
	})
	return done(w, err)
}

// appointment is one of PUT /v1/calendars/{mail}, and of a presence in JSON.
type appointment struct {
	ID       string           `json:"id"`
	State    aa.CalendarState `json:"state"`
	Subject  string           `json:"subject"`
	Location string           `json:"location"`
	From     time.Time        `json:"from"`
	End      time.Time        `json:"end"`
	AllDay   bool             `json:"allday"`
	Private  bool             `json:"private"`
}

// putCalendar is PUT /v1/calendars/{mail}.
func (s *server) putCalendar(w http.ResponseWriter, r *http.Request) error {
	var body []appointment
	lifetime, err := lifetimeOf(r)
	if err != nil {
		return err
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	calendar := presence.CalendarState{Lifetime: lifetime}
	for i, a := range body {
		if a.From.IsZero() {
			return &fieldError{fmt.Sprintf("[%d].from", i), "missing"}
		}
		if a.End.IsZero() {
			return &fieldError{fmt.Sprintf("[%d].end", i), "missing"}
		}
		calendar.Appointments = append(calendar.Appointments, aa.Appointment{
			ID: a.ID, State: a.State, Subject: a.Subject, Location: a.Location,
			From: a.From, End: a.End, AllDay: a.AllDay, Private: a.Private,
		})
	}
	return done(w, s.presence.Feed().SetCalendar(r.Context(), r.PathValue("mail"), calendar))
}

// external is PUT /v1/external/{address}, and what a presence in JSON has of it.
type external struct {
	Status         aa.Status `json:"status"`
	FreeText       string    `json:"freeText"`
	FwdDestination string    `json:"fwdDestination"`
	TelephoneEvent string    `json:"telephoneEvent"`
}

func (s *server) putExternal(w http.ResponseWriter, r *http.Request) error {
	var body external
	lifetime, err := lifetimeOf(r)
	if err != nil {
		return err
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	err = s.presence.Feed().SetExternal(r.Context(), r.PathValue("address"), presence.ExternalState{
		Status: body.Status, FreeText: body.FreeText, FwdDestination: body.FwdDestination,
		TelephoneEvent: body.TelephoneEvent, Lifetime: lifetime,
	})
	return done(w, err)
}

// deleteExternal is DELETE /v1/external/{address}.
func (s *server) deleteExternal(w http.ResponseWriter, r *http.Request) error {
	return done(w, s.presence.Feed().ClearExternal(r.Context(), r.PathValue("address")))
}

// done answers 204 where err is nil.
func done(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// lifetimeOf reads ?lifetime=90s; 0 where there is none.
func lifetimeOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("lifetime")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, &fieldError{"lifetime", fmt.Sprintf("%q: want a duration such as 90s", printable(text))}
	}
	return d, nil
}
