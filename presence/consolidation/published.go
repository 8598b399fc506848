package consolidation

import (
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
)

// documentMeaning reads a document without aa: (RFC 4480 §3.2, RFC 3863 §4.1.4):
// what it means at now, and in which words. Of several activities the one that the
// default rules put first counts.
func documentMeaning(doc *pidf.Presence, now time.Time) (Meaning, string) {
	const none = 99
	best, value := none, ""
	for i := range doc.Persons {
		a := doc.Persons[i].Activities
		if a == nil || !holds(a, now) {
			continue
		}
		for _, v := range a.Values {
			if rank := rankOf(activityMeaning(v)); rank < best {
				if best, value = rank, v.Name; v.Name == "other" {
					value = strings.TrimSpace(v.Text)
				}
			}
		}
	}
	if best < none {
		return ranked[best], value
	}
	switch m := BasicMeaning(doc); m {
	case MeansAvailable:
		return m, string(pidf.Open)
	case MeansSignedOut:
		return m, string(pidf.Closed)
	}
	return "", ""
}

// ranked are the meanings of activities in the order of the default rules.
var ranked = [...]Meaning{MeansDoNotDisturb, MeansCall, MeansMeeting, MeansBusy, MeansAway, MeansAvailable, MeansSignedOut}

func rankOf(m Meaning) int {
	for i, r := range ranked {
		if r == m {
			return i
		}
	}
	return len(ranked) + 99
}

// holds reports whether activities are valid at now (RFC 4480 §3).
func holds(a *pidf.Activities, now time.Time) bool {
	return (a.From.IsZero() || !now.Before(a.From)) && (a.Until.IsZero() || now.Before(a.Until))
}

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

// BasicMeaning reads the basic status of the tuples: one that is open means
// available, and where all of them are closed the user is signed out.
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

// note is the free text of what was published: of a document the first note of a
// person, else of a tuple.
func (p *Published) note(now time.Time) string {
	if p.Document == nil {
		return p.Note
	}
	return DocumentNote(p.Document, now)
}

// DocumentNote returns the free text of a document of the RFCs at now: the first
// note of a person or of their activities, else of a tuple, else of the document.
func DocumentNote(doc *pidf.Presence, now time.Time) string {
	for i := range doc.Persons {
		if n := firstNote(doc.Persons[i].Notes); n != "" {
			return n
		}
		if a := doc.Persons[i].Activities; a != nil && holds(a, now) {
			if n := firstNote(a.Notes); n != "" {
				return n
			}
		}
	}
	for i := range doc.Tuples {
		if n := firstNote(doc.Tuples[i].Notes); n != "" {
			return n
		}
	}
	return firstNote(doc.Notes)
}

func firstNote(notes []pidf.Note) string {
	for i := range notes {
		if text := strings.TrimSpace(notes[i].Text); text != "" {
			return text
		}
	}
	return ""
}

// StatusAt is what was published, as aa:blustar has it at now.
func (p *Published) StatusAt(now time.Time) aa.Status {
	if p.Document == nil {
		return p.Status
	}
	m, _ := documentMeaning(p.Document, now)
	return statusOf(m)
}

// statusOf is how the status of a document is written in aa:blustar.
func statusOf(m Meaning) aa.Status {
	switch m {
	case MeansDoNotDisturb:
		return aa.StatusDoNotDisturb
	case MeansCall, MeansMeeting, MeansBusy:
		return aa.StatusBusy
	case MeansAway:
		return aa.StatusAway
	case MeansAvailable:
		return aa.StatusAvailable
	case MeansSignedOut:
		return aa.StatusSignedOut
	}
	return aa.StatusUnknown
}
