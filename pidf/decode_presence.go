package pidf

import (
	"math"
	"strconv"
	"strings"
)

// presence reads a whole document.
func (d *decoder) presence(p *Presence, data []byte) {
	if !d.load(data) {
		return
	}
	d.allowDrafts = true
	p.prolog = d.skipMisc()
	switch {
	case d.err != nil:
		return
	case d.kind != tokStart:
		d.fail(d.from, ErrSyntax, "no root element")
		return
	case d.name.id == idPartial:
		d.fail(d.from, ErrRoot, d.name.local+" is partial presence (RFC 5262), of which only whole documents are read")
		return
	case d.name.local != "presence" || d.name.id != idPIDF && d.name.id != idNone:
		d.wrongRoot("presence", NSPIDF)
		return
	}
	if d.doctype != "" {
		d.warn("document type declaration of " + d.doctype + " ignored")
	}
	if d.name.id == idNone {
		d.unqualified = true
		if d.isXPIDF() {
			d.warn("xpidf read as PIDF")
			d.xpidf(p)
			p.epilog = d.finish()
			return
		}
		d.warn("presence without a namespace read as PIDF")
	}
	d.warnMisspelt()
	d.presenceChildren(p)
	p.epilog = d.finish()
}

func (d *decoder) presenceChildren(p *Presence) {
	entity, ok := d.take("entity")
	if !ok {
		d.warn("entity missing")
	}
	p.Entity = trim(entity)
	p.Attrs = d.takeRest()
	n := 0
	for d.child(&p.Extra, n) {
		if d.presenceChild(p) {
			n++
		} else if d.err == nil {
			d.keep(&p.Extra, n)
		}
	}
}

func (d *decoder) presenceChild(p *Presence) bool {
	switch d.name.local {
	case "tuple":
		if d.is(idPIDF) {
			if p.Tuples == nil {
				p.Tuples = make([]Tuple, 0, 4) // what BluStar documents have
			}
			p.Tuples = append(p.Tuples, Tuple{})
			d.tuple(&p.Tuples[len(p.Tuples)-1])
			return true
		}
	case "note":
		return d.is(idPIDF) && d.notes(&p.Notes)
	case "device":
		if d.is(idDataModel) {
			p.Devices = append(p.Devices, Device{})
			d.device(&p.Devices[len(p.Devices)-1])
			return true
		}
	case "person":
		if d.is(idDataModel) {
			p.Persons = append(p.Persons, Person{})
			d.person(&p.Persons[len(p.Persons)-1])
			return true
		}
	}
	return false
}

// id returns the identifier of the current element.
func (d *decoder) id() string {
	id, ok := d.take("id")
	if !ok {
		d.warn("id missing")
	}
	return trim(id)
}

func (d *decoder) tuple(t *Tuple) {
	t.ID = d.id()
	t.Attrs = d.takeRest()
	n, status := 0, false
	for d.child(&t.Extra, n) {
		if d.tupleChild(t, &status) {
			n++
		} else if d.err == nil {
			d.keep(&t.Extra, n)
		}
	}
}

func (d *decoder) tupleChild(t *Tuple, status *bool) bool {
	switch d.name.local {
	case "status":
		if d.is(idPIDF) && d.first(!*status) {
			*status = true
			d.status(t)
			return true
		}
	case "contact":
		return d.is(idPIDF) && d.first(t.Contact == nil) && d.contact(t)
	case "note":
		return d.is(idPIDF) && d.notes(&t.Notes)
	case "timestamp":
		return d.is(idPIDF) && d.timestamp(&t.Extra, "timestamp", &t.Timestamp)
	case "deviceID":
		if !d.is(idDataModel) {
			return false
		}
		s, ok := d.leaf(&t.Extra, "deviceID", len(t.DeviceIDs))
		if ok {
			t.DeviceIDs = append(t.DeviceIDs, trim(s))
		}
		return ok
	case "class":
		return d.is(idRPID) && d.class(&t.Extra, &t.Class)
	case "privacy":
		if d.is(idRPID) && d.first(t.Privacy == nil) {
			t.Privacy = (*Privacy)(d.choices())
			return true
		}
	case "relationship":
		if d.is(idRPID) && d.first(t.Relationship == nil) {
			t.Relationship = (*Relationship)(d.choices())
			return true
		}
	case "service-class":
		if d.is(idRPID) && d.first(t.ServiceClass == nil) {
			t.ServiceClass = (*ServiceClass)(d.choices())
			return true
		}
	case "status-icon":
		return d.is(idRPID) && d.statusIcon(&t.StatusIcon)
	case "user-input":
		return d.is(idRPID) && d.userInput(&t.UserInput)
	}
	return false
}

func (d *decoder) status(t *Tuple) {
	t.Status.Attrs = d.takeRest()
	n := 0
	for d.child(&t.Status, n) {
		switch {
		case d.name.local == "basic" && d.is(idPIDF) && d.basic(t):
			n++
		case d.err == nil && !d.misplaced(t):
			d.keep(&t.Status, n)
		}
	}
}

func (d *decoder) basic(t *Tuple) bool {
	from := d.from
	if !d.filled(&t.Status, "basic", (*string)(&t.Basic)) {
		return false
	}
	t.Basic = Basic(d.token(from, "basic", string(t.Basic), basics))
	return true
}

