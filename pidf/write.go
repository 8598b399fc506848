package pidf

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// How fields are written. Nearly all elements are bare: the document said nothing of them that their fields do not
// hold. They are written without a look at what else there could be.

// start begins a child: it writes what comes before it, and its start tag up to its name, which stands at from.
func (f *Fields) start(name string) (b []byte, from int) {
	w := f.w
	if !f.bare {
		f.before()
	}
	if b = w.b; f.open {
		f.open = false
		b = append(b, '>', '<')
	} else {
		b = append(b, '<')
	}
	from = len(b)
	if head := w.prefixes.Head(f.ns); head != "" {
		b = append(b, head...)
	}
	return append(b, name...), from
}

// tag writes what start does, and returns where the name stands.
func (f *Fields) tag(name string) span {
	b, from := f.start(name)
	f.w.b = b
	return span{from, len(b)}
}

// put writes a child.
func (f *Fields) put(name string, e Element) { f.element(f.tag(name), e.extra(), e, nil) }

// text writes a child that is a text without attributes.
func (f *Fields) text(name, text string) {
	b, from := f.start(name)
	if text == "" {
		f.w.b = append(b, '/', '>')
		return
	}
	f.w.end(markup.AppendEscaped(append(b, '>'), text), b[from:])
}

// element writes what follows the name of a start tag, of e or else of what fields lists. It writes an empty element
// where nothing does.
func (f *Fields) element(name span, x *Extra, e Element, fields func(*Fields)) {
	w := f.w
	x0, ns, allow, i, spare, bare := f.x, f.ns, f.allow, f.i, f.spare, f.bare
	if f.x, f.open = x, true; x.hidden == nil && len(x.Attrs) == 0 && len(x.Extensions) == 0 {
		f.spare, f.bare = true, true // left and n are those of the element around it, and not touched
		if e != nil {
			e.Fields(f)
		} else {
			fields(f)
		}
		if f.open {
			f.open = false
			w.b = append(w.b, '/', '>')
		} else {
			w.endTag(name)
		}
		f.x, f.ns, f.allow, f.i, f.spare, f.bare = x0, ns, allow, i, spare, bare
		return
	}
	left, n, local := f.left, f.n, w.prefixes.Local()
	f.spare, f.bare, f.left, f.allow, f.i, f.n = x.hidden == nil, false, x.Extensions, false, 0, 0
	if !inOrder(f.left) {
		f.left = f.arrange(x, e, fields)
	}
	if e != nil {
		e.Fields(f)
	} else {
		fields(f)
	}
	if len(f.left) > 0 {
		f.writeLeft(len(f.left))
	}
	if f.open {
		f.finish()
		w.b = append(w.b[:len(w.b)-1], '/', '>')
	} else {
		w.endTag(name)
	}
	f.x, f.ns, f.allow, f.i, f.spare, f.bare, f.left, f.n = x0, ns, allow, i, spare, bare, left, n
	w.prefixes.Leave(local)
}

// body finishes the start tag.
func (f *Fields) body() {
	if f.open {
		f.finish()
	}
}

func (f *Fields) finish() {
	if f.open = false; len(f.x.Attrs) > 0 {
		f.w.attrs(f.x)
	}
	f.w.b = append(f.w.b, '>')
}

// next is asked before each child, and reports whether to write it, rather than to count it.
func (f *Fields) next(name string) bool {
	if f.mode == counting {
		f.n++
		if f.list {
			f.found = append(f.found, name)
		}
		return false
	}
	if !f.bare {
		f.before()
	}
	f.body()
	return true
}

// before writes the attributes, and the extensions that come before the next child.
func (f *Fields) before() {
	if len(f.x.Attrs) > 0 {
		f.body()
	}
	f.n++
	for len(f.left) > 0 && int(f.left[0].place) <= f.n && (f.allow || f.left[0].name.Local == "") {
		f.writeLeft(1)
	}
}

// atAnyEnd is the place of extensions that go behind the others.
const atAnyEnd = math.MaxInt32 - 1

// writeLeft writes the first n extensions that are left.
func (f *Fields) writeLeft(n int) {
	f.body()
	w := f.w
	for i := range f.left[:n] {
		if e := &f.left[i]; w.verbatim && e.value == nil && e.declare == nil {
			w.b = append(w.b, e.xml...)
		} else {
			w.extension(e)
		}
	}
	f.left = f.left[n:]
}

