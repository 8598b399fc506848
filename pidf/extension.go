package pidf

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// Name is the name of an element or attribute: a namespace, empty for none, and a local name.
type Name struct{ Space, Local string }

// String returns the name as "{namespace}local".
func (n Name) String() string {
	if n.Space == "" {
		return n.Local
	}
	return "{" + n.Space + "}" + n.Local
}

// Extension is an element that the typed model has no field for, or a comment, processing instruction or stray text
// between elements. It is immutable, but for the value that [Extension.Value] returns.
//
// It remembers its place among its siblings. One that was made with [ParseExtension], [NewExtension] or
// [Type.Extension] goes behind all others. Where a schema confines extensions to one place, as between status and
// contact of a tuple, encoding keeps elements there.
type Extension struct {
	name    Name
	xml     string            // as the document has it; of a value, the prefix that the document wrote
	declare *[]markup.Binding // the declarations that it needs, shared with its siblings; nil for none
	place   int32             // siblings with a typed field before it, plus one; atAnyEnd for the end

	// demoted says that the typed model has a field for such an element, but the field was taken, or, with unread,
	// the value did not fit. It goes behind its siblings.
	demoted, unread bool

	value Element // of a Type; nil for most
	kind  *Type
}

// Type makes [Decoder] read an extension element as a Go type: the Extension then has a Value.
type Type struct {
	Name      Name
	Prefix    string         // to write; one that others use is not taken
	Spellings []string       // namespaces that are read as that of Name, with a warning
	New       func() Element // returns a pointer to a zero value
}

// Extension makes an extension of a value, which must be of the type that t.New returns.
func (t *Type) Extension(v Element) Extension {
	return Extension{name: t.Name, value: v, kind: t, place: atAnyEnd}
}

// Value returns the Go value of an element that was read, or made, with a [Type]; nil for any other. It is not a copy.
func (e Extension) Value() Element { return e.value }

// ErrExtension is what the errors of ParseExtension and NewExtension wrap when the text is not one element.
var ErrExtension = errors.New("pidf: not one XML element")

// ParseExtension makes an extension of one element. Its prefixes must be declared in it.
func ParseExtension(xml string) (Extension, error) {
	d := newDecoder(Decoder{})
	defer d.release()
	if !d.Load([]byte(xml), "") {
		return Extension{}, syntaxError(d.Err)
	}
	d.skipMisc()
	if d.Kind != markup.Start {
		if d.Err != nil {
			return Extension{}, syntaxError(d.Err)
		}
		return Extension{}, ErrExtension
	}
	var x Extra
	d.keep(&x, 0)
	d.skipMisc()
	if d.Err != nil {
		return Extension{}, syntaxError(d.Err)
	}
	e := x.Extensions[0]
	e.place = atAnyEnd
	return e, nil
}

// NewExtension makes an extension of any value that encoding/xml can write.
func NewExtension(v any) (Extension, error) {
	text, err := xml.Marshal(v)
	if err != nil {
		return Extension{}, fmt.Errorf("%w: %w", ErrExtension, err)
	}
	return ParseExtension(string(text))
}

// Name returns the name of the element. It is zero for a comment, a processing instruction and a text.
func (e Extension) Name() Name { return e.name }

// XML returns the extension as it was read, with the namespace declarations that it needs to stand alone.
func (e Extension) XML() string {
	if e.value != nil {
		w := newWriter(nil, BluStarDialect)
		defer w.done()
		w.standalone(&e)
		return string(w.b)
	}
	if e.declare == nil {
		return e.xml
	}
	return string(markup.AppendDeclared(nil, e.xml, *e.declare))
}

// Unmarshal stores the element in a value, as encoding/xml does.
func (e Extension) Unmarshal(v any) error {
	if e.name.Local == "" {
		return ErrExtension
	}
	if err := xml.Unmarshal([]byte(e.XML()), v); err != nil {
		return fmt.Errorf("pidf: %s: %w", e.name, err)
	}
	return nil
}

// Text returns the character data of the element and all elements in it.
func (e Extension) Text() string {
	if e.name.Local == "" {
		return ""
	}
	s := trusted(e.XML())
	var b []byte
	for s.Next() != markup.EOF {
		if s.Kind == markup.Text {
			b = markup.AppendText(b, s.Chars, s.CDATA)
		}
	}
	return string(b)
}

// isStrayText reports whether e is a text between elements, rather than an element, a comment or an instruction.
func isStrayText(e *Extension) bool {
	return e.name.Local == "" && !strings.HasPrefix(e.xml, "<!--") && !strings.HasPrefix(e.xml, "<?")
}

// keep makes the element whose start tag was just read an extension of x, with n typed siblings before it.
func (d *decoder) keep(x *Extra, n int) {
	demoted, unread := d.demoted, d.unread
	d.demoted, d.unread = false, false
	name := Name{d.Name.Space, d.Name.Local}
	if d.types != nil && !demoted {
		if t, loose := d.typeOf(name); t != nil {
			prefix := d.Name.Prefix
			if e := t.New(); d.fields.typed(t, e, loose) {
				x.Extensions = append(x.Extensions, Extension{name: t.Name, value: e, kind: t, xml: prefix, place: placeOf(n)})
				return
			}
			if d.Err != nil {
				return
			}
			d.demoted, d.unread = false, false
		}
	}
	xml, declare := d.Fragment()
	if d.Err != nil {
		return
	}
	x.Extensions = append(x.Extensions, Extension{name: name, xml: xml, place: placeOf(n), demoted: demoted,
		unread: unread, declare: declare})
}

// placeOf returns the place behind n typed siblings.
func placeOf(n int) int32 { return int32(min(n, atAnyEnd-2)) + 1 }
