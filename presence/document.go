package presence

import (
	"time"

	"github.com/openblustar/blustar/pidf"
)

// noteLang is the language tag that the document prints everywhere.
const noteLang = "Eng"

// Document builds the consolidated document of §3 for a presentity. Private
// appointments keep their times and state; subject and location are left out
// unless own is set, which is for the user's own authenticated eyes (BSP-3.2-6).
// [pidf.Presence.Template] writes the same document for other spellings of the
// entity.
func Document(entity string, state *State, result Result, now time.Time, own bool) *pidf.Presence {
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
	activities := &pidf.Activities{Values: []pidf.Activity{activity(result.Status)}}
	if result.Note != "" {
		activities.Notes = []pidf.Note{{Lang: noteLang, Text: result.Note}}
	}
	doc.Persons = []pidf.Person{{
		ID:         entity,
		Activities: activities,
		BluStar: &pidf.BluStarPresence{
			BluStar:    blustar(state),
			ExternalUC: externalUC(state.External),
			Calendar:   appointments(state.Calendar, now, own),
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
func activity(s Status) pidf.Activity {
	switch s {
	case StatusBusy, StatusAway:
		return pidf.Activity{Name: string(s)}
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

// blustar writes the last status that the user published.
func blustar(state *State) *pidf.BluStar {
	if len(state.Own) == 0 {
		return &pidf.BluStar{Status: pidf.StatusUnknown}
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
// the next. They are sorted by start.
func appointments(all []Meeting, now time.Time, own bool) []pidf.Appointment {
	var list []pidf.Appointment
	text := 0
	for i := range all {
		a := &all[i].Appointment
		if running(a, now) || len(list) == 0 && a.From.After(now) {
			shown := seen(*a, own)
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
