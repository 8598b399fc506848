package pidf

import (
	"cmp"
	"slices"
)

func (w *writer) document(p *Presence) {
	w.entity = p.Entity
	w.prolog(p.prolog)
	w.raw(`<presence xmlns="` + NSPIDF + `" xmlns:dm="` + NSDataModel + `" xmlns:rpid="` + NSRPID + `"`)
	if w.dialect == BluStarDialect || p.usesBluStar() {
		w.raw(` xmlns:aa="` + NSBluStar + `"`)
	}
	w.raw(` entity="`)
	w.cut(p.Entity)
	w.raw(`"`)
	w.attrs(p.Attrs, true)
	w.raw(`>`)

	first := len(p.Tuples) + len(p.Notes)
	e := extras{left: p.placed(NSPIDF, first, first+len(p.Devices)+len(p.Persons))}
	for i := range p.Tuples {
		w.next(&e)
		w.tuple(&p.Tuples[i])
	}
	w.notes(&e, "note", p.Notes)
	for i := range p.Devices {
		w.next(&e)
		w.device(&p.Devices[i])
	}
	for i := range p.Persons {
		w.next(&e)
		w.person(&p.Persons[i])
	}
	w.rest(&e)
	w.raw(`</presence>`)
	w.epilog(p.epilog)
}

// prolog writes the XML declaration and what stands before the root element.
func (w *writer) prolog(xs []Extension) {
	w.raw(xmlDeclaration)
	for _, x := range xs {
		w.raw(x.xml)
		w.raw("\n")
	}
}

// epilog writes what stands behind the root element.
func (w *writer) epilog(xs []Extension) {
	for _, x := range xs {
		w.raw("\n")
		w.raw(x.xml)
	}
}

// usesBluStar reports whether a typed element, or an attribute of the root, is in BluStar's namespace.
func (p *Presence) usesBluStar() bool {
	return slices.ContainsFunc(p.Devices, func(d Device) bool { return d.Line != nil }) ||
		slices.ContainsFunc(p.Persons, func(v Person) bool { return v.BluStar != nil }) ||
		slices.ContainsFunc(p.Attrs, func(a Attr) bool { return a.Name.Space == NSBluStar })
}

// cut writes the entity, or notes for a template that it goes here.
func (w *writer) cut(entity string) {
	if w.cutting {
		w.cuts = append(w.cuts, len(w.b))
		return
	}
	w.b = appendAttr(w.b, entity)
}

// identifier writes the id of a tuple, device or person.
func (w *writer) identifier(id, otherwise string) {
	if w.dialect == BluStarDialect {
		w.attr("id", id)
		return
	}
	w.raw(` id="`)
	w.uniqueID(id, otherwise)
	w.raw(`"`)
}

// rpidID writes the id of an RPID element, which is an xs:ID in both dialects.
func (w *writer) rpidID(id string) {
	if id != "" {
		w.raw(` id="`)
		w.uniqueID(id, "")
		w.raw(`"`)
	}
}

func (w *writer) tuple(t *Tuple) {
	w.raw(`<tuple`)
	w.identifier(t.ID, "tuple")
	w.attrs(t.Attrs, false)
	w.raw(`>`)

	e := extras{left: t.placed(NSPIDF, 1, 1+t.extended())}
	w.next(&e)
	w.status(t)
	for i, id := range t.DeviceIDs {
		w.next(&e)
		w.leaf(&t.Extra, "dm:deviceID", "deviceID", i, id)
	}
	if t.Class != "" {
		w.next(&e)
		w.leaf(&t.Extra, "rpid:class", "class", 0, t.Class)
	}
	w.choices(&e, privacyTag, (*Activities)(t.Privacy), "")
	w.choices(&e, "rpid:relationship", (*Activities)(t.Relationship), "")
	w.choices(&e, "rpid:service-class", (*Activities)(t.ServiceClass), `<rpid:unknown/>`)
	w.statusIcon(&e, t.StatusIcon)
	w.userInput(&e, t.UserInput)
	if t.Contact != nil {
		w.next(&e)
		w.contact(t.Contact)
	}
	w.notes(&e, "note", t.Notes)
	w.timestamp(&e, &t.Extra, "timestamp", "timestamp", t.Timestamp)
	w.rest(&e)
	w.raw(`</tuple>`)
}

