package pidf

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/openblustar/blustar/pidf/internal/markup"
	"github.com/openblustar/blustar/pidf/internal/prefixes"
)

const xmlDeclaration = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// Append appends the document in a dialect, without white space between elements, and returns the extended slice. The
// result is well-formed UTF-8 whatever the values hold.
func (p *Presence) Append(dst []byte, d Dialect) []byte {
	w := newWriter(dst, d)
	if dst != nil {
		w.presence(p)
		return w.done()
	}
	defer w.done()
	w.b = w.scratch[:0]
	w.presence(p)
	w.scratch = w.b
	return slices.Clone(w.b) // of its size alone
}

// writer appends elements to b.
type writer struct {
	b        []byte
	dialect  Dialect
	entity   string // of the document
	timeless bool   // leave timestamps out, for comparisons
	verbatim bool   // most extensions are written as they are
	ids      markup.IDs
	prefixes prefixes.Table
	start    int // where the document starts

	f       Fields
	scratch []byte // for what is not appended to anything
}

// writers spares each document the allocation of a writer.
var writers = sync.Pool{New: func() any {
	w := new(writer)
	w.f.w, w.f.mode, w.prefixes.Fixed, w.prefixes.Space = w, writing, namespaces[:], w.f.space
	return w
}}

// maxScratch is how much a writer holds on to.
const maxScratch = 64 << 10

// newWriter returns a writer, for document and then done.
func newWriter(dst []byte, d Dialect) *writer {
	w := writers.Get().(*writer)
	w.b, w.dialect, w.verbatim, w.start = dst, d, d == BluStarDialect, len(dst)
	return w
}

// done returns what was written, and gives the writer back.
func (w *writer) done() []byte {
	b := w.b
	if cap(w.scratch) > maxScratch {
		w.scratch = nil
	}
	w.b, w.entity, w.timeless, w.ids = nil, "", false, w.ids.Empty()
	w.f = Fields{w: w, mode: writing, uris: w.f.uris[:0]}
	w.prefixes.Clear()
	writers.Put(w)
	return b
}

// document writes a document: the root element with what stands around it.
func (w *writer) document(t *Type, doc Document) {
	r, name := doc.root(), t.Name.Local
	w.raw(xmlDeclaration)
	for i := range r.prolog {
		w.raw(r.prolog[i].xml)
		w.raw("\n")
	}
	w.raw("<")
	tag := span{len(w.b), len(w.b) + len(name)}
	w.raw(name)
	w.raw(` xmlns="`)
	w.raw(t.Name.Space)
	w.raw(`"`)
	root := len(w.b) // where the declarations go
	w.b = w.prefixes.Guess(w.b)
	w.f.ns = w.f.spaceID(t.Name.Space)
	w.prefixes.Root(w.f.ns, defaultAttributes-8-len(r.Attrs))
	w.f.element(tag, &r.Extra, doc, nil)
	w.b = w.prefixes.Declare(w.b, root)
	for i := range r.epilog {
		w.raw("\n")
		w.raw(r.epilog[i].xml)
	}
}

// otherwise returns what is written for an empty value.
func (r Rule) otherwise(values []string) string {
	if r&Default == 0 {
		return ""
	}
	return values[0][strings.LastIndexByte(values[0], '|')+1:]
}

// span is where something stands in what is written.
type span struct{ from, to int }

func (w *writer) raw(s string) { w.b = append(w.b, s...) }

// startTag writes the start tag of an element up to its name, and returns where the name stands.
func (w *writer) startTag(ns nsID, name string) span {
	b := append(w.b, '<')
	from := len(b)
	if head := w.prefixes.Head(ns); head != "" {
		b = append(b, head...)
	}
	w.b = append(b, name...)
	return span{from, len(w.b)}
}

// endTag writes the end tag that belongs to a start tag.
func (w *writer) endTag(name span) { w.end(w.b, w.b[name.from:name.to]) }

// end writes an end tag behind what was written.
func (w *writer) end(b, name []byte) {
	w.b = append(append(append(b, '<', '/'), name...), '>')
}

// content finishes an element that is a text.
func (w *writer) content(name span, text string) {
	if text == "" {
		w.b = append(w.b, '/', '>')
		return
	}
	w.b = markup.AppendEscaped(append(w.b, '>'), text)
	w.endTag(name)
}

func (w *writer) attr(name, value string) {
	b := append(append(append(w.b, ' '), name...), '=')
	w.b = markup.AppendQuoted(b, value)
}

// keeps reports whether the text of a field can stay as it was. The BluStar dialect has its own form of times.
func (w *writer) keeps(l *leaf, v any) bool {
	return l != nil && !w.timeless && says(l.raw, v) && !(isTime(v) && w.dialect == BluStarDialect)
}

