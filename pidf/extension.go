package pidf

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/beevik/etree"
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

// Attr is an attribute that the typed model has no field for.
type Attr struct {
	Name  Name
	Value string

	prefix string // as the document wrote it
}

// Extra is what an element holds besides its typed fields. It survives decoding and encoding, in place.
type Extra struct {
	Attrs      []Attr
	Extensions []Extension

	hidden *hidden // nil for most
}

// hidden is what a document said that fields do not show.
type hidden struct {
	missing uint64    // mandatory fields that the document lacked, one bit for each
	leaves  []leaf    // sorted by name and nth
	declare []binding // prefixes that values of attributes mention
}

// leaf is what a field does not say of its text.
type leaf struct {
	name  string // of the child; "@" and the name of an attribute; empty for the text of the element
	nth   int    // among the children of that name
	raw   string // the text as it was
	value string // what it was read as, where there may be several
	attrs []Attr // of the child
}

func (x *Extra) extra() *Extra { return x }

func (x *Extra) hide() *hidden {
	if x.hidden == nil {
		x.hidden = new(hidden)
	}
	return x.hidden
}

func (x *Extra) isEmpty() bool {
	return len(x.Attrs) == 0 && len(x.Extensions) == 0 && (x.hidden == nil || len(x.hidden.leaves) == 0)
}

func (x *Extra) copy() {
	x.Attrs, x.Extensions = slices.Clone(x.Attrs), slices.Clone(x.Extensions)
	if x.hidden != nil {
		x.hidden = &hidden{x.hidden.missing, slices.Clone(x.hidden.leaves), x.hidden.declare}
		for i := range x.hidden.leaves {
			l := &x.hidden.leaves[i]
			l.attrs = slices.Clone(l.attrs)
		}
	}
}

func (x *Extra) clone() *Extra {
	if x == nil {
		return nil
	}
	y := *x
	y.copy()
	return &y
}

// leaf returns what is kept of a field, nil for most.
func (x *Extra) leaf(name string, nth int) *leaf {
	if x.hidden == nil {
		return nil
	}
	if i, ok := x.hidden.search(name, nth); ok {
		return &x.hidden.leaves[i]
	}
	return nil
}

func (x *Extra) setLeaf(l leaf) {
	h := x.hide()
	i, found := h.search(l.name, l.nth)
	if found {
		h.leaves[i] = l
		return
	}
	h.leaves = slices.Insert(h.leaves, i, l)
}

func (x *Extra) dropLeaf(name string) {
	if x.hidden == nil {
		return
	}
	if i, ok := x.hidden.search(name, 0); ok {
		if x.hidden.leaves = slices.Delete(x.hidden.leaves, i, i+1); len(x.hidden.leaves) == 0 && x.hidden.missing == 0 && x.hidden.declare == nil {
			x.hidden = nil
		}
	}
}

func (h *hidden) search(name string, nth int) (int, bool) {
	return slices.BinarySearchFunc(h.leaves, nth, func(l leaf, nth int) int {
		return cmp.Or(strings.Compare(l.name, name), cmp.Compare(l.nth, nth))
	})
}

// leavesOf returns what is kept of each item of a repeated field, nil where that is nothing. It belongs to the item,
// whatever was removed before it.
func (x *Extra) leavesOf(name string, items []string) func(i int) *leaf {
	if x.hidden == nil {
		return func(int) *leaf { return nil }
	}
	first, _ := x.hidden.search(name, 0)
	kept := x.hidden.leaves[first:]
	for i := range kept {
		if kept[i].name != name {
			kept = kept[:i]
			break
		}
	}
	moved := slices.ContainsFunc(kept, func(l leaf) bool { return l.nth >= len(items) || items[l.nth] != l.value })
	return func(i int) *leaf {
		if len(kept) > 0 && (moved && kept[0].value == items[i] || !moved && kept[0].nth == i) {
			l := &kept[0]
			kept = kept[1:]
			return l
		}
		if moved {
			for k := range min(len(kept), 16) {
				if kept[k].value == items[i] {
					l := &kept[k]
					kept = kept[k+1:]
					return l
				}
			}
		}
		return nil
	}
}

// Find returns the first extension element of that name, and whether there is one:
// x.Find(pidf.Name{Space: pidf.NSCIPID, Local: "icon"}).
func (x *Extra) Find(name Name) (Extension, bool) {
	for _, e := range x.Extensions {
		if e.name == name {
			return e, true
		}
	}
	return Extension{}, false
}

// FindAll returns the extension elements of that name, in order.
func (x *Extra) FindAll(name Name) iter.Seq[Extension] {
	return func(yield func(Extension) bool) {
		for _, e := range x.Extensions {
			if e.name == name && !yield(e) {
				return
			}
		}
	}
}

