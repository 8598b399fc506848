package pidf

import "time"

// Presence is a presence document (RFC 3863 §4.1.1): what is known about the presentity Entity.
//
// The zero value is an empty document. A Presence is a plain value: copying it copies the slices' headers, and it
// may be read by several goroutines as long as none writes.
type Presence struct {
	Entity  string // URI of the presentity, such as "sip:tom@example.com"; empty where the document had none
	Tuples  []Tuple
	Notes   []Note // about the presentity as a whole
	Devices []Device
	Persons []Person
	Extra

	// Warnings says what Decode tolerated, in document order, at most 100 of them. Encoding and comparing ignore it.
	Warnings []Warning

	prolog, epilog []Extension // comments and processing instructions around the root element
}

// Basic is the basic status of a tuple (RFC 3863 §4.1.4): Open, Closed, or empty where the tuple does not say.
type Basic string

// The values that RFC 3863 defines. Decode keeps any other value as it is; Validate reports it.
const (
	Open   Basic = "open"
	Closed Basic = "closed"
)

// Tuple is one service of the presentity (RFC 3863 §4.1.2, RFC 4479 §3.3), with the elements that RFC 4480 adds to it.
type Tuple struct {
	ID        string // unique in the document; a document of the Standard dialect gets it as an NCName
	Basic     Basic
	Contact   *Contact
	Notes     []Note
	Timestamp time.Time // of the last change; zero where absent
	DeviceIDs []string  // the devices that offer this service, by their deviceID (RFC 4479 §3.3)

	Class        string // RFC 4480 §3.3
	Privacy      *Privacy
	Relationship *Relationship
	ServiceClass *ServiceClass
	StatusIcon   *StatusIcon
	UserInput    *UserInput

	Status Extra // what <status> holds besides <basic>, such as the im:im of RFC 3863 §4.2.1
	Extra
}

// Contact is where a service can be reached (RFC 3863 §4.1.5).
type Contact struct {
	URI      string
	Priority string // 0 to 1 with at most three decimals, such as "0.8"; empty where absent
	Extra
}

// Note is a text for humans (RFC 3863 §4.1.6). Space in Text is significant.
type Note struct {
	Lang, Text string // Lang is the value of xml:lang, empty where absent

	Extra *Extra // unknown attributes; nil for none
}

// Device is one device of the presentity (RFC 4479 §3.5).
type Device struct {
	ID        string // unique in the document; BluStar writes "tel:" and the directory number
	DeviceID  string // a URI that names the device across documents; BluStar leaves it out, the Standard dialect then writes ID
	Line      *Line  // line state, BluStar's extension
	Notes     []Note
	Timestamp time.Time

	Class     string
	UserInput *UserInput
	Extra
}

// Person is the human behind the presentity (RFC 4479 §3.4), with all of RPID (RFC 4480) and BluStar's sources.
type Person struct {
	ID         string // unique in the document; BluStar writes the entity
	Activities *Activities
	BluStar    *BluStarPresence
	Notes      []Note
	Timestamp  time.Time

	Class      string
	Mood       *Mood
	PlaceIs    *PlaceIs
	PlaceType  *PlaceType
	Privacy    *Privacy
	Sphere     *Sphere
	StatusIcon *StatusIcon
	TimeOffset *TimeOffset
	UserInput  *UserInput
	Extra
}
