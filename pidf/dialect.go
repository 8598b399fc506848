package pidf

import (
	"cmp"

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
	if !f.spare || *v != "" || otherwise != "" {
		f.identity(v, otherwise)
	}
}

func (f *Fields) identity(v *string, otherwise string) {
	f.i++
	var r Rule
	if otherwise != "" {
		r = Need
	}
	switch w := f.w; {
	case w != nil && w.timeless && otherwise == "":
	case f.short() && w.dialect == BluStarDialect:
		w.b = markup.AppendQuoted(append(w.b, " id="...), *v)
	case f.mode == validating:
		f.v.id(f, *v, r&Need != 0)
	case f.mode != writing:
		f.attr("id", v, r, nil)
	case w.dialect == BluStarDialect:
		f.writeAttr("id", v, r, nil)
	case r&Need != 0 || *v != "":
		w.id(*v, otherwise)
	}
}

// id writes an identifier of the Standard dialect.
func (w *writer) id(id, otherwise string) {
	if otherwise == "person" && id == w.entity {
		id = ""
	}
	w.b = append(w.ids.Append(append(w.b, ` id="`...), id, otherwise), '"')
}

// deviceID lists the name of a device across documents, for which the Standard dialect has its ID otherwise.
func (f *Fields) deviceID(v *string, id string) {
	switch {
	case *v != "":
	case f.mode == writing && f.w.dialect == StandardDialect:
		if f.next("deviceID") {
			f.w.leaf(f.ns, "deviceID", f.x.leaf("deviceID"), cmp.Or(id, "urn:device:unknown"))
		}
		return
	case f.mode == validating && f.v.dialect == StandardDialect && f.x.leaf("deviceID") == nil:
		f.v.report("deviceID", "missing")
	}
	f.Leaf("deviceID", v, 0)
}

// reserve notes the identifiers in an extension, which no other element may have.
func (w *writer) reserve(e *Extension) {
	s := trusted(e.xml)
	if e.declare != nil {
		s.Bindings = append(s.Bindings, *e.declare...)
	}
	w.ids.ReserveAll(&s, func(e *markup.Name) bool {
		id, _ := classify(e.Space)
		return id == idRPID || id == idDataModel || id == idPIDF
	})
}
