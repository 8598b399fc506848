package consolidation

import (
	"cmp"
	"slices"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
)

// Sight says how much of a user somebody may see.
type Sight uint8

// Sights, from the one that sees most of other users to the one that sees least:
//
//   - SightOthers sees everything but the subjects and locations of private appointments.
//   - SightOwn sees these, too.
//   - SightNoDetails sees the subject and location of no appointment.
//   - SightNoLines sees no devices either, nor that a user is in a call.
//   - SightBusyOrNot sees one of available, busy, signed out and unknown, with the usual text.
//   - SightBlocked sees an unknown user, whatever they do.
//   - SightRefused may not watch at all. Its document is that of SightBlocked.
const (
	SightOthers Sight = iota
	SightOwn
	SightNoDetails
	SightNoLines
	SightBusyOrNot
	SightBlocked
	SightRefused

	Sights // how many there are
)

// Options says how a document is written.
type Options struct {
	Entity string // the presentity's address, as the watcher writes it
	Sight  Sight
	// Standard writes for clients of the RFCs. If the document of one of them won, its activities
	// are shown as published. Away and other are written in RPID's own words. Services that are
	// open have the entity as their contact (RFC 4479 §3.3). Without Standard, away and other are
	// shown as busy, and the note tells.
	Standard bool
	// AllStatuses shows away and other as they are, in either dialect.
	AllStatuses bool
	// NextAppointment shows the next appointment if none is running.
	NextAppointment bool
	// Since is when what SightBusyOrNot sees has begun; zero for now. The time of a publication
	// would tell more.
	Since time.Time
}

// noteLang is the language tag that the document prints everywhere.
const noteLang = "Eng"

// Document writes a result as the document of §3, as it is at now.
func Document(state *State, result Result, now time.Time, o Options) *pidf.Presence {
	return new(Sheet).Document(state, result, now, o)
}

// Sheet is memory for one document, and then for the next. The zero value is ready.
type Sheet struct {
	// Original, if not nil, is called instead of [Reading.Original]. What it returns must be good for as long as the
	// document on the sheet.
	Original func(*Reading) *pidf.Presence

	parts
}

// Document is the function [Document]. Its result is good until the next call.
func (d *Sheet) Document(state *State, result Result, now time.Time, o Options) *pidf.Presence {
	switch o.Sight {
	case SightBlocked, SightRefused:
		state, result = &State{}, Result{Status: StatusUnknown}
	case SightBusyOrNot:
		state, result = busyOrNot(state, result, o.Since)
	case SightNoLines:
		state, result = withoutLines(state, result)
	}
	// Their room is used again: the caller may have added tuples.
	tuples, devices, lines := d.doc.Tuples, d.doc.Devices[:0], d.lines[:0]
	if d.parts = (parts{}); cap(tuples) < services {
		tuples = d.tuples[:]
	}
	tuples = tuples[:services]
	clear(tuples)
	d.doc.Tuples, d.doc.Devices, d.lines = tuples, devices, slices.Grow(lines, len(state.Lines))
	d.tuple(0, "global service", state.Services.Global, o)
	d.tuple(1, "audio", state.Services.Audio, o)
	d.tuple(2, "video", state.Services.Video, o)
	d.tuple(3, "message", state.Services.Message, o)
	person := &d.persons[0]
	person.ID, person.Activities = o.Entity, &d.activities
	if p := result.published; o.Standard && p != nil {
		d.activities.Values, person.Notes = asPublished(d.original(p.Reading), now, o.Sight)
	}
	if d.activities.Values == nil {
		d.values[0] = activity(result.Status, o)
		d.activities.Values = d.values[:]
		if result.Note != "" {
			d.notes[0] = pidf.Note{Lang: noteLang, Text: result.Note}
			d.activities.Notes = d.notes[:]
		}
	}
	d.blustar = aa.BluStar{Status: aa.StatusUnknown, Note: &d.note, Timestamp: now}
	d.note.Lang = noteLang
	blustar(&d.blustar, state, now)
	d.presence = aa.Presence{BluStar: &d.blustar, ExternalUC: externalUC(state.External),
		Calendar: appointments(state.Calendar, now, o)}
	person.Extra = aa.Extra(&d.presence)
	d.doc.Entity, d.doc.Persons = o.Entity, d.persons[:]
	for i := range state.Lines {
		d.device(&state.Lines[i])
	}
	return &d.doc
}

func (d *Sheet) original(r *Reading) *pidf.Presence {
	if d.Original != nil {
		return d.Original(r)
	}
	return r.Original()
}

// services is how many of them have a tuple of their own (§3).
const services = 4

// parts are what every document has, in one piece of memory.
type parts struct {
	doc        pidf.Presence
	tuples     [services]pidf.Tuple
	contacts   [services]pidf.Contact // of the tuples
	persons    [1]pidf.Person
	activities pidf.Activities
	values     [1]pidf.Choice
	notes      [1]pidf.Note
	presence   aa.Presence
	blustar    aa.BluStar
	note       pidf.Note
	lines      []aa.Line // of the devices
}

