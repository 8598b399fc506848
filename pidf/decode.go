package pidf

import (
	"strconv"
	"strings"
	"time"
)

// Decoder reads documents within limits. The zero value has the default limits. It may be used by several goroutines.
type Decoder struct {
	Limits Limits
}

// Decode reads a presence document with the default limits. See [Decoder.Decode].
func Decode(data []byte) (*Presence, error) { return Decoder{}.Decode(data) }

// Decode reads a presence document: PIDF with its extensions, or xpidf, the draft that went before it.
//
// It takes any prefix and any order of elements, and says in Presence.Warnings what else it took although it was
// wrong. What is not well-formed, has a document type declaration other than those of drafts, or exceeds a limit is
// refused with a *SyntaxError; any other root element, partial presence (RFC 5262) among them, with one of ErrRoot. A
// value that its type cannot hold, such as a timestamp that is none, stays in the document as an extension, with a
// warning. Whether the document keeps the rules is for Presence.Validate to say.
//
// Data is not kept. The strings of the result share one copy of it.
func (c Decoder) Decode(data []byte) (*Presence, error) {
	d := newDecoder(c.Limits)
	p := new(Presence)
	d.presence(p, data)
	if d.err != nil {
		return nil, d.err
	}
	p.Warnings = d.warnings
	return p, nil
}

// decoder reads typed elements off a scanner. Its methods follow one pattern: with the start tag of their element
// read, they read up to and including its end. Those that may give up return false, and have then moved back to
// the start tag, so that the caller can keep the element as an extension.
type decoder struct {
	scanner
	unqualified bool        // the root has no namespace: its children's lack of one means nothing
	fragments   int32       // kept so far
	demoted     bool        // the element to keep next is one that the typed model has a field for
	home        string      // namespace of extensions that have none; empty for most documents
	inside      []Extension // comments met inside a text, to go behind its element
	warnings    []Warning
	place       place
}

// newDecoder returns a decoder with room for what documents usually need, in one allocation.
func newDecoder(l Limits) *decoder {
	d := new(struct {
		decoder
		open     [12]openElement
		attrs    [8]rawAttr
		bindings [8]binding
	})
	d.limits = l.withDefaults()
	d.decoder.open, d.decoder.attrs, d.decoder.bindings = d.open[:0], d.attrs[:0], d.bindings[:0]
	return &d.decoder
}

// warn notes that something at d.from, usually the current token, was tolerated.
func (d *decoder) warn(text string) {
	if len(d.warnings) >= maxWarnings {
		return
	}
	w := Warning{Text: text}
	w.Line, w.Column = d.place.at(d.doc, d.from)
	if tag := strings.TrimLeft(d.doc[d.from:], "</"); len(tag) < len(d.doc)-d.from {
		_, _, n := qualifiedName(tag)
		w.Element = tag[:n]
	}
	if w.Element == "" && len(d.open) > 0 {
		w.Element = d.open[len(d.open)-1].written
	}
	d.warnings = append(d.warnings, w)
}

// warnMisspelt warns where a namespace was read that is not spelt as it should be.
func (d *decoder) warnMisspelt() {
	if d.misspelt != "" {
		d.warn("namespace " + d.misspelt + " taken for the one that it resembles")
		d.misspelt = ""
	}
}

// skipMisc moves over what may stand around the root element and returns it.
func (d *decoder) skipMisc() []Extension {
	var x []Extension
	for {
		switch d.next() {
		case tokText:
		case tokComment, tokInstruction:
			x = append(x, Extension{xml: d.doc[d.from:d.pos], place: 1})
		default:
			return x
		}
	}
}

// root reads up to the start tag of the root, which must be called local and be in the wanted namespace or in none.
// It returns what stands before.
func (d *decoder) root(local string, want nsID, space string) (prolog []Extension, ok bool) {
	prolog = d.skipMisc()
	switch {
	case d.err != nil:
		return nil, false
	case d.kind != tokStart:
		d.fail(d.from, ErrSyntax, "no root element")
		return nil, false
	case d.name.local != local || d.name.id != want && d.name.id != idNone:
		d.wrongRoot(local, space)
		return nil, false
	case d.name.id == idNone:
		d.unqualified = true
		d.warn(local + " without a namespace")
	}
	return prolog, true
}

