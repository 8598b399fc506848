package pidf

import (
	"slices"
	"strings"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// read reads the element whose start tag was just read: its attributes, and then its text or its children. It reports
// false where it gave up, and has then moved back to the start tag.
//
// A document in the order of the schema is read while the fields are listed once: each field takes the children that
// come next. What none took is offered to all of them again, from the first.
func (f *Fields) read(x *Extra, fields func(*Fields)) bool {
	d, m, own := f.d, f.d.mark(), f.ns
	// What is of this element alone. The rest of frame and reading is set before it is used.
	x0, own0, exact, i, n, seen, need, fresh, loose := f.x, f.own, f.exact, f.i, f.n, f.seen, f.need, f.fresh, f.loose
	f.x, f.own, f.i, f.n, f.seen, f.need, f.bad = x, own, 0, 0, 0, 0, ""
	if loose != nil {
		f.loose = nil
	}
	f.mode, f.name, f.spare = readAttrs, "", false
	fields(f)
	if f.mode == readAttrs {
		f.begin()
	}
	for f.name != "" {
		f.fresh, f.done, f.i, f.ns = true, unknown, 0, own
		if fields(f); f.fresh && f.name != "" {
			f.advance()
		}
	}
	if f.need&^f.seen != 0 && d.Err == nil {
		f.mode, f.i, f.ns, f.spare = readEnd, 0, own, false
		fields(f)
	}
	f.x, f.own, f.exact, f.i, f.n, f.seen, f.need, f.fresh, f.ns, f.mode, f.spare = x0, own0, exact, i, n, seen, need,
		fresh, own, readChild, false
	if f.loose != nil || loose != nil {
		f.loose = loose
	}
	if f.bad != "" {
		d.back(m, f.bad)
		f.bad = ""
		f.giveUp()
		return false
	}
	f.name, f.done = "", taken
	return true
}

// restAttrs keeps the attributes that no field took.
func (d *decoder) restAttrs(x *Extra) {
	if x.Attrs = d.takeRest(); x.Attrs != nil {
		if more := d.mentioned(x.Attrs); more != nil {
			x.hide().declare = more
		}
	}
}

// begin moves behind the start tag, to the first child.
func (f *Fields) begin() {
	f.d.restAttrs(f.x)
	f.mode, f.done = readChild, moved
	f.advance()
}

// advance keeps the current child, if no field took it, and moves to the next one. No core element has a field in a
// namespace without a number.
func (f *Fields) advance() {
	d := f.d
	for {
		switch {
		case f.done == taken:
			f.n++
		case f.done != moved && d.Err == nil:
			d.keep(f.x, f.n)
		}
		if f.fresh = false; !d.child(f.x, f.n) {
			f.name, f.spare = "", true
			return
		}
		if f.name, f.done = d.Name.Local, unknown; d.Name.ID != idOther && d.Name.ID < idCount || f.foreign {
			return
		}
	}
}

// again moves to the next child if a field has dealt with this one, and reports whether the next is for it, too.
func (f *Fields) again(name string) bool {
	if f.mode != readChild || f.done == unknown || f.single {
		return false
	}
	f.advance()
	return f.name == name
}

func (f *Fields) readText(v any, r Rule, values []string) {
	d, from := f.d, f.d.From
	f.d.restAttrs(f.x)
	f.mode = readText
	s, ok := d.text()
	if !ok {
		f.bad = "an element inside a text"
		return
	}
	end := d.From
	d.From = from
	if canonical, ok := d.parse(v, s, "", r, values); !ok {
		f.bad = whyNot(v, values)
	} else if !canonical {
		f.x.setLeaf(leaf{raw: s})
	}
	d.From = end
}

// typed reads an extension as a Go value.
func (f *Fields) typed(t *Type, e Element, looseName bool) bool {
	ns, exact, foreign := f.ns, f.exact, f.foreign
	f.ns, f.exact, f.foreign = f.spaceID(t.Name.Space), false, true
	if looseName {
		f.d.warn("taken for an element of the namespace that it belongs to")
	}
	ok := f.read(e.extra(), e.Fields)
	f.ns, f.exact, f.foreign = ns, exact, foreign
	return ok
}

// typeOf returns the type that extensions of a name are read as. Loose says that the name has not its namespace.
func (d *decoder) typeOf(name Name) (t *Type, loose bool) {
	for _, t := range d.types {
		switch {
		case t.Name.Local != name.Local:
		case t.Name.Space == name.Space, slices.Contains(t.Spellings, name.Space):
			return t, false
		case d.Name.ID == idPIDF, d.Name.ID == idNone:
			return t, !d.unqualified
		}
	}
	return nil, false
}

// belongs reports whether the current child is in the namespace of a field. PIDF's own, and none, pass for any:
// devices forget the prefixes of the data model and of RPID.
func (f *Fields) belongs() (ok, otherwise bool) {
	switch got := f.d.Name.ID; {
	case got == f.ns:
		return true, false
	case got == idOther:
		return f.ns >= idCount && f.d.Name.Space == f.space(f.ns), false
	case got == idNone && f.d.unqualified:
		return true, false
	case f.exact:
		return false, false
	case got == idPIDF && f.ns != idPIDF, got == idNone:
		return true, true
	}
	return false, false
}

// claim reports whether the current child, which has the name of a field, is for that field. Once says that the field
// has room for one; occupied, that it is set. A child in the right namespace takes the place of one that was taken in
// spite of its namespace: that becomes an extension.
func (f *Fields) claim(once, occupied bool) bool {
	ok, otherwise := f.belongs()
	if !ok || otherwise && !f.fresh { // all fields come first that it has the namespace of
		return false
	}
	f.name, f.once = "", once
	d, bit := f.d, f.bit()
	if once && (occupied || f.seen&bit != 0) {
		i := -1
		if !otherwise {
			i = slices.IndexFunc(f.loose, func(l loose) bool { return l.bit == bit && !(l.empty && d.saysNothing()) })
		}
		if i < 0 {
			d.warn("a second one kept as an extension")
			d.demoted = !otherwise
			f.done = refused
			return false
		}
		f.displace(i)
	}
	if otherwise {
		if once {
			f.loose = append(f.loose, loose{bit, d.mark(), f.n, false})
		}
		d.warn("taken for an element of the namespace that it belongs to")
	}
	f.seen |= bit
	return true
}

// saysNothing reports whether the current child is a text that is empty.
func (d *decoder) saysNothing() bool {
	m := d.mark()
	s, ok := d.text()
	d.warnings = d.warnings[:m.warnings]
	d.rewind(m)
	return ok && markup.Trim(s) == ""
}

// displace makes an extension of a child that was taken for a field, and returns to the current one.
func (f *Fields) displace(i int) {
	d, l, now := f.d, f.loose[i], f.d.mark()
	f.loose = slices.Delete(f.loose, i, i+1)
	d.rewind(l.mark)
	d.warn("kept as an extension after all: another one says more, or is in the right namespace")
	name := d.Name.Local
	d.demoted = d.Name.ID == f.ns
	types := d.types
	d.types = nil
	d.keep(f.x, l.n)
	d.types = types
	f.n--
	f.x.dropLeaf(name)
	d.rewind(now)
}

// giveUp says that the field did not take the current child after all.
func (f *Fields) giveUp() {
	f.seen &^= f.bit()
	f.name, f.done = "", refused
	f.d.demoted = f.d.Name.ID == f.ns || f.d.Name.ID == idOther
	f.d.unread = f.once && f.d.demoted
}

// attr does with an attribute what the mode says.
func (f *Fields) attr(name string, v any, r Rule, values []string) {
	switch f.mode {
	case readAttrs:
		if len(f.d.Attrs) > 0 || r&Need != 0 {
			f.readAttr(name, v, r, values)
		}
	case writing:
		f.writeAttr(name, v, r, values)
	case validating:
		f.v.attr(f, name, v, r, values)
	}
}

func (f *Fields) readAttr(name string, v any, r Rule, values []string) {
	d := f.d
	var a *markup.Attr
	local, isXML := strings.CutPrefix(name, "xml:")
	for i := range d.Attrs {
		if b := &d.Attrs[i]; b.Local == local && (!isXML && b.Prefix == "" || isXML && b.ID == idXML) {
			a = b
			break
		}
	}
	if a == nil {
		if r&Need != 0 {
			f.lack(name)
		}
		return
	}
	s := a.Value()
	if p, isString := v.(*string); isString && s != "" && len(values) == 0 && r&qvalue == 0 {
		a.Taken = true
		if *p = s; r&Raw == 0 {
			*p = markup.Collapse(s)
		}
		if *p != "" {
			return
		}
	}
	canonical, ok := d.parse(v, s, name, r, values)
	a.Taken = ok
	switch {
	case !ok:
		d.warn(name + ": " + whyNot(v, values) + ": kept as a text")
		f.x.hide().missing |= f.bit()
	case !canonical, s == "": // there, and empty
		f.x.setLeaf(leaf{name: "@" + name, raw: s})
	}
}

// leaf does with a child that is a text what the mode says.
func (f *Fields) leaf(name string, v any, r Rule, values []string) {
	switch f.mode {
	case readChild:
		if f.claim(true, !isEmpty(v)) {
			f.readLeaf(name, v, r, values)
		}
	case readEnd:
		f.needed(name, r)
	case writing, counting:
		if f.writes(name, v, r) && f.next(name) {
			f.w.value(f.ns, name, f.x.leaf(name), v, r, values)
		}
	case validating:
		f.v.leaf(f, name, v, r, values)
	case clearing:
		if p, ok := v.(*string); ok {
			*p = ""
		}
	}
}

func (f *Fields) readLeaf(name string, v any, r Rule, values []string) bool {
	d := f.d
	m := d.mark()
	attrs := d.takeRest()
	s, ok := d.text()
	if !ok {
		d.back(m, "an element inside a text")
		f.giveUp()
		return false
	}
	from := d.From
	d.From = m.From
	canonical, ok := d.parse(v, s, name, r, values)
	d.From = from
	if !ok {
		d.back(m, whyNot(v, values))
		f.giveUp()
		return false
	}
	if attrs != nil || !canonical {
		f.x.setLeaf(leaf{name: name, raw: s, attrs: attrs})
	} else if f.x.hidden != nil {
		f.x.dropLeaf(name)
	}
	if r&Raw == 0 && isEmpty(v) {
		f.loose = append(f.loose, loose{f.bit(), m, f.n, true}) // until one comes that says something
	}
	f.settle(name)
	return true
}

// settle says that the current child was read. One of its name that could not be read before stays for good.
func (f *Fields) settle(name string) {
	f.done = taken
	for i := range f.x.Extensions {
		if e := &f.x.Extensions[i]; e.unread && e.name.Local == name {
			e.unread = false
		}
	}
}

// readFlag reads an element that says yes by being there. One that says false in so many words is not set.
func (f *Fields) readFlag(name string, v *bool) {
	if !f.claim(true, *v) {
		return
	}
	var s string
	from := f.d.From
	if !f.readLeaf(name, &s, Need|Raw, nil) {
		return
	}
	if l := f.x.leaf(name); l != nil && l.attrs == nil {
		f.x.dropLeaf(name)
	}
	switch markup.Trim(s) {
	case "":
		*v = true
		return
	case "false", "0", "no":
	default:
		*v = true
	}
	f.d.From = from
	f.d.warn(name + " with content")
}

func (f *Fields) readNote(n *Note) bool {
	d := f.d
	m := d.mark()
	var x Extra
	for i := range d.Attrs {
		if a := &d.Attrs[i]; a.ID == idXML && a.Local == "lang" {
			a.Taken = true
			if n.Lang = a.Value(); n.Lang == "" {
				x.setLeaf(leaf{name: "@xml:lang"})
			}
		}
	}
	d.restAttrs(&x)
	s, ok := d.text()
	if !ok {
		d.back(m, "an element inside a text")
		f.giveUp()
		return false
	}
	n.Text = s
	if x.Attrs != nil || x.hidden != nil {
		n.Extra = new(x)
	}
	f.done = taken
	return true
}
