package pidf

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Dialect is one of the two ways to write a presence document. They differ in identifiers and device names alone.
type Dialect int

const (
	// BluStarDialect writes what the interface description prints: identifiers as they are ("global service",
	// "tel:2719", the entity), and a deviceID only where there is one.
	BluStarDialect Dialect = iota

	// StandardDialect writes what the schemas of the RFCs validate: identifiers are unique NCNames, and each
	// device has a deviceID, its ID where it has no other. A person whose ID is the entity gets "person".
	StandardDialect
)

// String returns "blustar" or "standard".
func (d Dialect) String() string {
	if d == StandardDialect {
		return "standard"
	}
	return "blustar"
}

// identifiers remembers the NCNames (xs:ID) that were written to a document.
type identifiers struct {
	used []span         // where they stand
	next map[string]int // the suffix to try next for each, once there are many
}

type span struct{ from, to int }

// manyIdentifiers is where an index becomes cheaper than looking at each.
const manyIdentifiers = 32

// uniqueID appends id where it is an NCName that the document does not have yet, otherwise one that resembles it.
// Otherwise is what an empty id becomes.
func (w *writer) uniqueID(id, otherwise string) {
	u := &w.ids
	from := len(w.b)
	w.b = appendNCName(w.b, id, otherwise)
	base := len(w.b)
	if w.hasID(w.b[from:]) {
		n := max(2, u.next[string(w.b[from:])])
		for w.hasID(w.b[from:]) {
			w.b = append(w.b[:base], '-')
			w.b = strconv.AppendInt(w.b, int64(n), 10)
			n++
		}
		if u.next != nil {
			u.next[string(w.b[from:base])] = n
		}
	}
	if u.used == nil {
		u.used = make([]span, 0, 8)
	}
	u.used = append(u.used, span{from, len(w.b)})
	switch {
	case u.next != nil:
		u.next[string(w.b[from:])] = 2
	case len(u.used) == manyIdentifiers:
		u.next = make(map[string]int, 2*manyIdentifiers)
		for _, s := range u.used {
			u.next[string(w.b[s.from:s.to])] = 2
		}
	}
}

func (w *writer) hasID(name []byte) bool {
	if w.ids.next != nil {
		_, ok := w.ids.next[string(name)]
		return ok
	}
	for _, s := range w.ids.used {
		if bytes.Equal(w.b[s.from:s.to], name) {
			return true
		}
	}
	return false
}

// appendNCName replaces what an NCName cannot hold by hyphens: "global service" becomes "global-service", "200" "_200".
func appendNCName(dst []byte, id, otherwise string) []byte {
	if id == "" {
		return append(dst, otherwise...)
	}
	for i, r := range id {
		switch {
		case i == 0 && !isNameStart(r):
			dst = append(dst, '_')
			if isNameInner(r) {
				dst = utf8.AppendRune(dst, r)
			}
		case isNameInner(r):
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, '-')
		}
	}
	return dst
}
