package pidf

import (
	"bytes"
	"cmp"
	"strconv"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// Dialect is one of the two ways to write a presence document. They differ in identifiers, device names and times.
type Dialect int

const (
	// StandardDialect, the zero value, writes what the schemas of the RFCs validate: identifiers are unique NCNames, and
	// each device has a deviceID, its ID where it has no other. A person whose ID is the entity gets "person". A time
	// that was read and not changed is written as it was.
	StandardDialect Dialect = iota

	// BluStarDialect writes what the interface description of BluStar prints: identifiers as they are ("global service",
	// "tel:2719", the entity), a deviceID only where there is one, and times in UTC to the second.
	BluStarDialect
)

// String returns "blustar" or "standard".
func (d Dialect) String() string {
	if d == StandardDialect {
		return "standard"
	}
	return "blustar"
}

// id lists an identifier. Otherwise is what the Standard dialect writes for an empty one; empty where the attribute is
// optional.
func (f *Fields) id(v *string, otherwise string) {
	if *v != "" || otherwise != "" || !f.spare {
		f.identity(v, otherwise)
	}
}

func (f *Fields) identity(v *string, otherwise string) {
	f.i++
	var r Rule
	if otherwise != "" {
		r = Need
	}
	switch {
	case f.w != nil && f.w.timeless && otherwise == "":
	case f.mode == validating:
		f.v.id(f, *v, r&Need != 0)
	case f.mode != writing:
		if f.mode != readChild && f.mode != readText {
			f.attr("id", v, r, nil)
		}
	case otherwise == "person" && *v == f.w.entity && *v != "" && f.w.dialect == StandardDialect:
		f.w.raw(` id="`)
		f.w.uniqueID("", otherwise)
		f.w.raw(`"`)
	case f.spare && f.w.dialect == BluStarDialect:
		f.w.attr("id", *v)
	case f.w.dialect == BluStarDialect:
		f.writeAttr("id", v, r, nil)
	case r&Need != 0 || *v != "":
		f.w.raw(` id="`)
		f.w.uniqueID(*v, otherwise)
		f.w.raw(`"`)
	}
}

// deviceID lists the name of a device across documents, for which the Standard dialect has its ID otherwise.
func (f *Fields) deviceID(v *string, id string) {
	switch {
	case f.mode == writing && *v == "" && f.w.dialect == StandardDialect:
		id = cmp.Or(id, "urn:device:unknown")
		v = &id
	case f.mode == validating && *v == "" && f.v.dialect == StandardDialect && f.x.leaf("deviceID") == nil:
		f.v.report("deviceID", "missing")
	}
	f.Leaf("deviceID", v, 0)
}

// identifiers remembers the NCNames (xs:ID) that were written to a document.
type identifiers struct {
	used     []span              // where they stand
	next     map[string]int      // the suffix to try next for each, once there are many
	reserved map[string]struct{} // those that extensions have
}

type span struct{ from, to int }

// manyIdentifiers is where an index becomes cheaper than looking at each.
const manyIdentifiers = 32

// uniqueID appends id where it is an NCName that the document does not have yet, otherwise one that resembles it.
// Otherwise is what an empty id becomes.
func (w *writer) uniqueID(id, otherwise string) {
	u := &w.ids
	from := len(w.b)
	w.b = markup.AppendNCName(w.b, id, otherwise)
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
	if _, ok := w.ids.reserved[string(name)]; ok {
		return true
	}
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

// reserve notes the identifiers in an extension, which no other element may have.
func (w *writer) reserve(e *Extension) {
	s := trusted(e.xml)
	if e.declare != nil {
		s.Bindings = append(s.Bindings, *e.declare...)
	}
	for s.Next() != markup.EOF {
		if s.Kind != markup.Start {
			continue
		}
		id, _ := classify(s.Name.Space)
		own := id == idRPID || id == idDataModel || id == idPIDF
		for i := range s.Attrs {
			a := &s.Attrs[i]
			if a.Local == "id" && (a.Prefix != "" || own) {
				if w.ids.reserved == nil {
					w.ids.reserved = make(map[string]struct{})
				}
				w.ids.reserved[markup.Trim(a.Value())] = struct{}{}
			}
		}
	}
}
