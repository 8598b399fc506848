package pidf

import (
	"strconv"
	"strings"
	"time"
)

// Violation is one rule that a document breaks.
type Violation struct {
	Path string // of the offender, such as "presence/tuple[audio]/status/basic"
	Rule string // what is wrong with it
}

// String returns path and rule.
func (v Violation) String() string { return v.Path + ": " + v.Rule }

// Violations are all that Validate found, in the order of the document. It is the type of its error.
type Violations []Violation

// Error lists the first few violations.
func (vs Violations) Error() string {
	const most = 5
	var b strings.Builder
	b.WriteString("pidf: invalid document: ")
	for i, v := range vs {
		if i == most {
			b.WriteString("; and " + strconv.Itoa(len(vs)-most) + " more")
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(v.String())
	}
	return b.String()
}

// Validate checks the rules of the schemas that an implementation depends on: values of enumerations, mandatory
// attributes and elements, values that their type could not hold, and for the Standard dialect identifiers and
// the place of extensions. It looks at the document as it is; encoding repairs some of what it finds. The error is
// nil or of type [Violations].
func (p *Presence) Validate(d Dialect) error {
	v := validator{dialect: d, path: make([]byte, 0, 64)}
	v.presence(p)
	if len(v.found) == 0 {
		return nil
	}
	return v.found
}

type validator struct {
	dialect Dialect
	path    []byte
	ids     map[string]struct{}
	found   Violations
}

// in runs check with a step added to the path.
func (v *validator) in(step, id string, check func()) {
	n := len(v.path)
	if n > 0 {
		v.path = append(v.path, '/')
	}
	v.path = append(v.path, step...)
	if id != "" {
		v.path = append(v.path, '[')
		v.path = append(v.path, id...)
		v.path = append(v.path, ']')
	}
	check()
	v.path = v.path[:n]
}

func (v *validator) report(step, rule string) {
	v.in(step, "", func() { v.found = append(v.found, Violation{string(v.path), rule}) })
}

// oneOf checks a value of a list.
func (v *validator) oneOf(step, value, list string) {
	switch {
	case isOneOf(value, list):
	case value == "":
		v.report(step, "missing")
	default:
		v.report(step, strconv.Quote(value)+" is not one of "+strings.ReplaceAll(list, "|", ", "))
	}
}

func (v *validator) present(step string, ok bool) {
	if !ok {
		v.report(step, "missing")
	}
}

// id checks the identifier of a tuple, device or person.
func (v *validator) id(id string) {
	switch {
	case id == "":
		v.report("@id", "missing")
	case v.dialect == StandardDialect:
		v.xmlID(id)
	}
}

// xmlID checks an xs:ID.
func (v *validator) xmlID(id string) {
	if id == "" {
		return
	}
	if !isNCName(id) {
		v.report("@id", strconv.Quote(id)+" is no NCName")
	}
	if _, twice := v.ids[id]; twice {
		v.report("@id", strconv.Quote(id)+" is not unique")
	}
	if v.ids == nil {
		v.ids = make(map[string]struct{})
	}
	v.ids[id] = struct{}{}
}

func (v *validator) notes(notes []Note) {
	for i := range notes {
		v.note(&notes[i])
	}
}

func (v *validator) note(n *Note) {
	if !isLanguage(n.Lang) {
		v.report("note/@xml:lang", strconv.Quote(n.Lang)+" is no language")
	}
}

// isLanguage reports whether s is an xs:language, or empty.
func isLanguage(s string) bool {
	for i, part := range strings.Split(s, "-") {
		if (part == "" && s != "") || len(part) > 8 {
			return false
		}
		for _, c := range []byte(part) {
			if !(c|0x20 >= 'a' && c|0x20 <= 'z') && !(i > 0 && c >= '0' && c <= '9') {
				return false
			}
		}
	}
	return true
}

// extra checks what the typed model could not hold. Own is the namespace of the element, in which extensions have
// no place: there they are values that could not be read, elements that came twice, or, for the Standard dialect to
// complain about, unknown.
func (v *validator) extra(x *Extra, own string) {
	for _, e := range x.Extensions {
		name := e.Name()
		switch {
		case name.Local == "":
			if v.dialect == StandardDialect && isStrayText(e) {
				v.report("text()", "text between elements")
			}
		case name.Space == own && isTyped(name.Local):
			v.report(name.Local, "unreadable value, or one too many")
		case v.dialect == StandardDialect && name.Space == own:
			v.report(name.Local, "unknown element")
		case v.dialect == StandardDialect && name.Space == "":
			v.report(name.Local, "element without a namespace")
		}
	}
}

// isTyped reports whether the typed model reads an element of that name somewhere.
func isTyped(local string) bool {
	switch local {
	case "status", "basic", "contact", "note", "timestamp", "deviceID", "line", "DN", "state", "forward", "blustar", "A400",
		"externalUC", "freeText", "fwdDestination", "telephoneEvent", "id", "subject", "location", "from", "end", "allday",
		"private", "reminder-offset", "presence":
		return true
	}
	return false
}

func (v *validator) presence(p *Presence) {
	v.in("presence", "", func() {
		v.present("@entity", p.Entity != "")
		for i := range p.Tuples {
			t := &p.Tuples[i]
			v.in("tuple", t.ID, func() { v.tuple(t) })
		}
		v.notes(p.Notes)
		for i := range p.Devices {
			d := &p.Devices[i]
			v.in("device", d.ID, func() { v.device(d) })
		}
		for i := range p.Persons {
			q := &p.Persons[i]
			v.in("person", q.ID, func() { v.person(q) })
		}
		v.extra(&p.Extra, NSPIDF)
	})
}

func (v *validator) tuple(t *Tuple) {
	v.id(t.ID)
	if t.Basic != "" {
		v.oneOf("status/basic", string(t.Basic), basics)
	}
	v.in("status", "", func() { v.extra(&t.Status, NSPIDF) })
	v.privacy(t.Privacy)
	v.choices("relationship", (*Activities)(t.Relationship), relationships)
	v.choices("service-class", (*Activities)(t.ServiceClass), serviceClasses)
	v.statusIcon(t.StatusIcon)
	v.userInput(t.UserInput)
	if t.Contact != nil && t.Contact.Priority != "" && !isPriority(t.Contact.Priority) {
		v.report("contact/@priority", strconv.Quote(t.Contact.Priority)+" is not from 0 to 1 with at most three decimals")
	}
	v.notes(t.Notes)
	v.extra(&t.Extra, NSPIDF)
}

func (v *validator) device(d *Device) {
	v.id(d.ID)
	if d.Line != nil {
		v.in("line", "", func() { v.line(d.Line) })
	}
	v.userInput(d.UserInput)
	v.present("deviceID", d.DeviceID != "" || v.dialect == BluStarDialect)
	v.notes(d.Notes)
	v.extra(&d.Extra, NSDataModel)
}

func (v *validator) line(l *Line) {
	v.present("DN", l.DN != "")
	v.oneOf("state", string(l.State), lineStates)
	if l.Forward != nil {
		v.oneOf("forward/@type", l.Forward.Type, forwardTypes)
	}
	v.extra(&l.Extra, NSBluStar)
}

func (v *validator) person(p *Person) {
	v.id(p.ID)
	v.choices("activities", p.Activities, activities)
	if p.BluStar != nil {
		v.in("presence", "", func() { v.bluStarPresence(p.BluStar) })
	}
	v.choices("mood", (*Activities)(p.Mood), moods)
	if q := p.PlaceIs; q != nil {
		v.in("place-is", "", func() { v.placeIs(q) })
	}
	v.choices("place-type", (*Activities)(p.PlaceType), "other")
	v.privacy(p.Privacy)
	v.choices("sphere", (*Activities)(p.Sphere), "home work unknown")
	v.statusIcon(p.StatusIcon)
	if p.TimeOffset != nil {
		v.in("time-offset", "", func() { v.xmlID(p.TimeOffset.ID) })
	}
	v.userInput(p.UserInput)
	v.notes(p.Notes)
	v.extra(&p.Extra, NSDataModel)
}

func (v *validator) bluStarPresence(p *BluStarPresence) {
	if b := p.BluStar; b != nil {
		v.in("blustar", "", func() {
			v.oneOf("status", string(b.Status), bluStarStatuses)
			if b.Note != nil {
				v.note(b.Note)
			}
			v.extra(&b.Extra, NSBluStar)
		})
	}
	if a := p.A400; a != nil {
		v.in("A400", "", func() {
			v.present("activities", a.Activities != nil)
			v.choices("activities", a.Activities, activities)
			v.extra(&a.Extra, NSBluStar)
		})
	}
	if u := p.ExternalUC; u != nil {
		v.in("externalUC", "", func() {
			v.oneOf("status", string(u.Status), statuses)
			v.extra(&u.Extra, NSBluStar)
		})
	}
	for i := range p.Calendar {
		a := &p.Calendar[i]
		v.in("calendar", a.ID, func() { v.appointment(a) })
	}
	v.extra(&p.Extra, NSBluStar)
}

func (v *validator) appointment(a *Appointment) {
	v.oneOf("state", string(a.State), calendarStates)
	moment := func(step string, t time.Time) { v.present(step, !t.IsZero()) }
	moment("from", a.From)
	moment("end", a.End)
	v.extra(&a.Extra, NSBluStar)
}
