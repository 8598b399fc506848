// Package aa has the elements that BluStar adds to presence documents, those of aa.xsd: [Presence] in a person, the
// sources of its status, and [Line] in a device, the state of a telephone line. They are extensions of package pidf:
//
//	p, err := aa.Decode(body)
//	if line := aa.LineOf(&p.Devices[0]); line != nil { … }
//	xml := p.Append(nil, pidf.BluStarDialect)
package aa

import (
	"time"

	"github.com/openblustar/blustar/pidf"
)

// Namespace is the namespace of aa.xsd, as §3 of the interface description prints it.
const Namespace = "http://www.aastra.com/presence/blustar/2011"

// MaxNote is how long a note that a user publishes may be, in bytes of UTF-8,
// unless a server is configured otherwise. A longer one is answered 413.
const MaxNote = 1024

// spellings are those found in §4.3, §4.4 and §5.1 of the interface description; read as Namespace (BSP-3-2).
var spellings = []string{"http://www.aastracom/presence/blustar/2011", "http://www.astra.com/presence/blustar/2011"}

var (
	presenceType = pidf.Type{Name: pidf.Name{Space: Namespace, Local: "presence"}, Prefix: "aa", Spellings: spellings,
		New: func() pidf.Element { return new(Presence) }}
	lineType = pidf.Type{Name: pidf.Name{Space: Namespace, Local: "line"}, Prefix: "aa", Spellings: spellings,
		New: func() pidf.Element { return new(Line) }}
	types = []*pidf.Type{&presenceType, &lineType}
)

// Types returns the types of the extensions, for the Types of a [pidf.Decoder].
func Types() []*pidf.Type { return types[:len(types):len(types)] }

// Decode reads a presence document with the default limits, and the extensions in it as values of this package.
func Decode(data []byte) (*pidf.Presence, error) { return pidf.Decoder{Types: types}.Decode(data) }

// PresenceOf returns aa:presence of a person; nil where there is none. It is not a copy.
func PresenceOf(p *pidf.Person) *Presence { return of[*Presence](&p.Extra) }

// LineOf returns aa:line of a device; nil where there is none. It is not a copy.
func LineOf(d *pidf.Device) *Line { return of[*Line](&d.Extra) }

func of[T pidf.Element](x *pidf.Extra) (none T) {
	for i := range x.Extensions {
		if v, ok := x.Extensions[i].Value().(T); ok {
			return v
		}
	}
	return none
}

// Extra returns an Extra for a new device or person, which holds line or presence.
func Extra[T Line | Presence](v *T) pidf.Extra {
	return pidf.Extra{Extensions: []pidf.Extension{Extension(v)}}
}

// Extension returns line or presence as an extension.
func Extension[T Line | Presence](v *T) pidf.Extension {
	switch v := any(v).(type) {
	case *Line:
		return lineType.Extension(v)
	case *Presence:
		return presenceType.Extension(v)
	}
	return pidf.Extension{}
}

// Presence is aa:presence, the sources of a consolidated status (§1.3 and §3.2 of the interface description).
type Presence struct {
	BluStar    *BluStar
	A400       *A400
	ExternalUC *ExternalUC
	Calendar   []Appointment
	pidf.Extra
}

// Status is the status of a BluStar client or of an external presence system.
type Status string

// The values of aa.xsd. StatusOther is for BluStar alone. Decode keeps any other value as it is; Validate reports it.
const (
	StatusAvailable    Status = "available"
	StatusBusy         Status = "busy"
	StatusAway         Status = "away"
	StatusDoNotDisturb Status = "do not disturb"
	StatusSignedOut    Status = "signed out"
	StatusInactive     Status = "inactive"
	StatusBeRightBack  Status = "be right back"
	StatusOther        Status = "other"
	StatusUnknown      Status = "unknown"
)

// BluStar is aa:blustar, the last status that a user's BluStar client published.
type BluStar struct {
	Status      Status     // an empty one is written as StatusUnknown: the element is mandatory
	Display     string     // a text to show for the status; empty where absent
	Note        *pidf.Note // nil where absent; &Note{Lang: "Eng"} is the empty note, which deletes (§4.3)
	Timestamp   time.Time
	From, Until time.Time
	pidf.Extra

	status pidf.Extra // of the element status
}

// A400 is aa:A400, what an Aastra 400 communication server says.
type A400 struct {
	Activities  *pidf.Activities // mandatory in aa.xsd: nil is written as an empty element
	Timestamp   time.Time
	From, Until time.Time
	pidf.Extra
}

// ExternalUC is aa:externalUC, the presence that another system such as Lync reports. Its texts are mandatory in
// aa.xsd: empty ones are written as empty elements.
type ExternalUC struct {
	Status         Status
	FreeText       string
	FwdDestination string // URI that calls are forwarded to
	TelephoneEvent string // "on-the-phone"
	Timestamp      time.Time
	From, Until    time.Time
	pidf.Extra
}

