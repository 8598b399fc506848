package pidf

import (
	"cmp"
	"errors"
	"fmt"
	"math"
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

	leaves []leafAttrs // sorted by name and nth
}

// leafAttrs are attributes of a child that is a mere field, such as a timestamp. The schemas allow none there.
type leafAttrs struct {
	name  string
	nth   int // among the children of that name
	attrs []Attr
}

// Extension is an element that the typed model has no field for, or a comment, processing instruction or stray text
// between elements. It is immutable.
//
// It remembers its place among its siblings. One that was made with [ParseExtension] or [NewExtension] goes behind
// all others. Where a schema confines extensions to one place, as between status and contact of a tuple, encoding
// keeps elements there.
type Extension struct {
	name  Name
	xml   string
	place int // siblings with a typed field before it, plus one; 0 for the end

	// demoted says that the typed model has a field for such an element, but the value did not fit, or the field
	// was taken. It goes behind its siblings, so that it cannot take the place of one that is typed.
	demoted bool
}

// ErrExtension is what the errors of ParseExtension and NewExtension wrap when the text is not one element.
var ErrExtension = errors.New("pidf: not one XML element")

// ParseExtension makes an extension of one element. Its prefixes must be declared in it.
func ParseExtension(xml string) (Extension, error) {
	d := newDecoder(Limits{})
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
	e.place = 0
	return e, nil
}

// NewExtension makes an extension of a tree, as [Extension.Element] returns it for editing.
func NewExtension(e *etree.Element) (Extension, error) {
	doc := etree.NewDocumentWithRoot(e.Copy())
	xml, err := doc.WriteToString()
	if err != nil {
		return Extension{}, fmt.Errorf("%w: %w", ErrExtension, err)
	}
	return ParseExtension(xml)
}

// Name returns the name of the element. It is zero for a comment, a processing instruction and a text.
func (e Extension) Name() Name { return e.name }

// XML returns the extension as it was read, with the namespace declarations that it needs to stand alone.
func (e Extension) XML() string { return e.xml }

// Element returns the element as a tree, which is the caller's to change; nil where e is no element.
func (e Extension) Element() *etree.Element {
	if e.name.Local == "" {
		return nil
	}
	doc := etree.NewDocument()
	doc.ReadSettings.PreserveCData = true
	if err := doc.ReadFromString(e.xml); err != nil {
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
	s := trustedScanner(e.xml)
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
	s := trustedScanner(e.xml)
	if e.name.Local != "" && s.next() == tokStart {
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

// Attr returns the value of an unknown attribute, and whether there is one of that name.
func (x *Extra) Attr(name Name) (string, bool) {
	for _, a := range x.Attrs {
		if a.Name == name {
			return a.Value, true
		}
	}
	return "", false
}

// leaf returns the attributes of a child that is a mere field, the nth of its name.
func (x *Extra) leaf(name string, nth int) []Attr {
	if i, ok := x.searchLeaf(name, nth); ok {
		return x.leaves[i].attrs
	}
	return nil
}

func (x *Extra) setLeaf(name string, nth int, attrs []Attr) {
	i, found := x.searchLeaf(name, nth)
	if found {
		x.leaves[i].attrs = attrs
		return
	}
	x.leaves = slices.Insert(x.leaves, i, leafAttrs{name, nth, attrs})
}

func (x *Extra) searchLeaf(name string, nth int) (int, bool) {
	return slices.BinarySearchFunc(x.leaves, nth, func(l leafAttrs, nth int) int {
		return cmp.Or(strings.Compare(l.name, name), cmp.Compare(l.nth, nth))
	})
}

// placed returns the extensions in the order and with the places to write them at. Elements stay within lo and hi,
// where the schema wants them: that many typed siblings come before them. Own is the namespace of the parent.
func (x *Extra) placed(own string, lo, hi int) []Extension {
	if len(x.Extensions) == 0 {
		return nil
	}
	put := func(e *Extension) int {
		switch {
		case e.demoted && !isForeign(e.name.Space, own):
			return math.MaxInt
		case e.name.Local == "" && e.place != 0:
			return e.place
		case e.demoted, e.place == 0:
			return hi + 1
		}
		return min(max(e.place, lo+1), hi+1)
	}
	before, same := 0, true
	for i := range x.Extensions {
		e := &x.Extensions[i]
		at := put(e)
		same = same && at == e.place && at >= before
		before = at
	}
	if same {
		return x.Extensions
	}
	es := slices.Clone(x.Extensions)
	for i := range es {
		es[i].place = put(&es[i])
	}
	slices.SortStableFunc(es, func(a, b Extension) int { return cmp.Compare(a.place, b.place) })
	return es
}

// isStrayText reports whether e is a text between elements, rather than an element, a comment or an instruction.
func isStrayText(e Extension) bool {
	return e.name.Local == "" && !strings.HasPrefix(e.xml, "<!--") && !strings.HasPrefix(e.xml, "<?")
}

// isForeign reports whether a schema counts typed elements of a namespace among the extensions of a parent in own.
func isForeign(space, own string) bool {
	a, _ := classify(space)
	b, _ := classify(own)
	return a != b && (a == idDataModel || a == idRPID || a == idBluStar)
}

// keep makes the element whose start tag was just read an extension of x, with n typed siblings before it.
func (d *decoder) keep(x *Extra, n int) {
	demoted := d.demoted
	d.demoted = false
	start, outside := d.from, d.open[len(d.open)-1].bindings
	name := Name{d.name.space, d.name.local}
	head := len("<") + len(d.open[len(d.open)-1].written)
	own := d.bindings[outside:]
	if name.Space == "" && !slices.ContainsFunc(own, func(b binding) bool { return b.prefix == "" }) {
		name.Space = d.home
	}

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
	if more := d.declarations(d.bindings[:outside], own, xml); more != "" {
		xml = xml[:head] + more + xml[head:]
	}
	x.Extensions = append(x.Extensions, Extension{name: name, xml: xml, place: n + 1, demoted: demoted})
}

// declarations returns the declarations that a fragment lacks: of the prefixes that its names use, and of those
// that its texts may use in qualified names. Own are the ones that its outermost element makes itself.
func (d *decoder) declarations(outer, own []binding, xml string) string {
	var more []byte
	for i := len(outer) - 1; i >= 0; i-- {
		b := &outer[i]
		if b.serial != d.fragments {
			same := func(c binding) bool { return c.prefix == b.prefix }
			if b.prefix == "" || prefixFor(b.space) == b.prefix || !mentions(xml, b.prefix) ||
				slices.ContainsFunc(own, same) || slices.ContainsFunc(outer[i+1:], same) {
				continue
			}
		}
		more = append(more, " xmlns"...)
		if b.prefix != "" {
			more = append(more, ':')
			more = append(more, b.prefix...)
		}
		more = append(more, `="`...)
		more = appendAttr(more, cmp.Or(b.space, d.home))
		more = append(more, '"')
	}
	if d.bare {
		more = append(more, ` xmlns="`...)
		more = appendAttr(more, d.home)
		more = append(more, '"')
	}
	return string(more)
}

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
