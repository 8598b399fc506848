package presence

import (
	"fmt"
	"time"

	"github.com/openblustar/blustar/pidf"
)

// What the Feed and monitors may say: the error is an InputError.

func checkLine(v LineState) error {
	switch v.State {
	case pidf.LineIdle, pidf.LineRinging, pidf.LineBusy, pidf.LineUnknown:
	default:
		return &InputError{"state", fmt.Sprintf("%q: want idle, ringing, busy or unknown", v.State)}
	}
	return checkTexts(v.Lifetime, text{"forward", v.Forward})
}

// checkCalendar returns a check for calendars of at most this many appointments.
func checkCalendar(most int) func(CalendarState) error {
	return func(v CalendarState) error {
		if len(v.Appointments) > most {
			return &InputError{"appointments", fmt.Sprintf("%d are more than %d", len(v.Appointments), most)}
		}
		for i := range v.Appointments {
			if err := checkAppointment(i, &v.Appointments[i]); err != nil {
				return err
			}
		}
		return checkTexts(v.Lifetime)
	}
}

func checkAppointment(i int, a *pidf.Appointment) error {
	at := func(field string) string { return fmt.Sprintf("[%d].%s", i, field) }
	switch a.State {
	case pidf.CalendarFree, pidf.CalendarTentative, pidf.CalendarBusy, pidf.CalendarOutOfOffice, pidf.CalendarUnknown:
	default:
		return &InputError{at("state"), fmt.Sprintf("%q is not in the schema", a.State)}
	}
	if a.From.IsZero() || !a.End.After(a.From) {
		return &InputError{at("end"), "must be after from"}
	}
	return checkTexts(0, text{at("id"), a.ID}, text{at("subject"), a.Subject}, text{at("location"), a.Location})
}

func checkExternal(v ExternalState) error {
	if v.Status != "" && (!validStatus(v.Status) || v.Status == pidf.StatusOther) {
		return &InputError{"status", fmt.Sprintf("%q is not in the schema", v.Status)}
	}
	return checkTexts(v.Lifetime, text{"freeText", v.FreeText}, text{"fwdDestination", v.FwdDestination},
		text{"telephoneEvent", v.TelephoneEvent})
}

type text struct{ field, value string }

func checkTexts(lifetime time.Duration, texts ...text) error {
	if lifetime < 0 {
		return &InputError{"lifetime", "must not be negative"}
	}
	for _, t := range texts {
		if len(t.value) > maxText {
			return &InputError{t.field, "must not be longer than 1024 bytes"}
		}
	}
	return nil
}

// usable leaves out what cannot be shown of a calendar that nobody here can mend:
// one bad appointment must not hide the others.
func (s *Server) usable(mail string, v CalendarState) CalendarState {
	var list []pidf.Appointment
	for i := range v.Appointments {
		if err := checkAppointment(i, &v.Appointments[i]); err != nil {
			s.cfg.Logger.Debug("an appointment is not shown", "mail", mail, "error", err)
			continue
		}
		if len(list) == s.cfg.MaxAppointments {
			s.cfg.Logger.Warn("a calendar has too many appointments", "mail", mail, "shown", len(list), "of", len(v.Appointments))
			break
		}
		list = append(list, v.Appointments[i])
	}
	v.Appointments = list
	return v
}
