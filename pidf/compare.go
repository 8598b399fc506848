package pidf

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// Equal reports whether two documents say the same. Times of last change do not count, nor do the order of tuples,
// devices, persons, notes and activities, identifiers of RPID elements, prefixes, comments, white space in extensions,
// and Warnings.
func Equal(a, b *Presence) bool {
	// Most pairs that are equal are equal in each byte; only the others need a closer look.
	wa, wb := newWriter(nil, BluStarDialect), newWriter(nil, BluStarDialect)
	defer wa.done()
	defer wb.done()
	wa.sketch(a)
	wb.sketch(b)
	return bytes.Equal(wa.scratch, wb.scratch) || slices.Equal(factsOf(a), factsOf(b))
}

// sketch writes a document without its times of last change, to scratch.
func (w *writer) sketch(p *Presence) {
	w.b, w.timeless = w.scratch[:0], true
	w.presence(p)
	w.scratch = w.b
}

// fact is one thing that a document says.
type fact struct{ path, value string }

func compareFacts(a, b fact) int {
	return cmp.Or(strings.Compare(a.path, b.path), strings.Compare(a.value, b.value))
}

// factsOf returns all that a document says, sorted, in a form in which equal documents are equal.
func factsOf(p *Presence) []fact {
	var c collector
	c.in("presence", func() { c.fields(&Fields{c: &c}, &p.Extra, p.Fields) })
	slices.SortFunc(c.facts, compareFacts)
	return c.facts
}

// collector walks a document.
type collector struct {
	path  []byte
	facts []fact
}

// in runs walk with a step added to the path.
func (c *collector) in(step string, walk func()) {
	n := len(c.path)
	if n > 0 {
		c.path = append(c.path, '/')
	}
	c.path = append(c.path, step...)
	walk()
	c.path = c.path[:n]
}

// say adds a fact.
func (c *collector) say(step, value string) {
	c.in(step, func() { c.facts = append(c.facts, fact{string(c.path), value}) })
}

// maybe adds a fact unless it is empty.
func (c *collector) maybe(step, value string) {
	if value != "" {
		c.say(step, value)
	}
}

// steps names elements by their identifiers, and tells equal ones apart by their order.
type steps struct{ seen map[string]int }

func (s *steps) next(element, id string) string {
	if s.seen == nil {
		s.seen = make(map[string]int)
	}
	s.seen[id]++
	if n := s.seen[id]; n > 1 {
		id += "#" + strconv.Itoa(n)
	}
	return element + "[" + id + "]"
}

// identifier returns the id of an element, an attribute or a child.
func (f *Fields) identifier(e Element) string {
	outer, around := f.frame, f.reading
	f.mode, f.frame, f.reading = naming, frame{x: e.extra()}, reading{}
	e.Fields(f)
	id := f.value
	f.mode, f.frame, f.reading = comparing, outer, around
	return id
}

// child adds what a child says: that it is there, and its fields.
func (c *collector) child(f *Fields, step string, e Element) {
	c.in(step, func() {
		n := len(c.facts)
		if c.fields(f, e.extra(), e.Fields); len(c.facts) == n {
			c.facts = append(c.facts, fact{string(c.path), ""})
		}
	})
}

// fields adds what the fields of an element say, and its extensions.
func (c *collector) fields(f *Fields, x *Extra, fields func(*Fields)) {
	outer := f.frame
	f.mode, f.frame = comparing, frame{x: x}
	fields(f)
	c.extra(f, x)
	f.frame = outer
}

// value adds a field unless it is empty. The text of an element has no step.
func (c *collector) value(step string, v any, r Rule, values []string) {
	if isEmpty(v) && r&Default == 0 || r&change != 0 {
		return
	}
	text := string(appendValue(nil, v))
	if text == "" {
		text = r.otherwise(values)
	}
	if step == "" {
		c.facts = append(c.facts, fact{string(c.path), text})
		return
	}
	c.say(step, text)
}

func (c *collector) note(step string, n *Note) {
	if n.Lang != "" {
		step += "[" + n.Lang + "]"
	}
	c.say(step, n.Text)
	c.attrsOf(step, n.Extra)
}

func (c *collector) attrsOf(step string, x *Extra) {
	if x != nil {
		c.in(step, func() { c.attrs(x.Attrs) })
	}
}

func (c *collector) attrs(as []Attr) {
	for _, a := range as {
		c.say("@"+a.Name.String(), a.Value)
	}
}

func (c *collector) extra(f *Fields, x *Extra) {
	c.attrs(x.Attrs)
	var text []byte // in one piece, whatever stood between: elements may have moved
	for i := range x.Extensions {
		e := &x.Extensions[i]
		switch {
		case e.value != nil:
			c.child(f, e.name.Local, e.value)
		case e.name.Local != "":
			c.say(e.name.String(), markup.Canonical(trusted(e.XML())))
		case isStrayText(e):
			text = append(text, markup.Compact(e.xml)...)
		}
	}
	c.maybe("text()", string(text))
	if x.hidden != nil {
		for _, l := range x.hidden.leaves {
			c.in(l.name, func() { c.attrs(l.attrs) })
		}
	}
}
