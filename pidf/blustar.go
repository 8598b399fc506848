package pidf

import "time"

// MaxNote is how long a note that a user publishes may be, in bytes of UTF-8,
// unless a server is configured otherwise. A longer one is answered 413.
const MaxNote = 1024

// BluStarPresence is aa:presence, the sources of a consolidated status (§1.3 and §3.2 of the interface description).
type BluStarPresence struct {
	BluStar    *BluStar
	A400       *A400
	ExternalUC *ExternalUC
	Calendar   []Appointment
	Extra
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
	Status      Status // an empty one is written as StatusUnknown: the element is mandatory
	Display     string // a text to show for the status; empty where absent
	Note        *Note  // nil where absent; &Note{Lang: "Eng"} is the empty note, which deletes (§4.3)
	Timestamp   time.Time
	From, Until time.Time
	Extra
}

// A400 is aa:A400, what an Aastra 400 communication server says.
type A400 struct {
	Activities  *Activities // mandatory in aa.xsd: nil is written as an empty element
	Timestamp   time.Time
	From, Until time.Time
	Extra
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
	Extra
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
	Extra
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
	Extra
}

// Forward is aa:forward, where calls to a line go.
type Forward struct {
	Type        string // "immediate", the only value of aa.xsd; an empty one is written as that
	Destination string
	Extra
}
