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
	Root
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
	Timestamp time.Time  // of the last change; zero where absent
	DeviceIDs []DeviceID // the devices that offer this service (RFC 4479 §3.3)

	Class        string // RFC 4480 §3.3
	Privacy      *Privacy
	Relationship *Relationship
	ServiceClass *ServiceClass
	StatusIcon   *StatusIcon
	UserInput    *UserInput

	Status Extra // what <status> holds besides <basic>, such as the im:im of RFC 3863 §4.2.1
	Extra
}

// DeviceID names a device by its deviceID.
type DeviceID struct {
	URI string
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
	Notes     []Note
	Timestamp time.Time

	Class     string
	UserInput *UserInput
	Extra
}

// Person is the human behind the presentity (RFC 4479 §3.4), with all of RPID (RFC 4480).
type Person struct {
	ID         string // unique in the document; BluStar writes the entity
	Activities *Activities
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

// presence writes a document, and once more where extensions turned out to have identifiers of their own.
func (w *writer) presence(p *Presence) {
	w.entity = p.Entity
	w.document(&presenceType, p)
	if w.ids.Reserved() {
		w.b = w.b[:w.start]
		w.prefixes.Clear()
		w.ids.Restart()
		w.document(&presenceType, p)
	}
}

func (p *Presence) Fields(f *Fields) {
	f.Attr("entity", &p.Entity, Need)
	Many(f, "tuple", &p.Tuples)
	f.Notes("note", &p.Notes)
	f.Any()
	f.in(idDataModel)
	Many(f, "device", &p.Devices)
	Many(f, "person", &p.Persons)
	f.AnyEnd()
}

func (t *Tuple) Fields(f *Fields) {
	f.id(&t.ID, "tuple")
	f.inline("status", &t.Status, Need, t.status)
	f.Any()
	f.in(idDataModel)
	Many(f, "deviceID", &t.DeviceIDs)
	f.in(idRPID)
	f.class(&t.Class)
	One(f, "privacy", &t.Privacy, 0)
	One(f, "relationship", &t.Relationship, 0)
	One(f, "service-class", &t.ServiceClass, 0)
	One(f, "status-icon", &t.StatusIcon, 0)
	One(f, "user-input", &t.UserInput, 0)
	f.AnyEnd()
	f.in(idPIDF)
	One(f, "contact", &t.Contact, 0)
	f.Notes("note", &t.Notes)
	f.Time(&t.Timestamp)
}

func (t *Tuple) status(f *Fields) {
	f.Leaf("basic", (*string)(&t.Basic), 0, basics)
	if f.mode == readChild && f.name != "" {
		f.misplaced(t)
	}
}

// misplaced reads a contact, note or time inside status, where drafts of RFC 3863 had them, as the tuple's.
func (f *Fields) misplaced(t *Tuple) {
	d := f.d
	if ok, otherwise := f.belongs(); !ok || otherwise {
		return
	}
	from, inner, around, occupied := d.From, f.frame, f.reading, false
	f.x, f.loose, f.single = &t.Extra, nil, true
	switch f.name {
	case "contact":
		occupied = t.Contact != nil
	case "timestamp":
		occupied = !t.Timestamp.IsZero()
	case "note":
	default:
		f.frame, f.reading = inner, around
		return
	}
	f.seen, f.i = 0, 0
	if occupied {
		f.seen = ^uint64(0)
	}
	One(f, "contact", &t.Contact, 0)
	f.Notes("note", &t.Notes)
	f.Time(&t.Timestamp)
	if f.done != taken && d.Err == nil {
		d.keep(&t.Extra, 0)
	}
	f.frame, f.reading = inner, around
	f.name, f.done = "", moved
	d.From = from
	d.warn("taken out of status, for the tuple's")
	f.advance()
}

func (d *DeviceID) Fields(f *Fields) { f.Text(&d.URI, 0) }

func (c *Contact) Fields(f *Fields) {
	f.Attr("priority", &c.Priority, qvalue)
	f.Text(&c.URI, 0)
}

func (d *Device) Fields(f *Fields) {
	f.id(&d.ID, "device")
	f.Any()
	f.in(idRPID)
	f.class(&d.Class)
	One(f, "user-input", &d.UserInput, 0)
	f.AnyEnd()
	f.in(idDataModel)
	f.deviceID(&d.DeviceID, d.ID)
	f.Notes("note", &d.Notes)
	f.Time(&d.Timestamp)
}

func (p *Person) Fields(f *Fields) {
	f.id(&p.ID, "person")
	f.Any()
	f.in(idRPID)
	One(f, "activities", &p.Activities, 0)
	f.class(&p.Class)
	One(f, "mood", &p.Mood, 0)
	One(f, "place-is", &p.PlaceIs, 0)
	One(f, "place-type", &p.PlaceType, 0)
	One(f, "privacy", &p.Privacy, 0)
	One(f, "sphere", &p.Sphere, 0)
	One(f, "status-icon", &p.StatusIcon, 0)
	One(f, "time-offset", &p.TimeOffset, 0)
	One(f, "user-input", &p.UserInput, 0)
	f.AnyEnd()
	f.in(idDataModel)
	f.Notes("note", &p.Notes)
	f.Time(&p.Timestamp)
}