// extended returns how many typed children a tuple has from other namespances, which come right behind its status.
func (t *Tuple) extended() int {
	return len(t.DeviceIDs) + count(t.Class != "", t.Privacy != nil, t.Relationship != nil, t.ServiceClass != nil,
		t.StatusIcon != nil, t.UserInput != nil)
}

// count returns how many of the conditions hold.
func count(conditions ...bool) int {
	n := 0
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

func (w *writer) status(t *Tuple) {
	w.raw(`<status`)
	w.attrs(t.Status.Attrs, false)
	if t.Basic == "" && len(t.Status.Extensions) == 0 {
		w.raw(`/>`)
		return
	}
	w.raw(`>`)
	n := count(t.Basic != "")
	e := extras{left: t.Status.placed(NSPIDF, n, n)}
	if t.Basic != "" {
		w.next(&e)
		w.leaf(&t.Status, "basic", "basic", 0, string(t.Basic))
	}
	w.rest(&e)
	w.raw(`</status>`)
}

func (w *writer) contact(c *Contact) {
	w.raw(`<contact`)
	w.optional("priority", c.Priority)
	w.attrs(c.Attrs, false)
	w.close("contact", c.URI)
}

func (w *writer) device(d *Device) {
	w.raw(`<dm:device`)
	w.identifier(d.ID, "device")
	w.attrs(d.Attrs, false)
	w.raw(`>`)
	e := extras{left: d.placed(NSDataModel, 0, count(d.Line != nil, d.Class != "", d.UserInput != nil))}
	if d.Line != nil {
		w.next(&e)
		w.line(d.Line)
	}
	if d.Class != "" {
		w.next(&e)
		w.leaf(&d.Extra, "rpid:class", "class", 0, d.Class)
	}
	w.userInput(&e, d.UserInput)
	id := d.DeviceID
	if w.dialect == StandardDialect {
		id = cmp.Or(id, d.ID, "urn:device:unknown")
	}
	if id != "" {
		w.next(&e)
		w.leaf(&d.Extra, "dm:deviceID", "deviceID", 0, id)
	}
	w.notes(&e, "dm:note", d.Notes)
	w.timestamp(&e, &d.Extra, "dm:timestamp", "timestamp", d.Timestamp)
	w.rest(&e)
	w.raw(`</dm:device>`)
}

func (w *writer) person(p *Person) {
	w.raw(`<dm:person`)
	switch {
	case p.ID != w.entity || p.ID == "":
		w.identifier(p.ID, "person")
	case w.dialect == StandardDialect:
		w.identifier("", "person")
	default:
		w.raw(` id="`)
		w.cut(p.ID)
		w.raw(`"`)
	}
	w.attrs(p.Attrs, false)
	w.raw(`>`)
	e := extras{left: p.placed(NSDataModel, 0, count(p.Activities != nil, p.BluStar != nil, p.Class != "", p.Mood != nil, p.PlaceIs != nil,
		p.PlaceType != nil, p.Privacy != nil, p.Sphere != nil, p.StatusIcon != nil, p.TimeOffset != nil, p.UserInput != nil))}
	w.choices(&e, "rpid:activities", p.Activities, "")
	if p.BluStar != nil {
		w.next(&e)
		w.bluStarPresence(p.BluStar)
	}
	if p.Class != "" {
		w.next(&e)
		w.leaf(&p.Extra, "rpid:class", "class", 0, p.Class)
	}
	w.choices(&e, "rpid:mood", (*Activities)(p.Mood), `<rpid:unknown/>`)
	w.placeIs(&e, p.PlaceIs)
	w.choices(&e, "rpid:place-type", (*Activities)(p.PlaceType), `<rpid:other/>`)
	w.choices(&e, privacyTag, (*Activities)(p.Privacy), "")
	w.choices(&e, "rpid:sphere", (*Activities)(p.Sphere), "")
	w.statusIcon(&e, p.StatusIcon)
	w.timeOffset(&e, p.TimeOffset)
	w.userInput(&e, p.UserInput)
	w.notes(&e, "dm:note", p.Notes)
	w.timestamp(&e, &p.Extra, "dm:timestamp", "timestamp", p.Timestamp)
	w.rest(&e)
	w.raw(`</dm:person>`)
}
