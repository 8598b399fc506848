package presence

import (
	"time"

	"github.com/openblustar/blustar/pidf"
)

// noteLang is the language tag that the document prints everywhere.
const noteLang = "Eng"

// Showing says what of a state a document shows. The zero value is what BluStar
// watchers are shown by default.
type Showing struct {
	// Own shows private appointments in full, for the user's own authenticated
	// eyes. Others see their times and state, never subject and location.
	Own bool
	// AllStatuses shows away and other as RPID has them. Else every status but the
	// five of §3.2 is shown as busy; the note says which it is.
	AllStatuses bool
	// NextAppointment shows the next appointment where none is running.
	NextAppointment bool
}

// Document builds the consolidated document of §3 for a presentity.
// [pidf.Presence.Template] writes the same document for other spellings of the
// entity.
func Document(entity string, state *State, result Result, now time.Time, show Showing) *pidf.Presence {
	doc := &pidf.Presence{
		Entity: entity,
		Tuples: []pidf.Tuple{
			{ID: "global service", Basic: basic(state.Services.Global)},
			{ID: "audio", Basic: basic(state.Services.Audio)},
			{ID: "video", Basic: basic(state.Services.Video)},
			{ID: "message", Basic: basic(state.Services.Message)},
		},
	}
	for i := range state.Lines {
		doc.Devices = append(doc.Devices, device(&state.Lines[i]))
	}
	activities := &pidf.Activities{Values: []pidf.Activity{activity(result.Status, show.AllStatuses)}}
	if result.Note != "" {
		activities.Notes = []pidf.Note{{Lang: noteLang, Text: result.Note}}
	}
	doc.Persons = []pidf.Person{{
		ID:         entity,
		Activities: activities,
		BluStar: &pidf.BluStarPresence{
			BluStar:    blustar(state, now),
			ExternalUC: externalUC(state.External),
			Calendar:   appointments(state.Calendar, now, show),
		},
	}}
	return doc
}

func basic(open bool) pidf.Basic {
	if open {
		return pidf.Open
	}
	return pidf.Closed
}

// activity writes a consolidated status as RPID (BSP-3.2-1, BSP-3.2-7).
func activity(s Status, all bool) pidf.Activity {
	switch s {
	case StatusAvailable, StatusUnavailable, StatusSignedOut, StatusUnknown:
	case StatusBusy:
		return pidf.Activity{Name: string(s)}
	case StatusAway:
		if all {
			return pidf.Activity{Name: string(s)}
		}
		fallthrough
	default:
		if !all {
			return pidf.Activity{Name: string(StatusBusy)}
		}
	}
	return pidf.Activity{Name: "other", Text: string(s)}
}

func device(l *Line) pidf.Device {
	line := &pidf.Line{DN: l.DN, State: l.State}
	if l.Forward != "" {
		line.Forward = &pidf.Forward{Type: "immediate", Destination: l.Forward}
	}
	return pidf.Device{ID: "tel:" + l.DN, Line: line, Timestamp: l.Changed}
}

// blustar writes the last status that the user published. Note and timestamp are
// always there: clients look for them.
func blustar(state *State, now time.Time) *pidf.BluStar {
	if len(state.Own) == 0 {
		return &pidf.BluStar{Status: pidf.StatusUnknown, Note: &pidf.Note{Lang: noteLang}, Timestamp: now}
	}
	own := &state.Own[0]
	return &pidf.BluStar{
		Status:    own.Status,
		Note:      &pidf.Note{Lang: noteLang, Text: own.Note},
		Timestamp: own.Timestamp,
	}
}

func externalUC(e *External) *pidf.ExternalUC {
	if e == nil {
		return nil
	}
	uc := &pidf.ExternalUC{
		Status:         e.Status,
		FreeText:       e.FreeText,
		FwdDestination: e.FwdDestination,
		TelephoneEvent: e.TelephoneEvent,
		Timestamp:      e.Changed,
	}
	if uc.Status == "" {
		uc.Status = pidf.StatusUnknown
	}
	return uc
}

// maxShown and maxShownText bound the appointments in a document and the bytes of
// their texts, so that it fits a datagram even where each of them is escaped:
// whoever may invite a user must not make their presence unsayable.
const (
	maxShown     = 16
	maxShownText = 4096
)

// appointments picks the relevant ones (BSP-3.2-5): those that are running, else
// the next where that is to be shown. They are sorted by start.
func appointments(all []Meeting, now time.Time, show Showing) []pidf.Appointment {
	var list []pidf.Appointment
	text := 0
	for i := range all {
		a := &all[i].Appointment
		if running(a, now) || show.NextAppointment && len(list) == 0 && a.From.After(now) {
			shown := seen(*a, show.Own)
			if text += len(shown.ID) + len(shown.Subject) + len(shown.Location); text > maxShownText && len(list) > 0 {
				break
			}
			list = append(list, shown)
		}
		if a.From.After(now) || len(list) == maxShown {
			break
		}
	}
	return list
}

// seen returns a as somebody may see it.
func seen(a pidf.Appointment, own bool) pidf.Appointment {
	if a.Private && !own {
		a.Subject, a.Location = "", ""
	}
	return a
}

// hasPrivate reports whether own eyes see more than others'.
func hasPrivate(all []Meeting) bool {
	for i := range all {
		if a := &all[i]; a.Private && (a.Subject != "" || a.Location != "") {
			return true
		}
	}
	return false
}
