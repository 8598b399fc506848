package pidf

import (
	"slices"
	"strconv"
	"strings"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// The prefixes of a document. The namespaces of this package have their own. Those of extensions keep the one that they
// came with, if it is free, and are declared once, at the root, up to maxBound of them.

// maxBound bounds the prefixes that the root element declares for extensions, so that a decoder with the default limits
// takes the document. Others are declared where they are used.
const maxBound = 32

// declare puts the declarations of the prefixes that were used into the root element.
func (w *writer) declare() {
	var buf [512]byte
	d := buf[:0]
	for id, used := range w.used {
		if used {
			d = append(d, declarations[id]...)
		}
	}
	slices.SortFunc(w.bound, func(a, b markup.Binding) int { return strings.Compare(a.Prefix, b.Prefix) })
	for _, b := range w.bound {
		d = markup.AppendBinding(d, b.Prefix, b.Space)
	}
	if len(d) == 0 {
		return
	}
	w.b = append(w.b, d...)
	copy(w.b[w.root+len(d):], w.b[w.root:len(w.b)-len(d)])
	copy(w.b[w.root:], d)
}

// tag returns how to write tags in a namespace: without a prefix where the root element declares none.
func (w *writer) tag(n nsID) *tag {
	switch {
	case n < idCount:
		w.used[n] = true
		return &tags[n]
	case n == w.homeID:
		return &unprefixed
	}
	if i := int(n - idCount); i < len(w.chosen) && w.chosen[i].valid {
		return &w.chosen[i].tag
	}
	if prefix := w.prefixOf(w.f.space(n)); prefix != "" {
		return w.setTag(n, prefix)
	}
	return &unprefixed
}

// setTag makes a prefix the one of a namespace from idCount on.
func (w *writer) setTag(n nsID, prefix string) *tag {
	i := int(n - idCount)
	for len(w.chosen) <= i {
		w.chosen = slices.Grow(w.chosen, 1)[:len(w.chosen)+1]
		w.chosen[len(w.chosen)-1].valid = false
	}
	t := &w.chosen[i]
	if t.prefix != prefix {
		head := prefix + ":"
		t.tag = tag{prefix: head[:len(prefix)], head: head}
	}
	t.valid = true
	return &t.tag
}

// ensure makes sure that a namespace of fields has a prefix, if possible a given one.
func (w *writer) ensure(n nsID, prefix string) {
	if n < idCount || w.tag(n).prefix != "" || w.choose(n, prefix) {
		return
	}
	if !w.invent(w.f.space(n)) { // beyond the room for extensions, or without a root
		w.bound = append(w.bound, markup.Binding{Prefix: "ns0" + strconv.Itoa(len(w.bound)), Space: w.f.space(n)})
	}
	w.setTag(n, w.bound[len(w.bound)-1].Prefix)
}

// chose reports whether a namespace has a prefix that holds here.
func (w *writer) chose(n nsID) bool {
	i := int(n - idCount)
	return !w.alone && i < len(w.chosen) && w.chosen[i].valid && (len(w.local) == 0 || !w.hides(w.chosen[i].prefix))
}

// choose makes a prefix the one of a namespace, and reports whether that can be done.
func (w *writer) choose(n nsID, prefix string) bool {
	if !w.binds(prefix, w.f.space(n)) {
		return false
	}
	w.setTag(n, prefix)
	return true
}

// prefixOf returns the prefix that the root element declares for a namespace; empty where it declares none.
func (w *writer) prefixOf(space string) string {
	for i := range w.bound {
		if w.bound[i].Space == space {
			return w.bound[i].Prefix
		}
	}
	return ""
}

// binds reports whether the root element declares a prefix for a namespace, or can be made to.
func (w *writer) binds(prefix, space string) bool {
	if prefix == "" {
		return space == w.home && !w.alone
	}
	if w.alone || len(w.local) > 0 && w.hides(prefix) {
		return false
	}
	for id := range tags {
		if tags[id].prefix == prefix {
			if spaces[id] == space {
				w.used[id] = true
				return true
			}
			return false
		}
	}
	for i := range w.bound {
		if b := &w.bound[i]; b.Prefix == prefix {
			return b.Space == space
		}
	}
	if len(w.bound) >= w.room || !markup.IsNCName(prefix) || !markup.IsText(space) || space == markup.NSXMLNS || space == markup.NSXML || space == "" || strings.HasPrefix(prefix, "xml") {
		return false
	}
	w.bound = append(w.bound, markup.Binding{Prefix: prefix, Space: space})
	return true
}

// invent binds a prefix of its own to a namespace, and reports whether the root element has room for it.
func (w *writer) invent(space string) bool {
	for n := 1; !w.alone && n < maxBound && len(w.bound) < w.room; n++ {
		if w.binds("ns"+strconv.Itoa(n), space) {
			return true
		}
	}
	return false
}

// writesWith reports whether typed elements are written with a prefix, which then has no other meaning below the root.
func (w *writer) writesWith(prefix string) bool {
	return slices.ContainsFunc(tags[:], func(t tag) bool { return t.prefix == prefix }) ||
		slices.ContainsFunc(w.chosen, func(c chosen) bool { return c.valid && c.prefix == prefix })
}

// declareHere declares a prefix in the start tag that is being written.
func (w *writer) declareHere(prefix, space string) {
	w.b = markup.AppendBinding(w.b, prefix, space)
	w.local = append(w.local, markup.Binding{Prefix: prefix, Space: space})
}

// attrPrefix returns a prefix for the namespace of an attribute, and declares it where no element around it does.
func (w *writer) attrPrefix(a *Attr) string {
	space := a.Name.Space
	if id, misspelt := classify(space); id != idOther && !misspelt && !w.alone {
		if prefix := w.tag(id).prefix; prefix != "" {
			return prefix
		}
	}
	for _, b := range w.local {
		if b.Space == space {
			return b.Prefix
		}
	}
	if w.binds(a.prefix, space) {
		return a.prefix
	}
	if prefix := w.prefixOf(space); prefix != "" && !w.alone && !w.hides(prefix) {
		return prefix
	}
	if w.invent(space) {
		return w.bound[len(w.bound)-1].Prefix
	}
	prefix := a.prefix
	for n := 1; prefix == "" || w.writesWith(prefix) || w.hides(prefix) ||
		slices.ContainsFunc(w.bound, func(b markup.Binding) bool { return b.Prefix == prefix }); n++ {
		prefix = "ns" + strconv.Itoa(n)
	}
	w.declareHere(prefix, space)
	return prefix
}

// hides reports whether an element that is open declares a prefix itself.
func (w *writer) hides(prefix string) bool {
	for i := range w.local {
		if w.local[i].Prefix == prefix {
			return true
		}
	}
	return false
}
