package consolidation

import (
	"time"

	"github.com/openblustar/blustar/pidf/aa"
)

// State is everything that the sources say about one user. It is a plain value. Nobody changes it
// once it is made. The zero State knows nothing.
type State struct {
	Entry     any         // the host's own, for its rules: package presence puts the *directory.Entry here
	Published []Published // what the user's own clients published, newest first
	Lines     []Line      // the supervised devices, in the order of the directory entry
	Calendar  []Meeting   // appointments of the user's mailbox, by start
	External  *External   // the external presence system; nil if it says nothing
	Services  Services    // what the user's live clients can do
	Live      bool        // a BluStar client of the user is signed in
}

// Provenance says where a source's value comes from and how long it holds.
type Provenance struct {
	// Owner is who said so: the Contact of a client, or its network address if it gave none;
	// "feed" or "monitor"; or "server", which says that a user without a client is signed out.
	Owner    string    `json:"owner,omitempty"`
	Received time.Time `json:"received,omitzero"` // the server's time of receipt
	Expires  time.Time `json:"expires,omitzero"`  // when the value fades by itself; zero for never
}

// Published is what the user published: the status of BluStar clients, or a document of another
// client, whose meaning may change with time.
type Published struct {
	Provenance
	Status    aa.Status // of a BluStar client
	Note      string    // the user's free text
	Timestamp time.Time // as published, else Received
	Reading   *Reading  // of the document of another client; nil for BluStar
}

// StatusAt returns the published status at now, as aa:blustar writes it.
func (p *Published) StatusAt(now time.Time) aa.Status {
	if p.Reading == nil {
		return p.Status
	}
	switch m, _ := p.Reading.meaning(now); m {
	case "":
		return aa.StatusUnknown
	case MeansCall, MeansMeeting:
		return aa.StatusBusy
	default:
		return aa.Status(m) // the same words
	}
}

// noteAt returns the free text at now.
func (p *Published) noteAt(now time.Time) string {
	if p.Reading == nil {
		return p.Note
	}
	return p.Reading.Note(now)
}

// Line is the state of one supervised device.
type Line struct {
	Provenance
	DN      string // directory number
	State   aa.LineState
	Forward string    // destination of an immediate forward, or empty
	Changed time.Time // of State or Forward
}

// Meeting is one appointment.
type Meeting struct {
	Provenance
	aa.Appointment
}

// External is what an external presence system such as Lync says.
type External struct {
	Provenance
	Status         aa.Status // empty is unknown
	FreeText       string
	FwdDestination string // where calls are forwarded to
	TelephoneEvent string // "on-the-phone" counts as a call
	Changed        time.Time
}

// Services says which services are open (§4.3).
type Services struct {
	Global, Audio, Video, Message bool
}

// Or returns the services that are open in one of two clients.
func (a Services) Or(b Services) Services {
	return Services{a.Global || b.Global, a.Audio || b.Audio, a.Video || b.Video, a.Message || b.Message}
}

// NextChange returns when the state next says something else by itself: when an appointment or an
// activity begins or ends, or a value expires. It returns zero for never. The expiry of
// publications is not counted: their store tells.
func (s *State) NextChange(now time.Time) time.Time {
	var next time.Time
	consider := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for i := range s.Published {
		if r := s.Published[i].Reading; r != nil {
			for j := range r.statements {
				if p := r.statements[j].holds; p != nil {
					consider(p.from)
					consider(p.until)
				}
			}
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