func (d *decoder) wrongRoot(local, space string) {
	got := Name{d.name.space, d.name.local}
	d.fail(d.from, ErrRoot, got.String()+" instead of "+Name{space, local}.String())
}

// finish reads what follows the root element.
func (d *decoder) finish() []Extension {
	x := d.skipMisc()
	if d.err == nil && d.kind != tokEOF {
		d.fail(d.from, ErrSyntax, "content after the root element")
	}
	return x
}

// child moves to the next child of the current element, and reports whether there is one. What it meets between
// elements goes to x, with n typed siblings before it, and so do the comments that were met inside the one before.
func (d *decoder) child(x *Extra, n int) bool {
	for _, e := range d.inside {
		e.place = n + 1
		x.Extensions = append(x.Extensions, e)
	}
	d.inside = d.inside[:0]
	for {
		switch d.next() {
		case tokStart:
			d.warnMisspelt()
			return true
		case tokEnd, tokEOF:
			return false
		case tokText:
			if !d.cdata && trim(d.chars) == "" {
				continue
			}
			d.warn("text between elements kept")
			x.Extensions = append(x.Extensions, Extension{xml: d.doc[d.from:d.pos], place: n + 1})
		case tokComment, tokInstruction:
			x.Extensions = append(x.Extensions, Extension{xml: d.doc[d.from:d.pos], place: n + 1})
		}
	}
}

// is reports whether the current element belongs to a namespace. PIDF's own, and none, pass for any: devices forget
// the prefixes of the data model and of RPID.
func (d *decoder) is(want nsID) bool {
	switch got := d.name.id; {
	case got == want:
		return true
	case got == idNone && d.unqualified:
		return true
	case got == idPIDF && want != idPIDF, got == idNone:
		d.warn("taken for an element of the namespace that it belongs to")
		return true
	}
	return false
}

// take returns the value of an attribute without a namespace, which then counts as known.
func (d *decoder) take(local string) (string, bool) {
	for i := range d.attrs {
		if a := &d.attrs[i]; a.prefix == "" && a.local == local {
			a.taken = true
			return value(a), true
		}
	}
	return "", false
}

func (d *decoder) takeString(local string) string {
	v, _ := d.take(local)
	return v
}

// takeLang returns the value of xml:lang.
func (d *decoder) takeLang() string {
	for i := range d.attrs {
		if a := &d.attrs[i]; a.id == idXML && a.local == "lang" {
			a.taken = true
			return value(a)
		}
	}
	return ""
}

// takeTime returns a time; one that cannot be read stays an unknown attribute.
func (d *decoder) takeTime(local string) time.Time {
	for i := range d.attrs {
		if a := &d.attrs[i]; a.prefix == "" && a.local == local {
			t, ok := d.time(value(a))
			a.taken = ok
			return t
		}
	}
	return time.Time{}
}

// takeRest returns the attributes that nothing took.
func (d *decoder) takeRest() []Attr {
	var rest []Attr
	for i := range d.attrs {
		a := &d.attrs[i]
		if a.taken {
			continue
		}
		rest = append(rest, Attr{Name{a.space, a.local}, value(a), a.prefix})
	}
	return rest
}

// text returns the character data up to the end of the current element. It gives up at a child element.
func (d *decoder) text() (string, bool) {
	var (
		first string
		buf   []byte
	)
	for {
		switch d.next() {
		case tokEnd:
			if buf != nil {
				return string(buf), true
			}
			return first, true
		case tokText:
			if buf == nil && first == "" && (d.cdata || !strings.Contains(d.chars, "&")) && !strings.Contains(d.chars, "\r") {
				first = d.chars
				continue
			}
			if buf == nil {
				buf = append(make([]byte, 0, len(first)+len(d.chars)), first...)
			}
			buf = appendText(buf, d.chars, d.cdata)
		case tokComment, tokInstruction:
			d.warn("comment inside a text moved behind it")
			d.inside = append(d.inside, Extension{xml: d.doc[d.from:d.pos]})
		default:
			return "", false
		}
	}
}

