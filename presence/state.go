package presence

import (
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf"
)

// State is all that the sources say about one presentity: what [Consolidate]
// turns into one status. It is a plain value; the zero State knows nothing.
type State struct {
	Own      []Own        // what the user's own clients published, newest first
	Lines    []Line       // the supervised devices, in the order of the directory entry
	Calendar []Meeting    // appointments of the user's mailbox, by start
	External *External    // the external presence system, nil where it says nothing
	Services ServiceState // what the user's live clients can do
}

// Provenance says where a source's value comes from and how long it holds
// (BSX-2).
type Provenance struct {
	// Owner is who said so: the Contact of a client, or its network address where
	// it gave none; "feed" or "monitor"; or "server", which says that a user is
	// signed out whose last client has gone.
	Owner    string
	Received time.Time // the server's time of receipt
	Expires  time.Time // when the value fades by itself; zero where it does not
}

// Own is a status that the user published.
type Own struct {
	Provenance
	Status    pidf.Status
	Meaning   Meaning   // where it says more than Status: a Standard publisher on the phone, say
	Note      string    // the user's free text
	Timestamp time.Time // as published, else Received
}

// Line is the state of one supervised device.
type Line struct {
	Provenance
	DN      string // directory number
	State   pidf.LineState
	Forward string    // destination of an immediate forward, or empty
	Changed time.Time // of State or Forward
}

// Meeting is one appointment.
type Meeting struct {
	Provenance
	pidf.Appointment
}

// External is what an external presence system such as Lync says.
type External struct {
	Provenance
	Status         pidf.Status // empty is unknown
	FreeText       string
	FwdDestination string // where calls are forwarded to
	TelephoneEvent string // "on-the-phone" counts as a call
	Changed        time.Time
}

// ServiceState says which services are open (BSP-4.3-5).
type ServiceState struct {
	Global, Audio, Video, Message bool
}

// Meaning is what a claim amounts to when presence is consolidated. The default
// rules pass over a claim with an empty Meaning; a rule of the host sees it too.
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

// meaning says what a status of the schema means; unknown does not count.
func meaning(s pidf.Status) Meaning {
	switch s {
	case pidf.StatusDoNotDisturb:
		return MeansDoNotDisturb
	case pidf.StatusBusy:
		return MeansBusy
	case pidf.StatusAway:
		return MeansAway
	case pidf.StatusInactive:
		return MeansInactive
	case pidf.StatusBeRightBack:
		return MeansBeRightBack
	case pidf.StatusOther:
		return MeansOther
	case pidf.StatusAvailable:
		return MeansAvailable
	case pidf.StatusSignedOut:
		return MeansSignedOut
	}
	return ""
}

// Claim is one thing that one source says about a presentity now.
type Claim struct {
	Provenance
	Source  string  // "blustar", "line 2719", "calendar 17", "external"
	Value   string  // in the source's own words: a status, a state of a line or an appointment
	Meaning Meaning // empty where it says nothing to the default rules
}

// Claims lists what the sources say at now, in the order own, lines, calendar,
// external. Appointments that are not running and values that have expired say
// nothing and are left out.
func (s *State) Claims(now time.Time) []Claim {
	claims := make([]Claim, 0, len(s.Own)+len(s.Lines)+len(s.Calendar)+2)
	for _, o := range s.Own {
		m := o.Meaning
		if m == "" {
			m = meaning(o.Status)
		}
		claims = append(claims, Claim{o.Provenance, "blustar", string(o.Status), m})
	}
	for _, l := range s.Lines {
		c := Claim{Provenance: l.Provenance, Source: "line " + l.DN, Value: string(l.State)}
		if l.State == pidf.LineBusy {
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
		if m.State == pidf.CalendarBusy {
			c.Meaning = MeansMeeting
		}
		claims = append(claims, c)
	}
	if e := s.External; e != nil {
		if e.Status != "" {
			claims = append(claims, Claim{e.Provenance, "external", string(e.Status), meaning(e.Status)})
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
func running(a *pidf.Appointment, now time.Time) bool {
	return !now.Before(a.From) && now.Before(a.End)
}

// note returns the user's free text: of what they published, that which the
// rules put first, the newest among equals (BSX-6); next to a status that has
// none, the text of another. claims are those of s.
func (s *State) note(rules []Rule, claims []Claim) string {
	newest, several := "", false
	for i := range s.Own {
		switch note := s.Own[i].Note; {
		case note == "":
		case newest == "":
			newest = note
		default:
			several = true
		}
	}
	if !several {
		return newest
	}
	for i := range rules {
		for j := range s.Own { // whose claims are the first ones
			if s.Own[j].Note != "" && rules[i].Match(claims[j]) {
				return s.Own[j].Note
			}
		}
	}
	return newest
}

// nextChange returns when the state next says something else by itself: the
// start or end of an appointment, or the expiry of a value; zero for never.
func (s *State) nextChange(now time.Time) time.Time {
	var next time.Time
	consider := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for i := range s.Calendar {
		consider(s.Calendar[i].From)
		consider(s.Calendar[i].End)
		consider(s.Calendar[i].Expires)
	}
	for i := range s.Lines {
		consider(s.Lines[i].Expires)
	}
	if s.External != nil {
		consider(s.External.Expires)
	}
	return next
}
