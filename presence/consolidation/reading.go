package consolidation

import (
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf"
)

// Meaning is what a claim says of the user, in words that do not depend on its source. The default
// rules pass over a claim with an empty Meaning. A rule of the host sees it, too.
type Meaning string

// What the sources can mean. Hosts with rules of their own may add others.
const (
	MeansDoNotDisturb Meaning = "do not disturb"
	MeansCall         Meaning = "call"
	MeansMeeting      Meaning = "meeting"
	MeansBusy         Meaning = "busy"
	MeansAway         Meaning = "away"
	MeansInactive     Meaning = "inactive"
	MeansBeRightBack  Meaning = "be right back"
	MeansOther        Meaning = "other"
	MeansAvailable    Meaning = "available"
	MeansSignedOut    Meaning = "signed out"
)

// Reading is what a document without aa: elements says of its user (RFC 4480 §3.2, RFC 3863
// §4.1.4): now, and later, when activities begin and end. It is small, and does not keep the
// document in memory. [Read] makes one.
type Reading struct {
	// Original returns the document itself. Watchers of the Standard dialect see its activities and
	// notes as they were published. It must not be nil.
	Original func() *pidf.Presence

	basic      Meaning // of the tuples
	statements []statement
	room       [2]statement // for what most documents say
}

// statement is a note, or activities with their note, or both.
type statement struct {
	meaning Meaning
	value   string // in the words of the document
	note    string
	holds   *period // nil for always
}

// period is when activities are valid (RFC 4480 §3).
type period struct{ from, until time.Time }

func (p *period) covers(now time.Time) bool {
	return p == nil || (p.from.IsZero() || !now.Before(p.from)) && (p.until.IsZero() || now.Before(p.until))
}

// Read reads a document. Of several activities of a person the one counts that the default rules
// put first.
func Read(doc *pidf.Presence) *Reading {
	r := new(Reading)
	r.Read(doc)
	r.Original = func() *pidf.Presence { return doc }
	return r
}

// Read reads a document into r, which may be part of another value. The caller sets
// Original.
func (r *Reading) Read(doc *pidf.Presence) {
	r.basic, r.statements = BasicMeaning(doc), r.room[:0]
	for i := range doc.Persons {
		person := &doc.Persons[i]
		r.say(statement{note: firstNote(person.Notes)})
		if person.Activities != nil {
			r.say(stated(person.Activities))
		}
	}
	note := ""
	for i := 0; i < len(doc.Tuples) && note == ""; i++ {
		note = firstNote(doc.Tuples[i].Notes)
	}
	if note == "" {
		note = firstNote(doc.Notes)
	}
	r.say(statement{note: note})
}

func (r *Reading) say(s statement) {
	if s != (statement{}) {
		s.value, s.note = strings.Clone(s.value), strings.Clone(s.note)
		r.statements = append(r.statements, s)
	}
}

// stated returns what activities say.
func stated(a *pidf.Activities) statement {
	s := statement{note: firstNote(a.Notes)}
	best := len(ranked)
	for _, v := range a.Values {
		if rank := slices.Index(ranked[:best], activityMeaning(v)); rank >= 0 {
			if best, s.meaning, s.value = rank, ranked[rank], v.Name; v.Name == "other" {
				s.value = strings.TrimSpace(v.Text)
			}
		}
	}
	s.holds = periodOf(a)
	return s
}

func periodOf(a *pidf.Activities) *period {
	if a.From.IsZero() && a.Until.IsZero() {
		return nil
	}
	return &period{a.From, a.Until}
}

// meaning returns what the document means at now, and its word for that.
func (r *Reading) meaning(now time.Time) (Meaning, string) {
	best, value := len(ranked), ""
	for i := range r.statements {
		s := &r.statements[i]
		if rank := slices.Index(ranked[:best], s.meaning); rank >= 0 && s.holds.covers(now) {
			best, value = rank, s.value
		}
	}
	if best < len(ranked) {
		return ranked[best], value
	}
	switch r.basic {
	case MeansAvailable:
		return r.basic, string(pidf.Open)
	case MeansSignedOut:
		return r.basic, string(pidf.Closed)
	}
	return "", ""
}

// Note returns the free text of the document at now: the first note of a person or of their
// activities, else of a tuple, else of the document.
func (r *Reading) Note(now time.Time) string {
	for i := range r.statements {
		if s := &r.statements[i]; s.note != "" && s.holds.covers(now) {
			return s.note
		}
	}
	return ""
}

// ranked are the meanings of activities in the order of the default rules.
var ranked = [...]Meaning{MeansDoNotDisturb, MeansCall, MeansMeeting, MeansBusy, MeansAway, MeansAvailable,
	MeansSignedOut}

func activityMeaning(a pidf.Choice) Meaning {
	switch a.Name {
	case "on-the-phone":
		return MeansCall
	case "meeting", "appointment", "presentation", "performance":
		return MeansMeeting
	case "busy", "steering":
		return MeansBusy
	case "away", "breakfast", "dinner", "meal", "holiday", "vacation", "in-transit", "travel", "permanent-absence",
		"sleeping", "shopping", "playing", "tv", "spectator", "worship":
		return MeansAway
	case "other":
		switch strings.ToLower(strings.TrimSpace(a.Text)) {
		case "available":
			return MeansAvailable
		case "unavailable":
			return MeansDoNotDisturb
		case "signed out":
			return MeansSignedOut
		}
	}
	return ""
}

// BasicMeaning reads the basic status of the tuples. If one is open, the user is available. If all
// are closed, the user is signed out.
func BasicMeaning(doc *pidf.Presence) Meaning {
	m := Meaning("")
	for i := range doc.Tuples {
		switch doc.Tuples[i].Basic {
		case pidf.Open:
			return MeansAvailable
		case pidf.Closed:
			m = MeansSignedOut
		}
	}
	return m
}

func firstNote(notes []pidf.Note) string {
	for i := range notes {
		if text := strings.TrimSpace(notes[i].Text); text != "" {
			return text
		}
	}
	return ""
}
