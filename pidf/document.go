package pidf

import (
	"slices"
	"strings"

	"github.com/openblustar/blustar/pidf/internal/markup"
	"github.com/openblustar/blustar/pidf/internal/slab"
)

// Document is an [Element] that is the root of a document: one that embeds [Root].
type Document interface {
	Element
	root() *Root
}

// Root is what a document holds besides the fields of its root element.
type Root struct {
	Extra

	// Warnings says what the decoder tolerated, in document order, at most 100 of them. Encoding and comparing ignore it.
	Warnings []Warning

	prolog, epilog []Extension // comments and processing instructions around the root element
}

func (r *Root) root() *Root { return r }

var (
	presenceType = Type{Name: Name{NSPIDF, "presence"}, New: func() Element { return new(Presence) }}
	presenceOnly = []*Type{&presenceType}
)

// PresenceType returns the kind of document that [Presence] is, for [Decoder.Read].
func PresenceType() *Type { return &presenceType }

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
	return ReadAs[*Presence](c, data, presenceOnly...)
}

// ReadAs is [Decoder.Read] for kinds whose New returns a T.
func ReadAs[T Document](c Decoder, data []byte, kinds ...*Type) (none T, err error) {
	doc, err := c.Read(data, kinds...)
	if err != nil {
		return none, err
	}
	return doc.(T), nil
}

// Read reads a document of one of several kinds, which its root element tells apart; one with another root element is
// refused with ErrRoot. New of each kind returns a [Document]. What [Decoder.Decode] says goes for all of them.
func (c Decoder) Read(data []byte, kinds ...*Type) (Document, error) {
	d := newDecoder(c)
	defer d.release()
	d.kinds = kinds
	d.AllowDrafts = slices.Contains(kinds, &presenceType)
	var doc Document
	if d.Load(data, c.Charset) {
		doc = d.document()
	}
	if d.Err != nil {
		return nil, syntaxError(d.Err)
	}
	doc.root().Warnings = d.warnings
	return doc, nil
}

// document reads a document that was loaded.
func (d *decoder) document() Document {
	prolog := d.skipMisc()
	if d.Err == nil && d.Kind != markup.Start {
		d.Fail(d.From, ErrSyntax, "no root element")
	}
	if d.Err != nil {
		return nil
	}
	t := d.kind()
	if t == nil {
		return nil
	}
	if d.Doctype != "" {
		d.warn("document type declaration of " + d.Doctype + " ignored")
	}
	if d.unqualified = d.Name.ID == idNone; d.unqualified {
		d.warn(t.Name.Local + " without a namespace")
	}
	d.warnMisspelt()
	var doc Document
	if t == &presenceType {
		doc = slab.New[Presence](d.memory)
	} else {
		doc = t.New().(Document)
	}
	r := doc.root()
	r.prolog = prolog
	d.fields.ns = d.fields.spaceID(t.Name.Space)
	d.fields.foreign = d.fields.ns >= idCount
	d.fields.read(&r.Extra, doc.Fields)
	r.epilog = d.finish()
	return doc
}

// kind returns what kind of document the root element says it is, and fails where nobody asked for that.
func (d *decoder) kind() *Type {
	id, name := d.Name.ID, d.Name.Local
	for _, t := range d.kinds {
		if t.Name.Local != name || id != idNone && id != d.fields.spaceID(t.Name.Space) {
			continue
		}
		if t == &presenceType && id == idNone && d.isXPIDF() {
			d.Fail(d.From, ErrRoot, "presence without a namespace is xpidf, which package pidf/xpidf reads")
			return nil
		}
		return t
	}
	if id == idPartial {
		d.Fail(d.From, ErrRoot, name+" is partial presence (RFC 5262), of which only whole documents are read")
	} else {
		var names []string
		for _, t := range d.kinds {
			names = append(names, t.Name.String())
		}
		d.Fail(d.From, ErrRoot, Name{d.Name.Space, name}.String()+" instead of "+strings.Join(names, " or "))
	}
	return nil
}

// isXPIDF reports whether a document without a namespace, whose root was just opened, is xpidf.
func (d *decoder) isXPIDF() bool {
	body := d.Doc[d.Pos:]
	return d.Doctype == "XPIDF" || (strings.Contains(body, "<presentity") || strings.Contains(body, "<atom")) &&
		!strings.Contains(body, "<tuple")
}

// skipMisc moves over what may stand around the root element and returns it.
func (d *decoder) skipMisc() []Extension {
	var x []Extension
	for {
		switch d.Next() {
		case markup.Text:
		case markup.Comment, markup.Instruction:
			x = append(x, Extension{xml: d.Doc[d.From:d.Pos], place: 1})
		default:
			return x
		}
	}
}

// finish reads what follows the root element.
func (d *decoder) finish() []Extension {
	x := d.skipMisc()
	if d.Err == nil && d.Kind != markup.EOF {
		d.Fail(d.From, ErrSyntax, "content after the root element")
	}
	return x
}

// Append appends a document of this kind, without white space between elements, and returns the extended slice. Only
// [Presence.Append] knows of dialects.
func (t *Type) Append(dst []byte, doc Document) []byte {
	w := newWriter(dst, BluStarDialect)
	w.document(t, doc)
	return w.done()
}
