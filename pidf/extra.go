package pidf

import (
	"cmp"
	"iter"
	"slices"
	"strings"

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
	missing uint64           // mandatory fields that the document lacked, one bit for each
	leaves  []leaf           // sorted by name and nth
	declare []markup.Binding // prefixes that values of attributes mention
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
