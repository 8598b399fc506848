package consolidation

import (
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf/aa"
)

// Claim is one thing that one source says about a user now.
type Claim struct {
	Provenance
	Source  string  `json:"source"` // "blustar", "published", "line 2719", "calendar 17", "external"
	Value   string  `json:"value"`  // in the source's own words: a status, a state of a line or an appointment
	Meaning Meaning `json:"meaning,omitempty"`

	published *Published // nil for a claim of another source
}

// Claims lists what the sources say at now, in the order published, lines, calendar, external. It
// leaves out appointments that are not running.
func (s *State) Claims(now time.Time) []Claim {
	most := len(s.Published) + len(s.Lines) + len(s.Calendar)
	if s.External != nil {
		most += 2
	}
	claims := make([]Claim, 0, most)
	for i := range s.Published {
		p := &s.Published[i]
		c := Claim{Provenance: p.Provenance, Source: "blustar", Value: string(p.Status), Meaning: statusMeaning(p.Status),
			published: p}
		if p.Reading != nil {
			c.Source = "published"
			c.Meaning, c.Value = p.Reading.meaning(now)
		}
		claims = append(claims, c)
	}
	for _, l := range s.Lines {
		c := Claim{Provenance: l.Provenance, Source: "line " + l.DN, Value: string(l.State)}
		if l.State == aa.LineBusy {
			c.Meaning = MeansCall
		}
		claims = append(claims, c)
	}
	for _, m := range s.Calendar {
		if !running(&m.Appointment, now) {
			continue
		}
		c := Claim{Provenance: m.Provenance, Source: "calendar " + m.ID, Value: string(m.State)}
		c.Expires = m.End
		if m.State == aa.CalendarBusy {
			c.Meaning = MeansMeeting
		}
		claims = append(claims, c)
	}
	if e := s.External; e != nil {
		if e.Status != "" {
			claims = append(claims, Claim{Provenance: e.Provenance, Source: "external", Value: string(e.Status),
				Meaning: statusMeaning(e.Status)})
		}
		if e.TelephoneEvent != "" {
			c := Claim{Provenance: e.Provenance, Source: "external", Value: e.TelephoneEvent}
			if strings.EqualFold(e.TelephoneEvent, "on-the-phone") {
				c.Meaning = MeansCall
			}
			claims = append(claims, c)
		}
	}
	return claims
}

// running reports whether a covers now: its end does not.
func running(a *aa.Appointment, now time.Time) bool {
	return !now.Before(a.From) && now.Before(a.End)
}

// statusMeaning says what a status of the schema means. Unknown means nothing.
func statusMeaning(s aa.Status) Meaning {
	switch s {
	case aa.StatusDoNotDisturb, aa.StatusBusy, aa.StatusAway, aa.StatusInactive, aa.StatusBeRightBack,
		aa.StatusOther, aa.StatusAvailable, aa.StatusSignedOut:
		return Meaning(s) // the same words
	}
	return ""
}
