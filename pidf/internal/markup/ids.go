package markup

import (
	"bytes"
	"strconv"
)

// IDs are the identifiers (xs:ID) that are written to a document: NCNames, and unique. The zero value has none.
type IDs struct {
	used     []span              // where they stand
	next     map[string]int      // the suffix to try next for each, once there are many
	reserved map[string]struct{} // what is not to be written
}

type span struct{ from, to int }

// manyIDs is where an index becomes cheaper than looking at each.
const manyIDs = 32

// Reserve keeps an identifier from being written.
func (u *IDs) Reserve(id string) {
	if u.reserved == nil {
		u.reserved = make(map[string]struct{})
	}
	u.reserved[id] = struct{}{}
}

// Reserved reports whether there are such.
func (u *IDs) Reserved() bool { return u.reserved != nil }

// Restart is for a document that is written again from its start.
func (u *IDs) Restart() { *u = IDs{reserved: u.reserved} }

// Empty returns none, in the same memory.
func (u *IDs) Empty() IDs { return IDs{used: u.used[:0]} }

// Append appends id to the document where it is an NCName that it does not have yet, otherwise one that resembles it.
// Otherwise is what an empty id becomes.
func (u *IDs) Append(doc []byte, id, otherwise string) []byte {
	from := len(doc)
	doc = AppendNCName(doc, id, otherwise)
	base := len(doc)
	if u.has(doc, doc[from:]) {
		n := max(2, u.next[string(doc[from:])])
		for u.has(doc, doc[from:]) {
			doc = append(doc[:base], '-')
			doc = strconv.AppendInt(doc, int64(n), 10)
			n++
		}
		if u.next != nil {
			u.next[string(doc[from:base])] = n
		}
	}
	if u.used == nil {
		u.used = make([]span, 0, 8)
	}
	u.used = append(u.used, span{from, len(doc)})
	switch {
	case u.next != nil:
		u.next[string(doc[from:])] = 2
	case len(u.used) == manyIDs:
		u.next = make(map[string]int, 2*manyIDs)
		for _, s := range u.used {
			u.next[string(doc[s.from:s.to])] = 2
		}
	}
	return doc
}

func (u *IDs) has(doc, name []byte) bool {
	if _, ok := u.reserved[string(name)]; ok {
		return true
	}
	if u.next != nil {
		_, ok := u.next[string(name)]
		return ok
	}
	for _, s := range u.used {
		if bytes.Equal(doc[s.from:s.to], name) {
			return true
		}
	}
	return false
}
