package pidf

import (
	"slices"
	"strings"
	"sync"

	"github.com/openblustar/blustar/pidf/internal/markup"
	"github.com/openblustar/blustar/pidf/internal/slab"
)

// Decoder reads documents within limits. The zero value has the default limits and knows no types of extensions. It may
// be used by several goroutines.
type Decoder struct {
	Limits Limits
	Types  []*Type // what extension elements are read as Go values; wherever they stand

	// Charset is the parameter of the Content-Type that the document came with; empty for none. It goes before what the
	// document declares (RFC 7303 §3).
	Charset string

	// Room, if not nil, is where the result is put. It is good until Room is used again.
	Room *Room
}

// Room is memory for documents that are read one after another, of which nothing is kept. The zero value is ready. It
// is for one goroutine at a time.
type Room struct{ memory slab.Memory }

// decoder reads typed elements off a scanner. Its methods follow one pattern: with the start tag of their element
// read, they read up to and including its end. Those that may give up return false, and have then moved back to
// the start tag, so that the caller can keep the element as an extension.
type decoder struct {
	markup.Scanner
	scratch     *scratch
	fields      *Fields
	types       []*Type
	kinds       []*Type      // of documents
	memory      *slab.Memory // for the result; nil has it allocated
	unqualified bool         // the root has no namespace: its children's lack of one means nothing
	demoted     bool         // the element to keep next is one that the typed model has a field for
	unread      bool         // and the field could not take it
	inside      []Extension  // comments met inside a text, to go behind its element
	warnings    []Warning
}

// scratch is a decoder with room for what documents usually need.
type scratch struct {
	decoder
	fields   Fields
	uris     [2]string
	open     [12]markup.Open
	attrs    [8]markup.Attr
	bindings [8]markup.Binding
}

// decoders spares each document the allocation of a decoder.
var decoders = sync.Pool{New: func() any {
	s := new(scratch)
	s.Classify, s.Warn = s.classify, s.warn
	return s
}}

// newDecoder returns a decoder, to be released.
func newDecoder(c Decoder) *decoder {
	s := decoders.Get().(*scratch)
	d := &s.decoder
	d.Limits, d.types, d.scratch = markup.Limits(c.Limits.withDefaults()), c.Types, s
	d.fields, s.fields.d, s.fields.uris = &s.fields, d, s.uris[:0]
	if c.Room != nil {
		d.memory = &c.Room.memory
		d.memory.Reuse()
	}
	d.Open, d.Attrs, d.Bindings = s.open[:0], s.attrs[:0], s.bindings[:0]
	return d
}

// release gives the decoder back. What it read, its warnings and its error included, does not depend on it.
func (d *decoder) release() {
	s := d.scratch
	classify, warn := d.Classify, d.Warn
	*s = scratch{}
	s.Classify, s.Warn = classify, warn
	decoders.Put(s)
}

// classify returns the number of a namespace, and whether it is a spelling that is not its own.
func (d *decoder) classify(space string) (id nsID, misspelt bool) {
	if id, misspelt = classify(space); id != idOther {
		return id, misspelt
	}
	for _, types := range [...][]*Type{d.types, d.kinds} {
		for _, t := range types {
			switch {
			case t.Name.Space == space:
				return d.fields.spaceID(space), false
			case slices.Contains(t.Spellings, space):
				return d.fields.spaceID(t.Name.Space), true
			}
		}
	}
	return idOther, false
}

// trusted returns a scanner of what a decoder has read before, within its limits.
func trusted(doc string) markup.Scanner {
	return markup.Scanner{Doc: doc, Limits: markup.Limits(Limits{-1, -1, -1, -1}.withDefaults()), Classify: classify}
}

// warn notes that something at the current token was tolerated.
func (d *decoder) warn(text string) {
	if len(d.warnings) < maxWarnings {
		line, column, element := d.Where()
		d.warnings = append(d.warnings, Warning{Place{line, column, element}, text})
	}
}

func (d *decoder) warnMisspelt() {
	if d.Misspelt != "" {
		d.warn("namespace " + d.Misspelt + " taken for the one that it resembles")
		d.Misspelt = ""
	}
}

