package pidf

import (
	"iter"
	"slices"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

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
	missing uint64 // mandatory fields that the document lacked, one bit for each
	leaves  []leaf
	declare []markup.Binding // prefixes that values of attributes mention
}

// leaf is what a field does not say of its text.
type leaf struct {
	name  string // of the child; "@" and the name of an attribute; empty for the text of the element
	raw   string // the text as it was
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

// leaf returns what is kept of a field, nil for most.
func (x *Extra) leaf(name string) *leaf {
	if x.hidden != nil {
		for i := range x.hidden.leaves {
			if l := &x.hidden.leaves[i]; l.name == name {
				return l
			}
		}
	}
	return nil
}

func (x *Extra) setLeaf(l leaf) {
	if old := x.leaf(l.name); old != nil {
		*old = l
		return
	}
	h := x.hide()
	h.leaves = append(h.leaves, l)
}

func (x *Extra) dropLeaf(name string) {
	if h := x.hidden; h != nil {
		h.leaves = slices.DeleteFunc(h.leaves, func(l leaf) bool { return l.name == name })
		if len(h.leaves) == 0 && h.missing == 0 && h.declare == nil {
			x.hidden = nil
		}
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
	x.Extensions = slices.Concat(all[:i+1], slices.DeleteFunc(all[i+1:],
		func(old Extension) bool { return old.name == e.name }))
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
