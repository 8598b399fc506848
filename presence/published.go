package presence

import (
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/sipx"
)

// ownOf reads the status that a published document says: that of aa:blustar
// where it has one (BSP-4.3-2), else what RFC 4480 and RFC 3863 say (BSX-6).
// keepsNote tells that the document does not speak of a note: an empty one
// deletes it (BSP-4.3-3).
func ownOf(doc *pidf.Presence, owner string, maxNote int, now time.Time) (own Own, keepsNote bool, err error) {
	own = Own{Provenance: Provenance{Owner: owner, Received: now}, Timestamp: now}
	for i := range doc.Persons {
		aa := doc.Persons[i].BluStar
		if aa == nil || aa.BluStar == nil {
			continue
		}
		b := aa.BluStar
		if !validStatus(b.Status) {
			return own, false, sipx.Errorf(400, "aa:status %q is not in the schema", string(b.Status))
		}
		own.Status = pidf.Status(strings.Clone(string(b.Status)))
		if b.Note != nil {
			own.Note = strings.Clone(strings.TrimSpace(b.Note.Text)) // the document must not stay for it
		}
		if len(own.Note) > maxNote {
			return own, false, longNote(maxNote)
		}
		if !b.Timestamp.IsZero() {
			own.Timestamp = b.Timestamp
		}
		return own, b.Note == nil, nil
	}
	own.Meaning = standardMeaning(doc)
	own.Status = statusOf(own.Meaning)
	if own.Note = standardNote(doc); len(own.Note) > maxNote {
		return own, false, longNote(maxNote)
	}
	return own, false, nil
}

func longNote(most int) error { return sipx.Errorf(413, "a note of more than %d bytes", most) }

func validStatus(s pidf.Status) bool {
	switch s {
	case pidf.StatusAvailable, pidf.StatusBusy, pidf.StatusAway, pidf.StatusDoNotDisturb, pidf.StatusSignedOut,
		pidf.StatusInactive, pidf.StatusBeRightBack, pidf.StatusOther, pidf.StatusUnknown:
		return true
	}
	return false
}

// standardMeaning maps a document without aa: (BSX-6). Of several activities
// the one that the default rules put first counts.
func standardMeaning(doc *pidf.Presence) Meaning {
	order := []Meaning{MeansDoNotDisturb, MeansCall, MeansMeeting, MeansBusy, MeansAway, MeansAvailable, MeansSignedOut}
	best := len(order)
	for i := range doc.Persons {
		if doc.Persons[i].Activities == nil {
			continue
		}
		for _, a := range doc.Persons[i].Activities.Values {
			m := activityMeaning(a)
			for j := range best {
				if order[j] == m {
					best = j
				}
			}
		}
	}
	if best < len(order) {
		return order[best]
	}
	return basicMeaning(doc)
}

func activityMeaning(a pidf.Activity) Meaning {
	switch a.Name {
	case "on-the-phone":
		return MeansCall
	case "meeting", "appointment", "presentation":
		return MeansMeeting
	case "busy":
		return MeansBusy
	case "away", "vacation", "holiday", "travel", "sleeping":
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

// basicMeaning maps the basic status of the tuples.
func basicMeaning(doc *pidf.Presence) Meaning {
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

func statusOf(m Meaning) pidf.Status {
	switch m {
	case MeansDoNotDisturb:
		return pidf.StatusDoNotDisturb
	case MeansCall, MeansMeeting, MeansBusy:
		return pidf.StatusBusy
	case MeansAway:
		return pidf.StatusAway
	case MeansAvailable:
		return pidf.StatusAvailable
	case MeansSignedOut:
		return pidf.StatusSignedOut
	}
	return pidf.StatusUnknown
}

// standardNote is the first note of a person, else of a tuple.
func standardNote(doc *pidf.Presence) string {
	for i := range doc.Persons {
		if n := firstNote(doc.Persons[i].Notes); n != "" {
			return n
		}
		if a := doc.Persons[i].Activities; a != nil {
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