// child moves to the next child of the current element, and reports whether there is one. What it meets between
// elements goes to x, with n typed siblings before it, and so do the comments that were met inside the one before.
func (d *decoder) child(x *Extra, n int) bool {
	for i := range d.inside {
		d.inside[i].place = placeOf(n)
		x.Extensions = append(x.Extensions, d.inside[i])
	}
	d.inside = d.inside[:0]
	for {
		d.SkipBlank()
		switch d.Next() {
		case markup.Start:
			d.warnMisspelt()
			return true
		case markup.End, markup.EOF:
			return false
		case markup.Text:
			if d.Blank {
				continue
			}
			d.warn("text between elements kept")
			x.Extensions = append(x.Extensions, Extension{xml: d.Doc[d.From:d.Pos], place: placeOf(n)})
		case markup.Comment, markup.Instruction:
			x.Extensions = append(x.Extensions, Extension{xml: d.Doc[d.From:d.Pos], place: placeOf(n)})
		}
	}
}

func (d *decoder) takeRest() []Attr {
	var rest []Attr
	for i := range d.Attrs {
		if a := &d.Attrs[i]; !a.Taken {
			rest = append(rest, Attr{Name{a.Space, a.Local}, a.Value(), a.Prefix})
		}
	}
	return rest
}

// mentioned returns the bindings in scope of prefixes that the values of attributes mention, as xsi:type does.
func (d *decoder) mentioned(attrs []Attr) (more []markup.Binding) {
	for _, a := range attrs {
		more = d.Mentioned(a.Value, more)
	}
	return more
}

// text returns the character data up to the end of the current element. It gives up at a child element.
func (d *decoder) text() (string, bool) {
	if s, ok := d.Leaf(); ok {
		return s, true
	}
	var room [128]byte
	for buf := room[:0]; ; {
		switch d.Next() {
		case markup.End:
			return string(buf), true
		case markup.Text:
			buf = markup.AppendText(buf, d.Chars, d.CDATA)
		case markup.Comment, markup.Instruction:
			d.warn("comment inside a text moved behind it")
			d.inside = append(d.inside, Extension{xml: d.Doc[d.From:d.Pos]})
		default:
			return "", false
		}
	}
}

// siblings returns for how many elements like the current one to make room, with n before it. Those of the root may be
// many: they are counted in a part of the rest of the document, which stands for all of it. To count costs more than to
// guess how many tuples a short document has.
func (d *decoder) siblings(n int) int {
	rest := d.Doc[d.From:]
	switch {
	case len(d.Open) != 2, n == 0 && d.Name.ID != idPIDF:
		return 1
	case n == 0:
		return min(4, 1+len(rest)/256)
	}
	part := rest[:min(len(rest), 2048)]
	k := strings.Count(part, rest[:1+len(d.Open[1].Written)])
	if len(part) < len(rest) {
		k = 1 + (k*len(rest)+len(rest)/2)/len(part)
	}
	return min(k, d.Limits.Elements)
}

// mark is a start tag to move back to.
type mark struct {
	markup.Mark
	warnings int
}

func (d *decoder) mark() mark { return mark{d.Mark(), len(d.warnings)} }

// rewind moves to the marked start tag again.
func (d *decoder) rewind(m mark) {
	d.inside = d.inside[:0]
	d.Rewind(m.Mark)
}

// back moves to the marked start tag again, and says why.
func (d *decoder) back(m mark, why string) bool {
	if d.Err != nil {
		return false
	}
	d.warnings = d.warnings[:m.warnings]
	d.rewind(m)
	d.warn(why + ": kept as an extension")
	d.demoted, d.unread = true, true
	return false
}

// UTF8 converts an XML document of any kind to UTF-8, and returns it without its XML declaration: for parsers that take
// nothing else. Charset is the parameter of its Content-Type, empty for none, and goes before what the document
// declares (RFC 7303 §3). It reads UTF-8, UTF-16, US-ASCII and ISO-8859-1; a document that says otherwise and is UTF-8
// all the same is taken for that. The error is a [*SyntaxError].
func UTF8(data []byte, charset string) ([]byte, error) {
	d := newDecoder(Decoder{Limits: Limits{Bytes: -1}})
	defer d.release()
	if !d.Load(data, charset) {
		return nil, syntaxError(d.Err)
	}
	return []byte(d.Doc[d.Pos:]), nil
}