// misplaced reads a contact, note or time inside status, where drafts of RFC 3863 had them, as the tuple's.
func (d *decoder) misplaced(t *Tuple) bool {
	if d.name.id != idPIDF && !(d.name.id == idNone && d.unqualified) {
		return false
	}
	from := d.from
	var ok bool
	switch d.name.local {
	case "contact":
		ok = d.first(t.Contact == nil) && d.contact(t)
	case "note":
		ok = d.notes(&t.Notes)
	case "timestamp":
		ok = d.timestamp(&t.Extra, "timestamp", &t.Timestamp)
	default:
		return false
	}
	if !ok && d.err == nil {
		d.keep(&t.Extra, 0)
	}
	d.from = from
	d.warn("taken out of status, for the tuple's")
	return true
}

func (d *decoder) contact(t *Tuple) bool {
	m := d.mark()
	var c Contact
	if q, ok := d.take("priority"); ok {
		c.Priority = d.priority(q)
	}
	c.Attrs = d.takeRest()
	uri, ok := d.text()
	if !ok {
		return d.back(m, "an element inside a text")
	}
	c.URI = trim(uri)
	t.Contact = &c
	return true
}

func (d *decoder) device(v *Device) {
	v.ID = d.id()
	v.Attrs = d.takeRest()
	n := 0
	for d.child(&v.Extra, n) {
		if d.deviceChild(v) {
			n++
		} else if d.err == nil {
			d.keep(&v.Extra, n)
		}
	}
	v.DeviceID = trim(v.DeviceID)
}

func (d *decoder) deviceChild(v *Device) bool {
	switch d.name.local {
	case "line":
		if d.is(idBluStar) && d.first(v.Line == nil) {
			v.Line = d.line()
			return true
		}
	case "deviceID":
		return d.is(idDataModel) && d.once(&v.Extra, "deviceID", &v.DeviceID)
	case "note":
		return d.is(idDataModel) && d.notes(&v.Notes)
	case "timestamp":
		return d.is(idDataModel) && d.timestamp(&v.Extra, "timestamp", &v.Timestamp)
	case "class":
		return d.is(idRPID) && d.class(&v.Extra, &v.Class)
	case "user-input":
		return d.is(idRPID) && d.userInput(&v.UserInput)
	}
	return false
}

func (d *decoder) person(v *Person) {
	v.ID = d.id()
	v.Attrs = d.takeRest()
	n := 0
	for d.child(&v.Extra, n) {
		if d.personChild(v) {
			n++
		} else if d.err == nil {
			d.keep(&v.Extra, n)
		}
	}
}

func (d *decoder) personChild(v *Person) bool {
	switch d.name.local {
	case "activities":
		if d.is(idRPID) && d.first(v.Activities == nil) {
			v.Activities = d.choices()
			return true
		}
	case "presence":
		if d.is(idBluStar) && d.first(v.BluStar == nil) {
			v.BluStar = d.bluStarPresence()
			return true
		}
	case "note":
		return d.is(idDataModel) && d.notes(&v.Notes)
	case "timestamp":
		return d.is(idDataModel) && d.timestamp(&v.Extra, "timestamp", &v.Timestamp)
	case "class":
		return d.is(idRPID) && d.class(&v.Extra, &v.Class)
	case "mood":
		if d.is(idRPID) && d.first(v.Mood == nil) {
			v.Mood = (*Mood)(d.choices())
			return true
		}
	case "place-is":
		if d.is(idRPID) && d.first(v.PlaceIs == nil) {
			v.PlaceIs = d.placeIs()
			return true
		}
	case "place-type":
		if d.is(idRPID) && d.first(v.PlaceType == nil) {
			v.PlaceType = (*PlaceType)(d.choices())
			return true
		}
	case "privacy":
		if d.is(idRPID) && d.first(v.Privacy == nil) {
			v.Privacy = (*Privacy)(d.choices())
			return true
		}
	case "sphere":
		if d.is(idRPID) && d.first(v.Sphere == nil) {
			v.Sphere = (*Sphere)(d.choices())
			return true
		}
	case "status-icon":
		return d.is(idRPID) && d.statusIcon(&v.StatusIcon)
	case "time-offset":
		return d.is(idRPID) && d.timeOffset(&v.TimeOffset)
	case "user-input":
		return d.is(idRPID) && d.userInput(&v.UserInput)
	}
	return false
}

// priority normalizes a value of contact/priority, which is from 0 to 1 and has at most three decimals (RFC 3863
// §4.1.5). Asterisk writes 0.800000, and with some locales 0,800000.
func (d *decoder) priority(s string) string {
	q := trim(s)
	if isPriority(q) {
		return q
	}
	v, err := strconv.ParseFloat(strings.Replace(q, ",", ".", 1), 64)
	if err != nil || !(v >= 0 && v <= 1e6) {
		return q
	}
	t := strconv.FormatFloat(math.Round(min(v, 1)*1000)/1000, 'f', -1, 64)
	d.warn("priority " + s + " read as " + t)
	return t
}

// isPriority reports whether s is a qvalue of RFC 3863.
func isPriority(s string) bool {
	if s == "" || len(s) > 5 || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return false
	}
	return len(s) <= 2 || strings.Trim(s[2:], "0") == "" || s[0] == '0' && strings.Trim(s[2:], "0123456789") == ""
}
