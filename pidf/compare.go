package pidf

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Equal reports whether two documents say the same. Times of last change do not count, nor do the order of tuples,
// devices, persons, notes and activities, identifiers of RPID elements, prefixes, comments, white space in extensions,
// and Warnings.
func Equal(a, b *Presence) bool {
	// Most pairs that are equal are equal in each byte; only the others need a closer look.
	var bufA, bufB [2048]byte
	wa, wb := writer{b: bufA[:0], timeless: true}, writer{b: bufB[:0], timeless: true}
	wa.document(a)
	wb.document(b)
	return bytes.Equal(wa.b, wb.b) || slices.Equal(factsOf(a), factsOf(b))
}

// Change is one difference between two documents.
type Change struct {
	Path          string // such as "presence/tuple[audio]/status/basic"
	Before, After string // empty where there was, or is, nothing at the path, or an empty element
	Kind          ChangeKind
}

// ChangeKind says what happened to a path.
type ChangeKind int

const (
	Changed ChangeKind = iota
	Added
	Removed
)

// String returns one line: a path with both values, or a path behind + or -.
func (c Change) String() string {
	switch {
	case c.Kind == Added && c.After == "":
		return "+ " + c.Path
	case c.Kind == Added:
		return "+ " + c.Path + ": " + strconv.Quote(c.After)
	case c.Kind == Removed && c.Before == "":
		return "- " + c.Path
	case c.Kind == Removed:
		return "- " + c.Path + ": " + strconv.Quote(c.Before)
	}
	return c.Path + ": " + strconv.Quote(c.Before) + " -> " + strconv.Quote(c.After)
}

// Diff returns what one has to change in a to get b, sorted by path. It returns nothing where Equal reports true.
func Diff(a, b *Presence) []Change {
	var changes []Change
	before, after := factsOf(a), factsOf(b)
	// What both have drops out first, so that values of one path that only moved do not look like changes.
	before, after = without(before, after), without(after, before)
	for len(before) > 0 || len(after) > 0 {
		order := 0
		switch {
		case len(before) == 0:
			order = 1
		case len(after) == 0:
			order = -1
		default:
			order = strings.Compare(before[0].path, after[0].path)
		}
		switch {
		case order < 0:
			changes = append(changes, Change{Path: before[0].path, Before: before[0].value, Kind: Removed})
			before = before[1:]
		case order > 0:
			changes = append(changes, Change{Path: after[0].path, After: after[0].value, Kind: Added})
			after = after[1:]
		default:
			changes = append(changes, Change{Path: before[0].path, Before: before[0].value, After: after[0].value})
			before, after = before[1:], after[1:]
		}
	}
	return changes
}

// without returns a less b; both are sorted and may hold a fact more than once.
func without(a, b []fact) []fact {
	var rest []fact
	for _, f := range a {
		for len(b) > 0 && compareFacts(b[0], f) < 0 {
			b = b[1:]
		}
		if len(b) > 0 && b[0] == f {
			b = b[1:]
			continue
		}
		rest = append(rest, f)
	}
	return rest
}

// fact is one thing that a document says.
type fact struct{ path, value string }

func compareFacts(a, b fact) int {
	return cmp.Or(strings.Compare(a.path, b.path), strings.Compare(a.value, b.value))
}

// factsOf returns all that a document says, sorted, in a form in which equal documents are equal.
func factsOf(p *Presence) []fact {
	var c collector
	c.presence(p)
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

func (c *collector) time(step string, t time.Time) {
	if !t.IsZero() {
		c.say(step, string(appendTime(nil, t)))
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

func (c *collector) notes(notes []Note) {
	for i := range notes {
		c.note(&notes[i])
	}
}

func (c *collector) note(n *Note) {
	step := "note"
	if n.Lang != "" {
		step += "[" + n.Lang + "]"
	}
	c.say(step, n.Text)
	if n.Extra != nil {
		c.in(step, func() { c.attrs(n.Extra.Attrs) })
	}
}

func (c *collector) attrs(as []Attr) {
	for _, a := range as {
		c.say("@"+a.Name.String(), a.Value)
	}
}

func (c *collector) extra(x *Extra) {
	c.attrs(x.Attrs)
	var text []byte // in one piece, whatever stood between: elements may have moved
	for _, e := range x.Extensions {
		if e.name.Local == "" {
			if isStrayText(e) {
				text = append(text, strayText(e.xml)...)
			}
			continue
		}
		c.say(e.name.String(), canonical(e))
	}
	c.maybe("text()", string(text))
	for _, l := range x.leaves {
		c.in(l.name, func() { c.attrs(l.attrs) })
	}
}

// strayText returns a text between elements without its white space.
func strayText(xml string) string {
	xml, cdata := strings.CutPrefix(xml, "<![CDATA[")
	if cdata {
		xml = strings.TrimSuffix(xml, "]]>")
	}
	return strings.Join(strings.Fields(string(appendText(nil, xml, cdata))), "")
}

// canonical writes an element so that it does not depend on prefixes, the order of attributes, comments and white
// space between elements.
func canonical(e Extension) string {
	s := trustedScanner(e.xml)
	var b []byte
	for s.next() != tokEOF {
		switch s.kind {
		case tokStart:
			b = append(b, '<')
			b = append(b, Name{s.name.space, s.name.local}.String()...)
			slices.SortFunc(s.attrs, func(x, y rawAttr) int {
				return cmp.Or(strings.Compare(x.space, y.space), strings.Compare(x.local, y.local))
			})
			for i := range s.attrs {
				a := &s.attrs[i]
				b = append(b, ' ')
				b = append(b, Name{a.space, a.local}.String()...)
				b = append(b, '=', '"')
				b = appendAttr(b, value(a))
				b = append(b, '"')
			}
			b = append(b, '>')
		case tokEnd:
			b = append(b, "</>"...)
		case tokText:
			if s.cdata || trim(s.chars) != "" {
				b = appendEscaped(b, string(appendText(nil, s.chars, s.cdata)))
			}
		}
	}
	return string(b)
}