// CalendarState is what an appointment does to its owner's presence.
type CalendarState string

// The values of aa.xsd.
const (
	CalendarFree        CalendarState = "free"
	CalendarTentative   CalendarState = "tentative"
	CalendarBusy        CalendarState = "busy"
	CalendarOutOfOffice CalendarState = "out of office"
	CalendarUnknown     CalendarState = "unknown"
)

// Appointment is one aa:calendar. ID, State, Subject, Location, From and End are mandatory in aa.xsd: empty texts
// are written as empty elements.
type Appointment struct {
	ID             string
	State          CalendarState // an empty one is written as CalendarUnknown
	Subject        string
	Location       string
	From, End      time.Time
	AllDay         bool
	Private        bool
	ReminderOffset *int // as found; the interface description gives no unit. nil where absent
	Timestamp      time.Time
	pidf.Extra
}

// LineState is the state of a telephone line.
type LineState string

// The values of aa.xsd.
const (
	LineIdle    LineState = "idle"
	LineRinging LineState = "ringing"
	LineBusy    LineState = "busy"
	LineUnknown LineState = "unknown"
)

// Line is aa:line, the state of one supervised device (§3.1).
type Line struct {
	DN      string    // directory number
	State   LineState // an empty one is written as LineUnknown
	Forward *Forward  // nil where the line is not forwarded
	pidf.Extra
}

// Forward is aa:forward, where calls to a line go.
type Forward struct {
	Type        string // "immediate", the only value of aa.xsd; an empty one is written as that
	Destination string
	pidf.Extra
}

// The values of the enumerations of aa.xsd.
const (
	statuses        = "available|busy|away|do not disturb|signed out|inactive|be right back|unknown"
	bluStarStatuses = "other|" + statuses
	calendarStates  = "free|tentative|busy|out of office|unknown"
	lineStates      = "idle|ringing|busy|unknown"
	forwardTypes    = "immediate"
)

func (p *Presence) Fields(f *pidf.Fields) {
	pidf.One(f, "blustar", &p.BluStar, 0)
	pidf.One(f, "A400", &p.A400, 0)
	pidf.One(f, "externalUC", &p.ExternalUC, 0)
	pidf.Many(f, "calendar", &p.Calendar)
}

func (b *BluStar) Fields(f *pidf.Fields) {
	pidf.Bounds(f, &b.From, &b.Until)
	f.Inline("status", &b.status, func(f *pidf.Fields) {
		f.Attr("display", &b.Display, pidf.Raw)
		f.Text((*string)(&b.Status), pidf.Need|pidf.Default, bluStarStatuses)
	})
	f.Note("note", &b.Note)
	f.Time(&b.Timestamp)
}

func (a *A400) Fields(f *pidf.Fields) {
	pidf.Bounds(f, &a.From, &a.Until)
	f.In(pidf.NSRPID, "rpid")
	pidf.One(f, "activities", &a.Activities, pidf.Need)
	f.In(Namespace, "aa")
	f.Time(&a.Timestamp)
}

func (u *ExternalUC) Fields(f *pidf.Fields) {
	pidf.Bounds(f, &u.From, &u.Until)
	f.Leaf("status", (*string)(&u.Status), pidf.Need|pidf.Default, statuses)
	f.Leaf("freeText", &u.FreeText, pidf.Need|pidf.Raw)
	f.Leaf("fwdDestination", &u.FwdDestination, pidf.Need|pidf.Trim)
	f.Leaf("telephoneEvent", &u.TelephoneEvent, pidf.Need|pidf.Trim)
	f.Time(&u.Timestamp)
}

func (a *Appointment) Fields(f *pidf.Fields) {
	f.AnyAttr()
	f.Leaf("id", &a.ID, pidf.Need|pidf.Trim)
	f.Leaf("state", (*string)(&a.State), pidf.Need|pidf.Default, calendarStates)
	f.Leaf("subject", &a.Subject, pidf.Need|pidf.Raw)
	f.Leaf("location", &a.Location, pidf.Need|pidf.Raw)
	f.Leaf("from", &a.From, pidf.Need)
	f.Leaf("end", &a.End, pidf.Need)
	f.Flag("allday", &a.AllDay)
	f.Flag("private", &a.Private)
	f.Leaf("reminder-offset", &a.ReminderOffset, 0)
	f.Time(&a.Timestamp)
}

func (l *Line) Fields(f *pidf.Fields) {
	f.Leaf("DN", &l.DN, pidf.Need|pidf.Trim)
	f.Leaf("state", (*string)(&l.State), pidf.Need|pidf.Default, lineStates)
	pidf.One(f, "forward", &l.Forward, 0)
}

func (w *Forward) Fields(f *pidf.Fields) {
	f.Attr("type", &w.Type, pidf.Need|pidf.Default, forwardTypes)
	f.Text(&w.Destination, 0)
}