// value writes a child that is a text.
func (w *writer) value(ns nsID, name string, l *leaf, v any, r Rule, values []string) {
	switch p, ok := v.(*string); {
	case ok && *p == "" && l == nil:
		w.leaf(ns, name, l, r.otherwise(values))
	case ok:
		w.leaf(ns, name, l, *p)
	case isEmpty(v), w.keeps(l, v):
		raw := ""
		if l != nil && says(l.raw, v) {
			raw = l.raw
		} else {
			l = nil
		}
		w.leaf(ns, name, l, raw)
	default:
		tag := w.open(ns, name, l)
		w.b = appendValue(append(w.b, '>'), v, values)
		w.endTag(tag)
	}
}

// open writes the start tag of a child that is a text, but for its end.
func (w *writer) open(ns nsID, name string, l *leaf) span {
	tag := w.startTag(ns, name)
	if l != nil && l.attrs != nil {
		local := w.prefixes.Local()
		w.attrs(&Extra{Attrs: l.attrs})
		w.prefixes.Leave(local)
	}
	return tag
}

func (w *writer) leaf(ns nsID, name string, l *leaf, text string) {
	w.content(w.open(ns, name, l), text)
}

// extension writes an extension, with the declarations that the root element does not make.
func (w *writer) extension(e *Extension) {
	if e.value != nil {
		w.typed(e)
		return
	}
	if w.timeless && e.name.Local != "" { // it is not the field that has its name, and its order counts
		w.raw("<xml:extension>")
		defer w.raw("</xml:extension>")
	}
	if w.dialect == StandardDialect && strings.Contains(e.xml, "id") {
		w.reserve(e)
	}
	declared := true
	if e.declare != nil {
		for _, b := range *e.declare {
			declared = w.prefixes.Binds(b.Prefix, b.Space) && declared
		}
	}
	if declared {
		w.raw(e.xml)
		return
	}
	var local []markup.Binding
	for _, b := range *e.declare {
		if !w.prefixes.Binds(b.Prefix, b.Space) {
			local = append(local, b)
		}
	}
	w.b = markup.AppendDeclared(w.b, e.xml, local)
}

// typed writes an extension that is a Go value.
func (w *writer) typed(e *Extension) {
	f, t := &w.f, e.kind
	ns := f.ns
	f.ns = f.spaceID(t.Name.Space)
	if w.prefixes.Take(f.ns, t.Prefix, e.xml) {
		f.element(w.startTag(f.ns, t.Name.Local), e.value.extra(), e.value, nil)
	} else { // no prefix is to be had from the root
		alone := newWriter(nil, w.dialect)
		alone.timeless, alone.verbatim = w.timeless, w.verbatim
		alone.standalone(e)
		w.b = append(w.b, alone.done()...)
	}
	f.ns = ns
}

// standalone writes an extension that is a Go value, with all declarations that it needs.
func (w *writer) standalone(e *Extension) {
	t := e.kind
	w.prefixes.Alone(t.Name.Space)
	w.f.ns = w.f.spaceID(t.Name.Space)
	w.f.element(w.startTag(w.f.ns, t.Name.Local), e.value.extra(), e.value, nil)
	w.b = markup.AppendDeclared(nil, string(w.b), w.prefixes.Declared())
}

// declare declares a prefix in the start tag that is being written.
func (w *writer) declare(prefix, space string) {
	w.b = markup.AppendBinding(w.b, prefix, space)
	w.prefixes.Here(prefix, space)
}

// attrs writes unknown attributes, the last thing of a start tag. Those in a namespace have the prefix that they came
// with, unless that one is taken. What only a host can have put there and would make the tag ill-formed is left out.
func (w *writer) attrs(x *Extra) {
	tag := bytes.LastIndexByte(w.b, '<') // none is in a value: there it is escaped
	if x.hidden != nil {
		for _, b := range x.hidden.declare {
			if !w.prefixes.Binds(b.Prefix, b.Space) && !w.prefixes.WritesWith(b.Prefix) {
				w.declare(b.Prefix, b.Space)
			}
		}
	}
	for i := range x.Attrs {
		a := &x.Attrs[i]
		name := a.Name.Local
		if !markup.IsNCName(name) || name == "xmlns" || a.Name.Space == markup.NSXMLNS || !markup.IsText(a.Name.Space) {
			continue
		}
		switch {
		case a.Name.Space == "":
		case a.Name.Space == markup.NSXML:
			name = "xml:" + name
		default:
			id, misspelt := classify(a.Name.Space)
			if id == idOther || misspelt {
				id = 0
			}
			prefix, here := w.prefixes.Attr(id, a.Name.Space, a.prefix)
			if here {
				w.declare(prefix, a.Name.Space)
			}
			name = prefix + ":" + name
		}
		if !markup.HasAttr(w.b[tag:], name) {
			w.attr(name, a.Value)
		}
	}
}
