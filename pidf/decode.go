package pidf

import (
	"slices"
	"strings"
	"sync"
)

// Decoder reads documents within limits. The zero value has the default limits and knows no types of extensions. It may
// be used by several goroutines.
type Decoder struct {
	Limits Limits
	Types  []*Type // what extension elements are read as Go values; wherever they stand

	// Charset is the parameter of the Content-Type that the document came with; empty for none. It goes before what the
	// document declares (RFC 7303 §3).
	Charset string
}

// Decode reads a presence document with the default limits. See [Decoder.Decode].
func Decode(data []byte) (*Presence, error) { return Decoder{}.Decode(data) }

// Decode reads a presence document: PIDF with its extensions.
//
// It takes any prefix and any order of elements, and says in Presence.Warnings what else it took although it was
// wrong. What is not well-formed, has a document type declaration other than those of drafts, or exceeds a limit is
// refused with a *SyntaxError; any other root element, partial presence (RFC 5262) among them, with one of ErrRoot. A
// value that its type cannot hold, such as a timestamp that is none, stays in the document as an extension, with a
// warning. Whether the document keeps the rules is for Presence.Validate to say.
//
// Data is not kept. The strings of the result share one copy of it.
func (c Decoder) Decode(data []byte) (*Presence, error) {
	d := newDecoder(c)
	defer d.release()
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
	scratch     *scratch
	fields      *Fields
	charset     string      // of the message, empty for none
	unqualified bool        // the root has no namespace: its children's lack of one means nothing
	fragments   int32       // kept so far
	demoted     bool        // the element to keep next is one that the typed model has a field for
	unread      bool        // and the field could not take it
	inside      []Extension // comments met inside a text, to go behind its element
	declared    *[]binding  // of the extension that was kept last
	warnings    []Warning
	place       place
}

// scratch is a decoder with room for what documents usually need.
type scratch struct {
	decoder
	fields   Fields
	uris     [2]string
	open     [12]openElement
	attrs    [8]rawAttr
	bindings [8]binding
}

// decoders spares each document the allocation of a decoder.
var decoders = sync.Pool{New: func() any { return new(scratch) }}

// newDecoder returns a decoder, to be released.
func newDecoder(c Decoder) *decoder {
	s := decoders.Get().(*scratch)
	d := &s.decoder
	d.limits, d.types, d.charset, d.scratch = c.Limits.withDefaults(), c.Types, c.Charset, s
	d.fields, s.fields.d, s.fields.uris = &s.fields, d, s.uris[:0]
	d.open, d.attrs, d.bindings = s.open[:0], s.attrs[:0], s.bindings[:0]
	return d
}

// release gives the decoder back. What it read, its warnings and its error included, does not depend on it.
func (d *decoder) release() {
	s := d.scratch
	*s = scratch{}
	decoders.Put(s)
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

// document reads a document whose root element is listed by fields.
func (c Decoder) document(data []byte, space nsID, name string, x *Extra, prolog, epilog *[]Extension, fields func(*Fields)) ([]Warning, error) {
	d := newDecoder(c)
	defer d.release()
	if d.load(data) {
		var ok bool
		if *prolog, ok = d.root(name, space, spaces[space]); ok {
			d.warnMisspelt()
			d.fields.ns = space
			d.fields.read(x, fields)
			*epilog = d.finish()
		}
	}
	if d.err != nil {
		return nil, d.err
	}
	return d.warnings, nil
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
		e.place = placeOf(n)
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
			x.Extensions = append(x.Extensions, Extension{xml: d.doc[d.from:d.pos], place: placeOf(n)})
		case tokComment, tokInstruction:
			x.Extensions = append(x.Extensions, Extension{xml: d.doc[d.from:d.pos], place: placeOf(n)})
		}
	}
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

// mentioned returns the bindings in scope of prefixes that the values of attributes mention, as xsi:type does.
func (d *decoder) mentioned(attrs []Attr) []binding {
	var more []binding
	for _, a := range attrs {
		for i := len(d.bindings) - 1; i >= 0 && strings.IndexByte(a.Value, ':') > 0; i-- {
			b := binding{prefix: d.bindings[i].prefix, space: d.bindings[i].space}
			if b.prefix != "" && mentions(a.Value, b.prefix) && !slices.ContainsFunc(more, func(c binding) bool { return c.prefix == b.prefix }) {
				more = append(more, b)
			}
		}
	}
	return more
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

// rewind moves to the marked start tag again.
func (d *decoder) rewind(m mark) {
	d.pos, d.open, d.bindings, d.selfClosed = m.from, d.open[:m.depth], d.bindings[:m.bindings], false
	d.elements = m.elements - 1
	d.inside = d.inside[:0]
	d.next()
}

// back moves to the marked start tag again, and says why.
func (d *decoder) back(m mark, why string) bool {
	if d.err != nil {
		return false
	}
	d.warnings = d.warnings[:m.warnings]
	d.rewind(m)
	d.warn(why + ": kept as an extension")
	d.demoted, d.unread = true, true
	return false
}
