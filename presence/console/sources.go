package console

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/source"
)

// line is what a PBX says of a device.
type line struct {
	State   aa.LineState `json:"state"`
	Forward string       `json:"forward"`
}

func (c *Console) putLine(w http.ResponseWriter, r *http.Request) error {
	var body line
	lifetime, err := lifetimeOf(r)
	if err != nil {
		return err
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	dn := r.PathValue("dn")
	if err := c.cfg.Server.Feed().SetLine(r.Context(), dn, presence.LineState{
		State: body.State, Forward: body.Forward, Lifetime: lifetime,
	}); err != nil {
		return err
	}
	number, err := directory.ParseTel(dn)
	if err != nil {
		number.Value = dn
	}
	return c.kept(w, r, "line", dn, "tel:"+number.Value,
		func(e directory.Entry) bool { return slices.Contains(e.Lines, number.Value) })
}

func (c *Console) getLine(w http.ResponseWriter, r *http.Request) error {
	v, known := c.cfg.Server.Feed().Line(r.PathValue("dn"))
	return writeSet(w, v, known, func(l presence.LineState) any { return line{l.State, l.Forward} })
}

func (c *Console) deleteLine(w http.ResponseWriter, r *http.Request) error {
	err := c.cfg.Server.Feed().ClearLine(r.Context(), r.PathValue("dn"))
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// appointment is one of a calendar, and of a presence in JSON.
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

// shown is an appointment without what is private in it.
func shown(a aa.Appointment) appointment {
	out := appointment{
		ID: a.ID, State: a.State, Subject: a.Subject, Location: a.Location,
		From: a.From.UTC(), End: a.End.UTC(), AllDay: a.AllDay, Private: a.Private,
	}
	if a.Private {
		out.Subject, out.Location = "", ""
	}
	return out
}

func (c *Console) putCalendar(w http.ResponseWriter, r *http.Request) error {
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
			return wrong(fmt.Sprintf("[%d].from", i), "missing")
		}
		if a.End.IsZero() {
			return wrong(fmt.Sprintf("[%d].end", i), "missing")
		}
		calendar.Appointments = append(calendar.Appointments, aa.Appointment{
			ID: a.ID, State: a.State, Subject: a.Subject, Location: a.Location,
			From: a.From, End: a.End, AllDay: a.AllDay, Private: a.Private,
		})
	}
	mail := r.PathValue("mail")
	if err := c.cfg.Server.Feed().SetCalendar(r.Context(), mail, calendar); err != nil {
		return err
	}
	return c.kept(w, r, "mailbox", mail, "sip:"+strings.TrimSpace(mail), func(e directory.Entry) bool {
		return strings.EqualFold(strings.TrimSpace(mail), e.Mail)
	})
}

func (c *Console) getCalendar(w http.ResponseWriter, r *http.Request) error {
	v, known := c.cfg.Server.Feed().Calendar(r.PathValue("mail"))
	return writeSet(w, v, known, func(s presence.CalendarState) any {
		list := []appointment{}
		for _, a := range s.Appointments {
			list = append(list, shown(a))
		}
		return list
	})
}

func (c *Console) deleteCalendar(w http.ResponseWriter, r *http.Request) error {
	err := c.cfg.Server.Feed().ClearCalendar(r.Context(), r.PathValue("mail"))
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// external is what another presence system says.
type external struct {
	Status         aa.Status `json:"status"`
	FreeText       string    `json:"freeText"`
	FwdDestination string    `json:"fwdDestination"`
	TelephoneEvent string    `json:"telephoneEvent"`
}

func (c *Console) putExternal(w http.ResponseWriter, r *http.Request) error {
	var body external
	lifetime, err := lifetimeOf(r)
	if err != nil {
		return err
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	err = c.cfg.Server.Feed().SetExternal(r.Context(), r.PathValue("address"), presence.ExternalState{
		Status: body.Status, FreeText: body.FreeText, FwdDestination: body.FwdDestination,
		TelephoneEvent: body.TelephoneEvent, Lifetime: lifetime,
	})
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (c *Console) getExternal(w http.ResponseWriter, r *http.Request) error {
	v, known, err := c.cfg.Server.Feed().External(r.Context(), r.PathValue("address"))
	if err != nil {
		return err
	}
	return writeSet(w, v, known, func(e presence.ExternalState) any {
		return external{e.Status, e.FreeText, e.FwdDestination, e.TelephoneEvent}
	})
}

func (c *Console) deleteExternal(w http.ResponseWriter, r *http.Request) error {
	err := c.cfg.Server.Feed().ClearExternal(r.Context(), r.PathValue("address"))
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// kept answers a PUT: 204 where an entry has what was set, or where that cannot be
// known now, else 202 with a warning.
func (c *Console) kept(w http.ResponseWriter, r *http.Request, what, name, address string, has func(directory.Entry) bool) error {
	view, err := c.cfg.Server.Presence(r.Context(), address)
	var input *presence.InputError
	switch {
	case err == nil && has(entryOf(view)), err != nil && !errors.Is(err, directory.ErrNotFound) && !errors.As(err, &input),
		c.anyUser(has):
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	writeJSON(w, http.StatusAccepted, map[string]string{
		"warning": fmt.Sprintf("%s: no entry of the directory has %q; it is kept for when one has it", what, printable(name)),
	})
	return nil
}

func (c *Console) anyUser(has func(directory.Entry) bool) bool {
	if c.cfg.Users == nil {
		return false
	}
	for e := range c.cfg.Users() {
		if has(e) {
			return true
		}
	}
	return false
}

// writeSet answers with what was set, as a PUT takes it.
func writeSet[V any](w http.ResponseWriter, v source.Value[V], known bool, show func(V) any) error {
	if !known {
		return errNothing
	}
	w.Header().Set("Last-Modified", v.Received.UTC().Format(http.TimeFormat))
	writeJSON(w, http.StatusOK, show(v.Value))
	return nil
}

// lifetimeOf reads ?lifetime=90s; 0 where there is none.
func lifetimeOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("lifetime")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, wrong("lifetime", "%q: want a duration such as 90s", printable(text))
	}
	return d, nil
}