// mark is a start tag to move back to.
type mark struct {
	from, depth, bindings, elements, warnings int
}

func (d *decoder) mark() mark {
	last := len(d.open) - 1
	return mark{d.from, last, d.open[last].bindings, d.elements, len(d.warnings)}
}

// back moves to the marked start tag again.
func (d *decoder) back(m mark, why string) bool {
	if d.err != nil {
		return false
	}
	d.pos, d.open, d.bindings, d.selfClosed = m.from, d.open[:m.depth], d.bindings[:m.bindings], false
	d.elements = m.elements - 1
	d.warnings, d.inside = d.warnings[:m.warnings], d.inside[:0]
	d.next()
	d.warn(why + ": kept as an extension")
	d.demoted = true
	return false
}

// leaf reads an element that is a text, the nth of its name. It gives up at a child element.
func (d *decoder) leaf(x *Extra, name string, nth int) (string, bool) {
	m := d.mark()
	attrs := d.takeRest()
	s, ok := d.text()
	if !ok {
		return "", d.back(m, "an element inside a text")
	}
	if attrs != nil {
		x.setLeaf(name, nth, attrs)
	}
	return s, true
}

// once is leaf for an element that may come once.
func (d *decoder) once(x *Extra, name string, dst *string) bool {
	if *dst != "" {
		return d.duplicate()
	}
	s, ok := d.leaf(x, name, 0)
	if ok {
		*dst = s
	}
	return ok
}

// filled is once for an element that is not written when it is empty: it gives up at an empty one.
func (d *decoder) filled(x *Extra, name string, dst *string) bool {
	if !d.first(*dst == "") {
		return false
	}
	m := d.mark()
	attrs := d.takeRest()
	s, ok := d.text()
	if !ok || trim(s) == "" {
		return d.back(m, "no text")
	}
	*dst = s
	if attrs != nil {
		x.setLeaf(name, 0, attrs)
	}
	return true
}

// first reports whether the model has room for the current element, and says so where it has not.
func (d *decoder) first(room bool) bool { return room || d.duplicate() }

// duplicate says that there is a second element where the model has room for one.
func (d *decoder) duplicate() bool {
	d.warn("a second one kept as an extension")
	d.demoted = true
	return false
}

// enum is once for an element with a value out of a list.
func (d *decoder) enum(x *Extra, name string, dst *string, list string) bool {
	if *dst != "" {
		return d.duplicate()
	}
	from := d.from
	s, ok := d.leaf(x, name, 0)
	if !ok {
		return false
	}
	*dst = d.token(from, name, s, list)
	return true
}

// token normalizes a value of a list: surplus space goes, and capitals where that makes it one of the list.
func (d *decoder) token(from int, name, s, list string) string {
	t := folded(collapse(s), list)
	if t != s {
		d.from = from
		d.warn(name + ": " + strconv.Quote(s) + " read as " + strconv.Quote(t))
	}
	return t
}

// timestamp reads a time. It gives up where that cannot be done.
func (d *decoder) timestamp(x *Extra, name string, dst *time.Time) bool {
	if !dst.IsZero() {
		return d.duplicate()
	}
	m := d.mark()
	attrs := d.takeRest()
	s, ok := d.text()
	if ok {
		d.from = m.from
		*dst, ok = d.time(s)
	}
	if !ok {
		return d.back(m, "no time")
	}
	if attrs != nil {
		x.setLeaf(name, 0, attrs)
	}
	return true
}

// note reads a note.
func (d *decoder) note(n *Note) bool {
	m := d.mark()
	lang := d.takeLang()
	attrs := d.takeRest()
	s, ok := d.text()
	if !ok {
		return d.back(m, "an element inside a text")
	}
	*n = Note{Lang: lang, Text: s}
	if attrs != nil {
		n.Extra = &Extra{Attrs: attrs}
	}
	return true
}

func (d *decoder) notes(dst *[]Note) bool {
	var n Note
	if !d.note(&n) {
		return false
	}
	*dst = append(*dst, n)
	return true
}