// Remove removes the extension elements of that name, and returns how many there were.
func (x *Extra) Remove(name Name) int {
	n := len(x.Extensions)
	x.Extensions = slices.DeleteFunc(slices.Clone(x.Extensions), func(e Extension) bool { return e.name == name })
	return n - len(x.Extensions)
}

// Replace puts an extension where the first of its name is and removes the others; where there is none, it comes
// behind all other extensions.
func (x *Extra) Replace(e Extension) {
	all := slices.Clone(x.Extensions)
	i := slices.IndexFunc(all, func(old Extension) bool { return old.name == e.name })
	if i < 0 {
		x.Extensions = append(all, e)
		return
	}
	e.place = all[i].place
	all[i] = e
	x.Extensions = slices.Concat(all[:i+1], slices.DeleteFunc(all[i+1:], func(old Extension) bool { return old.name == e.name }))
}

// Attr returns the value of an unknown attribute, and whether there is one of that name.
func (x *Extra) Attr(name Name) (string, bool) {
	for _, a := range x.Attrs {
		if a.Name == name {
			return a.Value, true
		}
	}
	return "", false
}

// Extension is an element that the typed model has no field for, or a comment, processing instruction or stray text
// between elements. It is immutable, but for the value that [Extension.Value] returns.
//
// It remembers its place among its siblings. One that was made with [ParseExtension], [NewExtension] or [Type.Extension] goes
// behind all others. Where a schema confines extensions to one place, as between status and contact of a tuple,
// encoding keeps elements there.
type Extension struct {
	name    Name
	xml     string     // as the document has it; of a value, the prefix that the document wrote
	declare *[]binding // the declarations that it needs, shared with its siblings; nil for none
	place   int32      // siblings with a typed field before it, plus one; atAnyEnd for the end

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

func (t *Type) clone(v Element, f *Fields) Element {
	c := reflect.New(reflect.TypeOf(v).Elem())
	c.Elem().Set(reflect.ValueOf(v).Elem())
	e := c.Interface().(Element)
	f.copy(e)
	return e
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
	if !d.load([]byte(xml)) {
		return Extension{}, d.err
	}
	d.skipMisc()
	if d.kind != tokStart {
		if d.err != nil {
			return Extension{}, d.err
		}
		return Extension{}, ErrExtension
	}
	var x Extra
	d.keep(&x, 0)
	d.skipMisc()
	if d.err != nil {
		return Extension{}, d.err
	}
	e := x.Extensions[0]
	e.place = atAnyEnd
	return e, nil
}

// NewExtension makes an extension of any value that encoding/xml can write, or of a tree as [Extension.Element]
// returns it.
func NewExtension(v any) (Extension, error) {
	var text string
	var err error
	if e, ok := v.(*etree.Element); ok {
		text, err = etree.NewDocumentWithRoot(e.Copy()).WriteToString()
	} else {
		var b []byte
		b, err = xml.Marshal(v)
		text = string(b)
	}
	if err != nil {
		return Extension{}, fmt.Errorf("%w: %w", ErrExtension, err)
	}
	return ParseExtension(text)
}

// Name returns the name of the element. It is zero for a comment, a processing instruction and a text.
func (e Extension) Name() Name { return e.name }

// XML returns the extension as it was read, with the namespace declarations that it needs to stand alone.
func (e Extension) XML() string {
	if e.value != nil {
		w := newWriter(nil, BluStarDialect)
		w.alone = true
		w.typed(&e)
		return string(w.done())
	}
	if e.declare == nil {
		return e.xml
	}
	return string(appendDeclared(nil, e.xml, *e.declare))
}

// appendDeclared writes an element with declarations behind its name.
func appendDeclared(dst []byte, xml string, declare []binding) []byte {
	_, _, n := qualifiedName(xml[1:])
	dst = append(dst, xml[:1+n]...)
	for _, b := range declare {
		dst = appendBinding(dst, b.prefix, b.space)
	}
	return append(dst, xml[1+n:]...)
}

func appendBinding(dst []byte, prefix, space string) []byte {
	dst = append(dst, " xmlns"...)
	if prefix != "" {
		dst = append(dst, ':')
		dst = append(dst, prefix...)
	}
	dst = append(dst, `="`...)
	dst = appendAttr(dst, space)
	return append(dst, '"')
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

// Element returns the element as a tree, which is the caller's to change; nil where e is no element.
func (e Extension) Element() *etree.Element {
	if e.name.Local == "" {
		return nil
	}
	doc := etree.NewDocument()
	doc.ReadSettings.PreserveCData = true
	if err := doc.ReadFromString(e.XML()); err != nil {
		return nil
	}
	root := doc.Root()
	doc.RemoveChild(root)
	return root
}

// Text returns the character data of the element and all elements in it.
func (e Extension) Text() string {
	if e.name.Local == "" {
		return ""
	}
	s := trustedScanner(e.XML())
	var b []byte
	for s.next() != tokEOF {
		if s.kind == tokText {
			b = appendText(b, s.chars, s.cdata)
		}
	}
	return string(b)
}

// Attr returns the value of an attribute of the element, and whether it has it.
func (e Extension) Attr(name Name) (string, bool) {
	if e.name.Local == "" {
		return "", false
	}
	s := trustedScanner(e.XML())
	if s.next() == tokStart {
		for i := range s.attrs {
			if a := &s.attrs[i]; a.local == name.Local && a.space == name.Space {
				return value(a), true
			}
		}
	}
	return "", false
}

// trustedScanner reads what a decoder has read before, within its limits.
func trustedScanner(doc string) scanner {
	return scanner{doc: doc, limits: Limits{-1, -1, -1, -1}.withDefaults()}
}

// isStrayText reports whether e is a text between elements, rather than an element, a comment or an instruction.
func isStrayText(e *Extension) bool {
	return e.name.Local == "" && !strings.HasPrefix(e.xml, "<!--") && !strings.HasPrefix(e.xml, "<?")
}

// keep makes the element whose start tag was just read an extension of x, with n typed siblings before it.
func (d *decoder) keep(x *Extra, n int) {
	demoted, unread := d.demoted, d.unread
	d.demoted, d.unread = false, false
	name := Name{d.name.space, d.name.local}
	if d.types != nil && !demoted {
		if t, loose := d.typeOf(name); t != nil {
			prefix := d.name.prefix
			if e := t.New(); d.fields.typed(t, e, loose) {
				x.Extensions = append(x.Extensions, Extension{name: t.Name, value: e, kind: t, xml: prefix, place: placeOf(n)})
				return
			}
			if d.err != nil {
				return
			}
			d.demoted, d.unread = false, false
		}
	}
	start, outside := d.from, d.open[len(d.open)-1].bindings
	own := d.bindings[outside:]

	// The start tag was resolved before this fragment had a number: resolve its names again under it.
	d.fragments++
	d.serial, d.bare = d.fragments, false
	d.resolve(d.from, &d.name, true)
	for i := range d.attrs {
		if d.attrs[i].prefix != "" {
			d.resolve(d.from, &d.attrs[i].element, false)
		}
	}
	for depth := len(d.open); len(d.open) >= depth; {
		if d.next() == tokEOF {
			break
		}
	}
	d.serial = 0
	if d.err != nil {
		return
	}
	xml := d.doc[start:d.pos]
	x.Extensions = append(x.Extensions, Extension{name: name, xml: xml, place: placeOf(n), demoted: demoted, unread: unread,
		declare: d.declarations(d.bindings[:outside], own, xml)})
}

// declarations returns the declarations that a fragment lacks: of the prefixes that its names use, and of those
// that its texts may use in qualified names. Own are the ones that its outermost element makes itself.
func (d *decoder) declarations(outer, own []binding, xml string) *[]binding {
	var more []binding
	for i := len(outer) - 1; i >= 0; i-- {
		b := &outer[i]
		if b.serial != d.fragments {
			same := func(c binding) bool { return c.prefix == b.prefix }
			if b.prefix == "" || !mentions(xml, b.prefix) || slices.ContainsFunc(own, same) || slices.ContainsFunc(outer[i+1:], same) {
				continue
			}
		}
		more = append(more, binding{prefix: b.prefix, space: b.space})
	}
	if d.bare {
		more = append(more, binding{})
	}
	switch {
	case more == nil:
		return nil
	case d.declared == nil || !slices.Equal(*d.declared, more):
		d.declared = new(more) // otherwise they are those of its sibling before it
	}
	return d.declared
}

// placeOf returns the place behind n typed siblings.
func placeOf(n int) int32 { return int32(min(n, atAnyEnd-2)) + 1 }

// mentions reports whether a qualified name with that prefix stands somewhere in xml.
func mentions(xml, prefix string) bool {
	for {
		i := strings.Index(xml, prefix)
		if i < 0 {
			return false
		}
		after := xml[i+len(prefix):]
		if (i == 0 || !isNameByte(xml[i-1])) && len(after) > 1 && after[0] == ':' && isNameByte(after[1]) && after[1] != ':' {
			return true
		}
		xml = xml[i+1:]
	}
}

// isNameByte reports whether c can be part of a qualified name.
func isNameByte(c byte) bool { return c >= utf8.RuneSelf || c == ':' || isNameInner(rune(c)) }