// writeAny writes the extensions up to the last element that has a place before the end.
func (f *Fields) writeAny() {
	n := len(f.left)
	for n > 0 && (f.left[n-1].name.Local == "" || f.left[n-1].place > atAnyEnd) {
		n--
	}
	if n > 0 {
		f.writeLeft(n)
	}
}

// inOrder reports whether extensions are written as they stand.
func inOrder(es []Extension) bool {
	before := int32(1)
	for i := range es {
		e := &es[i]
		if e.place < before || e.demoted || e.unread {
			return false
		}
		before = e.place
	}
	return true
}

// arrange returns the extensions of an element in the order to write them in. Those that the schema has no place for go
// to the end. One that could not be read is left out once its field has a value.
func (f *Fields) arrange(x *Extra, e Element, fields func(*Fields)) []Extension {
	ns, es := f.ns, slices.Clone(x.Extensions)
	if slices.ContainsFunc(es, func(e Extension) bool { return e.unread }) {
		spare := f.spare
		f.mode, f.found, f.list, f.spare, f.left = counting, f.found[:0], true, false, nil
		if e != nil {
			fields = e.Fields
		}
		fields(f)
		f.mode, f.list, f.spare, f.ns, f.allow, f.i, f.n = writing, false, spare, ns, false, 0, 0
		es = slices.DeleteFunc(es, func(e Extension) bool { return e.unread && slices.Contains(f.found, e.name.Local) })
	}
	own := f.space(ns)
	for i := range es {
		switch e := &es[i]; {
		case e.demoted && e.name.Space == own:
			e.place = math.MaxInt32
		case e.demoted, e.place == 0:
			e.place = atAnyEnd
		}
	}
	slices.SortStableFunc(es, func(a, b Extension) int { return cmp.Compare(a.place, b.place) })
	return es
}

// writes reports whether a field has something to be written.
func (f *Fields) writes(name string, v any, r Rule) bool {
	if f.w != nil && f.w.timeless && r&change != 0 {
		return false
	}
	return !isEmpty(v) || r&Need != 0 && !f.missing() && !isTime(v) || f.x.hidden != nil && f.x.leaf(name) != nil
}

func isTime(v any) bool {
	_, ok := v.(*time.Time)
	return ok
}

func (f *Fields) writeAttr(name string, v any, r Rule, values []string) {
	w := f.w
	var l *leaf
	if f.x.hidden != nil {
		l = f.x.leaf("@" + name)
	}
	if isEmpty(v) && l == nil && (r&Need == 0 || f.missing()) {
		return
	}
	switch p, ok := v.(*string); {
	case ok && *p == "" && l == nil:
		w.attr(name, r.otherwise(values))
	case ok:
		w.attr(name, *p)
	case w.keeps(l, v):
		w.attr(name, l.raw)
	default:
		b := append(append(append(w.b, ' '), name...), '=', '"')
		w.b = append(appendValue(b, v, values), '"')
	}
}

// writeText writes the text of an element.
func (f *Fields) writeText(v any, r Rule, values []string) {
	w, l := f.w, f.x.leaf("")
	switch p, ok := v.(*string); {
	case ok && *p == "" && (l != nil || r&Default == 0):
	case ok && *p == "":
		f.body()
		w.raw(r.otherwise(values))
	case ok:
		f.body()
		w.b = markup.AppendEscaped(w.b, *p)
	case w.keeps(l, v):
		f.body()
		w.b = markup.AppendEscaped(w.b, l.raw)
	default:
		f.body()
		w.b = appendValue(w.b, v, values)
	}
}

func (f *Fields) writeNote(name string, n *Note) {
	if n.Lang == "" && n.Extra == nil {
		f.text(name, n.Text)
		return
	}
	w := f.w
	tag := f.tag(name)
	if n.Lang != "" || n.Extra.leaf("@xml:lang") != nil {
		w.attr("xml:lang", n.Lang)
	}
	if n.Extra != nil {
		local := w.prefixes.Local()
		w.attrs(n.Extra)
		w.prefixes.Leave(local)
	}
	w.content(tag, n.Text)
}
