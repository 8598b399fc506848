// Package prefixes gives the namespaces of a document that is written their prefixes. Some have one of their own. Those
// of extensions keep the one that they came with, if it is free, and are declared once, at the root, up to Most of
// them.
package prefixes

import (
	"slices"
	"strconv"
	"strings"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// Most bounds the prefixes that the root element declares for extensions, so that a decoder with the default limits
// takes the document. Others are declared where they are used.
const Most = 32

// Fixed is a namespace with a prefix of its own.
type Fixed struct {
	Space       string
	Head        string // the prefix and a colon; empty for none
	Declaration string // of the prefix, with a space before it
}

func (x *Fixed) prefix() string { return x.Head[:max(0, len(x.Head)-1)] }

// Table is the prefixes of one document, whose namespaces have numbers.
type Table struct {
	Fixed []Fixed                // by number
	Space func(markup.ID) string // returns the namespace of any other number

	home  markup.ID // the default namespace
	alone bool      // there is no root to declare prefixes at
	heads []head    // by number
	bound []markup.Binding
	room  int              // how many more than the fixed ones may be bound
	local []markup.Binding // what the elements that are open declare themselves
	text  []byte           // the declarations of the document before
	guess int              // how much of this one are those
}

// head is what stands before the names of elements in a namespace.
type head struct {
	text  string // that of the document before, where it is not known: mostly they are the same
	known bool
}

// Root begins a document with a default namespace, and with room for that many declarations.
func (t *Table) Root(home markup.ID, room int) { t.home, t.room = home, min(Most, room) }

// Alone begins an element that has a prefix for its namespace, and no root to declare any at.
func (t *Table) Alone(space string) {
	t.alone, t.bound = true, append(t.bound[:0], markup.Binding{Prefix: "ns0", Space: space})
}

// Clear makes the table ready for another document.
func (t *Table) Clear() {
	clear(t.bound)
	t.home, t.alone, t.bound, t.local, t.guess = 0, false, t.bound[:0], t.local[:0], 0
	for n := range t.heads {
		t.heads[n].known = false
	}
}

// Guess appends the declarations of the document before: mostly they are those of this one, too.
func (t *Table) Guess(doc []byte) []byte {
	t.guess = len(t.text)
	return append(doc, t.text...)
}

// Declare inserts the declarations of the prefixes that were used into a document, in place of the guess, if there was
// one.
func (t *Table) Declare(doc []byte, at int) []byte {
	if len(t.bound) > 1 {
		slices.SortFunc(t.bound, func(a, b markup.Binding) int { return strings.Compare(a.Prefix, b.Prefix) })
	}
	guess := t.guess
	t.guess = 0
	if t.same() {
		if guess == len(t.text) {
			return doc
		}
	} else {
		t.text = t.text[:0]
		for n := range t.Fixed {
			if t.knows(markup.ID(n)) {
				t.text = append(t.text, t.Fixed[n].Declaration...)
			}
		}
		for i := range t.bound {
			t.text = markup.AppendBinding(t.text, t.bound[i].Prefix, t.bound[i].Space)
		}
	}
	return slices.Replace(doc, at, at+guess, t.text...)
}

// same reports whether the document declares the same as the one before.
func (t *Table) same() bool {
	rest, ok := t.text, true
	cut := func(s string) {
		if ok = ok && len(rest) >= len(s) && string(rest[:len(s)]) == s; ok {
			rest = rest[len(s):]
		}
	}
	for n := range t.Fixed {
		if t.knows(markup.ID(n)) {
			cut(t.Fixed[n].Declaration)
		}
	}
	for i := range t.bound {
		cut(" xmlns:")
		cut(t.bound[i].Prefix)
		cut(`="`)
		cut(t.bound[i].Space)
		cut(`"`)
	}
	return ok && len(rest) == 0
}

// Declared returns what an element alone must declare.
func (t *Table) Declared() []markup.Binding {
	declare := t.bound
	for id := range t.Fixed {
		if x := &t.Fixed[id]; t.knows(markup.ID(id)) && x.Head != "" {
			declare = append(declare, markup.Binding{Prefix: x.prefix(), Space: x.Space})
		}
	}
	return declare
}

// Head returns what stands before the names of elements in a namespace: a prefix and a colon, or nothing.
func (t *Table) Head(n markup.ID) string {
	if int(n) < len(t.heads) && t.heads[n].known {
		return t.heads[n].text
	}
	return t.find(n)
}

func (t *Table) knows(n markup.ID) bool { return int(n) < len(t.heads) && t.heads[n].known }

func (t *Table) find(n markup.ID) string {
	switch {
	case int(n) < len(t.Fixed):
		return t.set(n, t.Fixed[n].prefix())
	case n == t.home:
		return t.set(n, "")
	}
	if prefix := t.prefixOf(t.Space(n)); prefix != "" {
		return t.set(n, prefix)
	}
	return ""
}

// set makes a prefix the one of a namespace.
func (t *Table) set(n markup.ID, prefix string) string {
	if len(t.heads) <= int(n) {
		t.heads = append(t.heads, make([]head, int(n)+1-len(t.heads))...)
	}
	h := &t.heads[n]
	switch {
	case prefix == "":
		h.text = ""
	case strings.TrimSuffix(h.text, ":") != prefix:
		h.text = prefix + ":"
	}
	h.known = true
	return h.text
}

// Ensure makes sure that elements of a namespace have a prefix, if possible a given one.
func (t *Table) Ensure(n markup.ID, prefix string) {
	if int(n) < len(t.Fixed) || t.Head(n) != "" || t.choose(n, prefix) {
		return
	}
	if !t.invent(t.Space(n)) { // beyond the room for extensions, or without a root
		t.bound = append(t.bound, markup.Binding{Prefix: "ns0" + strconv.Itoa(len(t.bound)), Space: t.Space(n)})
	}
	t.set(n, t.bound[len(t.bound)-1].Prefix)
}

// Take finds a prefix for an element, if possible one of two, and reports whether the root declares one that holds
// here.
func (t *Table) Take(n markup.ID, first, second string) bool {
	fixed := int(n) < len(t.Fixed)
	if fixed || t.alone {
		return fixed && !t.alone
	}
	if t.knows(n) && n != t.home && (len(t.local) == 0 || !t.hides(strings.TrimSuffix(t.heads[n].text, ":"))) {
		return true
	}
	return t.choose(n, first) || t.choose(n, second) || t.Head(n) != "" ||
		t.invent(t.Space(n)) && t.choose(n, t.bound[len(t.bound)-1].Prefix)
}

// choose makes a prefix the one of a namespace, and reports whether that can be done.
func (t *Table) choose(n markup.ID, prefix string) bool {
	if !t.Binds(prefix, t.Space(n)) {
		return false
	}
	t.set(n, prefix)
	return true
}

// prefixOf returns the prefix that the root element declares for a namespace; empty where it declares none.
func (t *Table) prefixOf(space string) string {
	for i := range t.bound {
		if t.bound[i].Space == space {
			return t.bound[i].Prefix
		}
	}
	return ""
}

// Binds reports whether the root element declares a prefix for a namespace, or can be made to.
func (t *Table) Binds(prefix, space string) bool {
	if t.alone || len(t.local) > 0 && prefix != "" && t.hides(prefix) {
		return false
	}
	if prefix == "" {
		return space == t.space(t.home)
	}
	for id := range t.Fixed {
		if x := &t.Fixed[id]; len(x.Head) == len(prefix)+1 && x.prefix() == prefix {
			if x.Space == space {
				t.set(markup.ID(id), prefix)
				return true
			}
			return false
		}
	}
	for i := range t.bound {
		if b := &t.bound[i]; b.Prefix == prefix {
			return b.Space == space
		}
	}
	if len(t.bound) >= t.room || !markup.IsNCName(prefix) || strings.HasPrefix(prefix, "xml") ||
		!markup.IsText(space) || space == markup.NSXMLNS || space == markup.NSXML || space == "" {
		return false
	}
	t.bound = append(t.bound, markup.Binding{Prefix: prefix, Space: space})
	return true
}

func (t *Table) space(n markup.ID) string {
	if int(n) < len(t.Fixed) {
		return t.Fixed[n].Space
	}
	return t.Space(n)
}

// invent binds a prefix of its own to a namespace, and reports whether the root element has room for it.
func (t *Table) invent(space string) bool {
	for n := 1; !t.alone && n < Most && len(t.bound) < t.room; n++ {
		if t.Binds("ns"+strconv.Itoa(n), space) {
			return true
		}
	}
	return false
}

// WritesWith reports whether typed elements are written with a prefix, which then has no other meaning below the root.
func (t *Table) WritesWith(prefix string) bool {
	for _, h := range t.heads {
		if h.known && h.text != "" && h.text[:len(h.text)-1] == prefix {
			return true
		}
	}
	return slices.ContainsFunc(t.Fixed, func(x Fixed) bool { return x.Head != "" && x.prefix() == prefix })
}

// Here notes that the start tag that is being written declares a prefix.
func (t *Table) Here(prefix, space string) {
	t.local = append(t.local, markup.Binding{Prefix: prefix, Space: space})
}

// Local returns how many prefixes are declared by the elements that are open.
func (t *Table) Local() int { return len(t.local) }

// Leave forgets those of them that an element declared, which has ended.
func (t *Table) Leave(local int) { t.local = t.local[:local] }

// Attr returns a prefix for an attribute, whose namespace has a number or 0, and whether no element around it declares
// that. It came with the one that is given.
func (t *Table) Attr(n markup.ID, space, prefix string) (_ string, here bool) {
	if n != 0 && !t.alone {
		if head := t.Head(n); head != "" {
			return strings.TrimSuffix(head, ":"), false
		}
	}
	for _, b := range t.local {
		if b.Space == space {
			return b.Prefix, false
		}
	}
	if t.Binds(prefix, space) {
		return prefix, false
	}
	if bound := t.prefixOf(space); bound != "" && !t.alone && !t.hides(bound) {
		return bound, false
	}
	if t.invent(space) {
		return t.bound[len(t.bound)-1].Prefix, false
	}
	for n := 1; prefix == "" || t.WritesWith(prefix) || t.hides(prefix) ||
		slices.ContainsFunc(t.bound, func(b markup.Binding) bool { return b.Prefix == prefix }); n++ {
		prefix = "ns" + strconv.Itoa(n)
	}
	return prefix, true
}

// hides reports whether an element that is open declares a prefix itself.
func (t *Table) hides(prefix string) bool {
	for i := range t.local {
		if t.local[i].Prefix == prefix {
			return true
		}
	}
	return false
}
