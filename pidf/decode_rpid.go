package pidf

import (
	"slices"
	"strconv"
	"strings"
)

// choices reads an element of the shape of activities.
func (d *decoder) choices() *Activities {
	a := new(Activities)
	a.From, a.Until, a.ID = d.takeTime("from"), d.takeTime("until"), trim(d.takeString("id"))
	a.Attrs = d.takeRest()
	n := 0
	for d.child(&a.Extra, n) {
		if d.choice(a) {
			n++
		} else if d.err == nil {
			d.keep(&a.Extra, n)
		}
	}
	return a
}

func (d *decoder) choice(a *Activities) bool {
	if d.name.id != idRPID && !isChoice(d.name.local) || !d.is(idRPID) {
		return false // one of another namespace, such as a place type of RFC 4589
	}
	if d.name.local == "note" {
		return d.notes(&a.Notes)
	}
	m := d.mark()
	c := Choice{Name: d.name.local, Lang: d.takeLang()}
	attrs := d.takeRest()
	var ok bool
	if c.Text, ok = d.text(); !ok {
		return d.back(m, "an element inside a text")
	}
	if c.Name != "other" && trim(c.Text) == "" {
		c.Text = ""
	}
	if attrs != nil {
		a.setLeaf("", len(a.Values), attrs)
	}
	a.Values = append(a.Values, c)
	return true
}

// isChoice reports whether an element of that name may stand in an element of the shape of activities. Only such
// names are taken for RPID's without its namespace.
func isChoice(local string) bool {
	const all = " note audio text video home work " + activities + " " + moods + " " + relationships + " " + serviceClasses + " "
	return strings.Contains(all, " "+local+" ")
}

func (d *decoder) class(x *Extra, dst *string) bool {
	if !d.filled(x, "class", dst) {
		return false
	}
	*dst = collapse(*dst)
	return true
}

func (d *decoder) placeIs() *PlaceIs {
	p := new(PlaceIs)
	p.From, p.Until, p.ID = d.takeTime("from"), d.takeTime("until"), trim(d.takeString("id"))
	p.Attrs = d.takeRest()
	n := 0
	for d.child(&p.Extra, n) {
		if d.placeIsChild(p) {
			n++
		} else if d.err == nil {
			d.keep(&p.Extra, n)
		}
	}
	return p
}

func (d *decoder) placeIsChild(p *PlaceIs) bool {
	switch d.name.local {
	case "note":
		return d.is(idRPID) && d.notes(&p.Notes)
	case "audio":
		return d.is(idRPID) && d.medium(&p.Audio)
	case "video":
		return d.is(idRPID) && d.medium(&p.Video)
	case "text":
		return d.is(idRPID) && d.medium(&p.Text)
	}
	return false
}

// medium reads an element whose only content is one empty element, and gives up at anything else.
func (d *decoder) medium(dst *string) bool {
	if !d.first(*dst == "") {
		return false
	}
	m := d.mark()
	const why = "more than one empty element"
	var x Extra
	if len(d.attrs) > 0 || !d.child(&x, 0) || !d.is(idRPID) || len(d.attrs) > 0 {
		return d.back(m, why)
	}
	name := d.name.local
	if s, ok := d.text(); !ok || trim(s) != "" || d.child(&x, 0) || slices.ContainsFunc(x.Extensions, isStrayText) {
		return d.back(m, why)
	}
	d.inside = append(d.inside, x.Extensions...)
	*dst = name
	return true
}

func (d *decoder) statusIcon(dst **StatusIcon) bool {
	if !d.first(*dst == nil) {
		return false
	}
	m := d.mark()
	i := StatusIcon{From: d.takeTime("from"), Until: d.takeTime("until"), ID: trim(d.takeString("id"))}
	i.Attrs = d.takeRest()
	s, ok := d.text()
	if !ok {
		return d.back(m, "an element inside a text")
	}
	i.URI = trim(s)
	*dst = &i
	return true
}

func (d *decoder) timeOffset(dst **TimeOffset) bool {
	if !d.first(*dst == nil) {
		return false
	}
	m := d.mark()
	o := TimeOffset{From: d.takeTime("from"), Until: d.takeTime("until"), ID: trim(d.takeString("id")), Description: d.takeString("description")}
	o.Attrs = d.takeRest()
	s, ok := d.text()
	if ok {
		o.Minutes, ok = parseInt(s)
	}
	if !ok {
		return d.back(m, "no number")
	}
	*dst = &o
	return true
}

func (d *decoder) userInput(dst **UserInput) bool {
	if !d.first(*dst == nil) {
		return false
	}
	m := d.mark()
	u := UserInput{LastInput: d.takeTime("last-input"), ID: trim(d.takeString("id"))}
	for i := range d.attrs {
		if a := &d.attrs[i]; a.prefix == "" && a.local == "idle-threshold" {
			u.IdleThreshold, a.taken = parseInt(value(a))
		}
	}
	u.Attrs = d.takeRest()
	s, ok := d.text()
	if !ok {
		return d.back(m, "an element inside a text")
	}
	u.State = d.token(m.from, "user-input", s, userInputs)
	*dst = &u
	return true
}

// parseInt reads an xs:integer that an int can hold and that writes back as the same number.
func parseInt(s string) (int, bool) {
	n, err := strconv.Atoi(trim(s))
	return n, err == nil
}