// asPublished returns the activities and notes of a published document that hold at now, as far as
// a sight may see them. Without activities it returns nil for them.
func asPublished(doc *pidf.Presence, now time.Time, s Sight) (values []pidf.Choice, notes []pidf.Note) {
	for i := range doc.Persons {
		p := &doc.Persons[i]
		notes = append(notes, p.Notes...)
		if p.Activities == nil || !periodOf(p.Activities).covers(now) {
			continue
		}
		for _, v := range p.Activities.Values {
			if s != SightNoLines || activityMeaning(v) != MeansCall {
				values = append(values, v)
			}
		}
		notes = append(notes, p.Activities.Notes...)
	}
	return values, notes
}

// BusyOrNot is s as SightBusyOrNot sees it: available, busy, signed out or unknown.
func (s Status) BusyOrNot() Status {
	switch s {
	case StatusAvailable, StatusSignedOut, StatusUnknown:
		return s
	}
	return StatusBusy
}

// busyOrNot leaves only whether a user can be disturbed.
func busyOrNot(state *State, result Result, since time.Time) (*State, Result) {
	r := Result{Status: result.Status.BusyOrNot()}
	switch r.Status {
	case StatusAvailable:
		r.Note = "Available"
	case StatusSignedOut:
		r.Note = "Signed out"
	case StatusBusy:
		r.Note = "Busy"
	}
	return &State{Services: state.Services, Published: []Published{{Status: aa.Status(r.Status), Timestamp: since}}}, r
}

// withoutLines leaves out the telephones: who is in a call is busy.
func withoutLines(state *State, result Result) (*State, Result) {
	s := *state
	s.Lines = nil
	if s.External != nil {
		e := *s.External
		e.TelephoneEvent, e.FwdDestination = "", ""
		if s.External = &e; e.Status == "" && e.FreeText == "" {
			s.External = nil // it told only of lines
		}
	}
	if result.Winner.Meaning == MeansCall {
		if result.Note == "In a call" {
			result.Note = "Busy"
		}
		result.Winner, result.published = Claim{}, nil
	}
	return &s, result
}

// tuple writes a service. Some clients take a service without a contact as closed.
func (d *parts) tuple(i int, id string, open bool, o Options) {
	t := &d.doc.Tuples[i]
	t.ID, t.Basic = id, pidf.Closed
	if open {
		t.Basic = pidf.Open
		if o.Standard {
			d.contacts[i].URI = o.Entity
			t.Contact = &d.contacts[i]
		}
	}
}

// activity writes a consolidated status as RPID (BSP-3.2-1, BSP-3.2-7).
func activity(s Status, o Options) pidf.Choice {
	if (s == StatusAway || s == StatusOther) && !o.Standard && !o.AllStatuses {
		s = StatusBusy
	}
	if s == StatusAway || s == StatusBusy {
		return pidf.Choice{Name: string(s)}
	}
	return pidf.Choice{Name: "other", Text: string(s)}
}

// device writes a line, for which d.lines has room.
func (d *parts) device(l *Line) {
	d.lines = append(d.lines, aa.Line{DN: l.DN, State: l.State})
	line := &d.lines[len(d.lines)-1]
	if l.Forward != "" {
		line.Forward = &aa.Forward{Type: "immediate", Destination: l.Forward}
	}
	d.doc.Devices = append(d.doc.Devices, pidf.Device{ID: "tel:" + l.DN, Extra: aa.Extra(line), Timestamp: l.Changed})
}

// blustar writes the last status that a BluStar client published. The status of another client
// counts only while no BluStar client is live (BSP-3.2-8). Note and timestamp are always there, as
// printed.
func blustar(b *aa.BluStar, state *State, now time.Time) {
	for i := range state.Published {
		p := &state.Published[i]
		if p.Reading == nil || !state.Live {
			b.Status = p.StatusAt(now)
			b.Note.Text = p.noteAt(now)
			if b.Timestamp = p.Timestamp; b.Timestamp.IsZero() {
				b.Timestamp = now
			}
			break
		}
	}
}

func externalUC(e *External) *aa.ExternalUC {
	if e == nil {
		return nil
	}
	return &aa.ExternalUC{
		Status: cmp.Or(e.Status, aa.StatusUnknown), FreeText: e.FreeText, FwdDestination: e.FwdDestination,
		TelephoneEvent: e.TelephoneEvent, Timestamp: e.Changed,
	}
}

// maxShown and maxShownText bound the appointments in a document, and the bytes of their texts. So
// the document fits a datagram, even with each byte escaped: who may invite a user must not make
// their document too large to be sent.
const (
	maxShown     = 16
	maxShownText = 4096
)

// appointments picks the appointments that are shown, by start (§3.2): those that run now, or the
// next one if that is asked for.
func appointments(all []Meeting, now time.Time, o Options) []aa.Appointment {
	var list []aa.Appointment
	text := 0
	for i := range all {
		a := &all[i].Appointment
		next := o.NextAppointment && len(list) == 0 && a.From.After(now)
		if running(a, now) || next {
			shown := seen(*a, o.Sight)
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

// seen returns an appointment as a sight may see it (BSP-3.2-6).
func seen(a aa.Appointment, s Sight) aa.Appointment {
	if s == SightNoDetails || a.Private && s != SightOwn {
		a.Subject, a.Location = "", ""
	}
	return a
}
