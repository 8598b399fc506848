package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/source"
)

// sources are those of one kind, whatever their values are.
type sources interface {
	Own(key string)
	Decide(key string)
	Abandon(key string)
	Said(key string) bool
	Shutdown(ctx context.Context) error

	// record returns a value as a record has it, when that expires, and whose it is.
	record(key string) (value []byte, expires time.Time, owner source.Owner)
	// restored reads a record of a former process. What it returns puts the value in its place: that of a
	// monitor stays as before until the monitor speaks, or the grace time is over.
	restored(r Record, grace time.Duration) (restore func() error, err error)
	// copied takes over the record of another node, unless keeps reports true.
	copied(r Record, keeps func() bool) error
}

// sourcesOf are the sources with values of one type.
type sourcesOf[V any] struct{ *source.Table[V] }

func (t sourcesOf[V]) record(key string) ([]byte, time.Time, source.Owner) {
	v, known := t.Get(key)
	if !known {
		return nil, time.Time{}, ""
	}
	v.Expires = deadline.Wall(v.Expires)
	return asJSON(sourceRecord[V](v)), v.Expires, v.Owner
}

func (t sourcesOf[V]) restored(r Record, grace time.Duration) (restore func() error, err error) {
	var v sourceRecord[V]
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return nil, err
	}
	key := r.Key
	return func() error {
		if until := time.Now().Add(grace); v.Owner == source.Monitored && (v.Expires.IsZero() || until.Before(v.Expires)) {
			v.Expires = until
		}
		return t.Restore(key, source.Value[V](v))
	}, nil
}

func (t sourcesOf[V]) copied(r Record, keeps func() bool) error {
	var v sourceRecord[V]
	if r.Value != nil {
		if err := json.Unmarshal(r.Value, &v); err != nil {
			return err
		}
	}
	return t.Copy(r.Key, source.Value[V](v), keeps)
}

// What the Feed and monitors may say: the error is an InputError.

func checkLine(v LineState) error {
	switch v.State {
	case aa.LineIdle, aa.LineRinging, aa.LineBusy, aa.LineUnknown:
	default:
		return &InputError{"state", fmt.Sprintf("%q: want idle, ringing, busy or unknown", v.State)}
	}
	return checkTexts(v.Lifetime, namedText{"forward", v.Forward})
}

func (s *Server) checkCalendar(v CalendarState) error {
	if most := s.cfg.MaxAppointments; len(v.Appointments) > most {
		return &InputError{"appointments", fmt.Sprintf("%d are more than %d", len(v.Appointments), most)}
	}
	for i := range v.Appointments {
		if err := checkAppointment(i, &v.Appointments[i]); err != nil {
			return err
		}
	}
	return checkTexts(v.Lifetime)
}

func checkAppointment(i int, a *aa.Appointment) error {
	at := func(field string) string { return fmt.Sprintf("[%d].%s", i, field) }
	switch a.State {
	case aa.CalendarFree, aa.CalendarTentative, aa.CalendarBusy, aa.CalendarOutOfOffice, aa.CalendarUnknown:
	default:
		return &InputError{at("state"), fmt.Sprintf("%q: want free, tentative, busy, out of office or unknown", a.State)}
	}
	if a.From.IsZero() || !a.End.After(a.From) {
		return &InputError{at("end"), "must be after from"}
	}
	return checkTexts(0, namedText{at("id"), a.ID}, namedText{at("subject"), a.Subject}, namedText{at("location"), a.Location})
}

func checkExternal(v ExternalState) error {
	if v.Status != "" && (!slices.Contains(statuses, v.Status) || v.Status == aa.StatusOther) {
		return &InputError{"status", fmt.Sprintf("%q: want available, busy, away, do not disturb, be right back, inactive, signed out or unknown", v.Status)}
	}
	return checkTexts(v.Lifetime, namedText{"freeText", v.FreeText}, namedText{"fwdDestination", v.FwdDestination},
		namedText{"telephoneEvent", v.TelephoneEvent})
}

type namedText struct{ field, value string }

func checkTexts(lifetime time.Duration, texts ...namedText) error {
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
	var list []aa.Appointment
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

// mailKey folds a mailbox address: they compare without case.
func mailKey(mail string) string { return strings.ToLower(strings.TrimSpace(mail)) }

// lineKey writes a directory number as directory entries have it.
func lineKey(dn string) string {
	if a, err := directory.ParseTel(strings.TrimSpace(dn)); err == nil {
		return a.Value
	}
	return strings.TrimSpace(dn)
}

func provenance[V any](v source.Value[V]) consolidation.Provenance {
	return consolidation.Provenance{Owner: string(v.Owner), Received: v.Received, Expires: v.Expires}
}

func lineOf(src *source.Source[LineState]) consolidation.Line {
	v, known := src.Read()
	if !known {
		v.Value.State = aa.LineUnknown
	}
	return consolidation.Line{Provenance: provenance(v), DN: src.Key(), State: v.Value.State, Forward: v.Value.Forward, Changed: v.Changed}
}

// meetingsOf returns the appointments that are not over, by start.
func meetingsOf(src *source.Source[CalendarState], now time.Time) []consolidation.Meeting {
	v, _ := src.Read()
	var list []consolidation.Meeting
	for _, a := range v.Value.Appointments {
		if !a.End.After(now) {
			continue
		}
		if a.Timestamp.IsZero() {
			a.Timestamp = v.Changed
		}
		list = append(list, consolidation.Meeting{Provenance: provenance(v), Appointment: a})
	}
	slices.SortStableFunc(list, func(a, b consolidation.Meeting) int { return a.From.Compare(b.From) })
	return list
}

// externalOf merges external presence with the forwarding that the user asked
// for (§4.3).
func externalOf(src *source.Source[ExternalState], forward *publication.Contribution) *consolidation.External {
	var e *consolidation.External
	if src != nil {
		if v, known := src.Read(); known {
			x := v.Value
			e = &consolidation.External{Provenance: provenance(v), Status: x.Status, FreeText: x.FreeText,
				FwdDestination: x.FwdDestination, TelephoneEvent: x.TelephoneEvent, Changed: v.Changed}
		}
	}
	if forward != nil {
		if e == nil {
			e = &consolidation.External{Changed: forward.Received,
				Provenance: consolidation.Provenance{Owner: forward.Owner, Received: forward.Received}}
		}
		e.FwdDestination = forward.Target
	}
	return e
}

func equalCalendar(a, b CalendarState) bool {
	return slices.EqualFunc(a.Appointments, b.Appointments, func(x, y aa.Appointment) bool {
		return x.ID == y.ID && x.State == y.State && x.Subject == y.Subject && x.Location == y.Location &&
			x.From.Equal(y.From) && x.End.Equal(y.End) && x.AllDay == y.AllDay && x.Private == y.Private
	})
}

// statuses are those of the schema.
var statuses = []aa.Status{
	aa.StatusAvailable, aa.StatusBusy, aa.StatusAway, aa.StatusDoNotDisturb, aa.StatusSignedOut,
	aa.StatusInactive, aa.StatusBeRightBack, aa.StatusOther, aa.StatusUnknown,
}
