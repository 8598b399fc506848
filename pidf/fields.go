package pidf

import (
	"math"
	"slices"
	"time"

	"github.com/openblustar/blustar/pidf/internal/slab"
	"github.com/openblustar/blustar/pidf/internal/xsd"
)

// Element is an XML element with a Go type of its own. Its method Fields lists what the element holds, in the order of
// its schema. Decoding, encoding and validating all follow that one list. A type is an Element if
// it has the method Fields and embeds [Extra], which keeps what the list does not name.
type Element interface {
	Fields(f *Fields)
	extra() *Extra
}

// Rule is what a schema says about a field: a sum of these.
type Rule uint8

// The rules of a field. A value is optional, and space around it is no part of it, unless they say otherwise.
const (
	Need    Rule = 1 << iota // mandatory: Decode warns where it is missing, and an empty one is written
	Raw                      // white space is part of the value, as in xs:string
	Trim                     // space around the value is removed with a warning, although the type is xs:string
	Default                  // an empty one is written as the last value of the enumeration

	positive // the number is at least 1
	change   // a time of last change, which Equal leaves out
	qvalue   // a priority of RFC 3863
)

// Fields is what an [Element] lists its fields to. Fields come in the order of the schema: attributes first, then
// either the children or the text. The methods do nothing but note the field that their argument points to: do not
// read or change the element in Fields, nor list different fields on different calls.
//
// A field that is an enumeration has its values, separated by bars.
//
// The types of fields are *string, *int, **int, *uint32, *uint64, *bool, *time.Time and **time.Duration (in seconds).
type Fields struct {
	mode mode
	d    *decoder
	w    *writer
	v    *validator
	frame
	reading
	uris  []string // of the namespaces from idCount on
	found []string // counting: the names of the children, if they are wanted
	spare bool     // what is optional and not set can be left out: it leaves no trace, or reading has met the last child
	bare  bool     // writing: and there is nothing else than the fields
	list  bool     // counting: found is wanted
}

// mode is what happens to the fields that are listed.
type mode uint8

const (
	readAttrs  mode = iota // take the attributes of the start tag
	readText               // the text was read
	readChild              // read the children that are of the field
	readEnd                // note the mandatory fields that the document lacks
	writing                // write attributes, then children or the text
	counting               // count what writing will write
	validating             // check the rules
	clearing               // empty what a displaced child had filled
	judging                // say whether a text that could not be read is right all the same
)

// frame is the state of one element.
type frame struct {
	x     *Extra
	left  []Extension // writing: what is not written yet
	own   nsID        // namespace of the element
	ns    nsID        // of the fields that are listed next
	open  bool        // writing: the start tag is not finished; validating: any attribute may come
	exact bool        // reading: no other namespace is taken for that of a field
	i     int         // number of the field that is listed
	n     int         // typed children that were read or written
	allow bool        // writing: here is the place for extensions
}

// reading is what reading knows of one element besides.
type reading struct {
	name  string // local name of the child whose field is looked for; empty once it is found
	done  outcome
	once  bool   // the field that was found has room for one
	fresh bool   // the child is offered to all fields, from the first
	seen  uint64 // the fields that were there, one bit for each
	need  uint64 // the mandatory ones
	loose []loose
	value string // judging: the text
	bad   string // why the text could not be read

	foreign bool // an element of a Type, or in one
	single  bool // stay at the child that was read
}

type outcome uint8

const (
	unknown outcome = iota // no field for it
	refused                // its field did not take it
	taken                  // read
	moved                  // read or kept somewhere else
)

// loose is a child that was taken for a field although its namespace is another one, or it says nothing.
type loose struct {
	bit   uint64
	mark  mark
	n     int
	empty bool // it says nothing
}

// In says that the children that follow are in a namespace, which is written with a prefix unless that is taken.
// Without it they are in that of the element.
func (f *Fields) In(space, prefix string) {
	if f.ns = f.spaceID(space); f.mode == writing {
		f.w.prefixes.Ensure(f.ns, prefix)
	}
}

func (f *Fields) in(id nsID) { f.ns = id }

// Exact says that the children of the element, and of those in it, are not in other namespaces than theirs by mistake.
func (f *Fields) Exact() { f.exact = true }

// spaceID returns the number of a namespace. Those that have no id have one that is good for this f.
func (f *Fields) spaceID(space string) nsID {
	if i := slices.Index(f.uris, space); i >= 0 {
		return idCount + nsID(i)
	}
	if id, _ := classify(space); id != idOther {
		return id
	}
	f.uris = append(f.uris, space)
	return idCount + nsID(len(f.uris)-1)
}

// space returns the namespace of a number.
func (f *Fields) space(id nsID) string {
	if id >= idCount {
		return f.uris[id-idCount]
	}
	return namespaces[id].Space
}

// Any says where the schema has its place for extensions: from here to [Fields.AnyEnd]. Without it, that is behind all
// fields.
func (f *Fields) Any() { f.allow = true }

// AnyEnd says where the place for extensions ends.
func (f *Fields) AnyEnd() {
	f.allow = false
	if !f.bare && len(f.left) > 0 {
		f.writeAny()
	}
}

// AnyAttr says that the schema allows other attributes.
func (f *Fields) AnyAttr() {
	if f.mode == validating {
		f.open = true
	}
}

// passes counts a child that is surely not the one that is looked for: mostly the length of the name tells.
func (f *Fields) passes(name string, r Rule) bool {
	if f.mode != readChild || len(f.name) == len(name) || r&Need != 0 {
		return false
	}
	f.i++
	return true
}

// skip counts a child, and reports whether it is not the one that is looked for. The first begins with the children.
func (f *Fields) skip(name string, r Rule) bool {
	if f.i++; f.mode == readAttrs {
		f.begin()
	}
	f.needs(r)
	return f.mode <= readChild && f.name != name
}

// needs notes a mandatory child, for the end.
func (f *Fields) needs(r Rule) {
	switch {
	case r&Need == 0:
	case f.spare: // those before were not counted
		f.need = math.MaxUint64
	default:
		f.need |= f.bit()
	}
}

// short reports whether a field is written that leaves no trace if it is not set.
func (f *Fields) short() bool { return f.spare && f.mode == writing }

// Attr lists an attribute without a namespace, or xml:lang.
func (f *Fields) Attr(name string, v any, r Rule, values ...string) {
	if f.i++; f.mode == readChild || f.spare && r&Need == 0 && isEmpty(v) {
		return
	}
	f.attr(name, v, r, values)
}

// Text lists the text of the element, which then has no children.
func (f *Fields) Text(v any, r Rule, values ...string) {
	switch f.mode {
	case readAttrs:
		f.readText(v, r, values)
	case writing:
		f.writeText(v, r, values)
	case validating:
		f.v.value("", v, r, values)
	case judging:
		// A string takes any text: it was an element that it could not take.
		if _, isString := v.(*string); !isString && allows(v, f.value, r, values) {
			f.value = ""
		}
	}
}

// Leaf lists a child that is a text, and that may come once.
func (f *Fields) Leaf(name string, v any, r Rule, values ...string) {
	if p, ok := v.(*string); !ok || !f.short() {
		f.listLeaf(name, v, r, values)
	} else if *p != "" {
		f.text(name, *p)
	} else if r&Need != 0 {
		f.text(name, r.otherwise(values))
	}
}

func (f *Fields) listLeaf(name string, v any, r Rule, values []string) {
	if f.skip(name, r) {
		return
	}
	f.leaf(name, v, r, values)
	for f.again(name) {
		f.leaf(name, v, r, values)
	}
}

// Flag lists a child that says yes by being there.
func (f *Fields) Flag(name string, v *bool) {
	if f.skip(name, 0) {
		return
	}
	switch f.mode {
	case readChild:
		f.readFlag(name, v)
		for f.again(name) {
			f.readFlag(name, v)
		}
	case writing, counting:
		if *v && f.next(name) {
			f.w.leaf(f.ns, name, f.x.leaf(name), "")
		}
	}
}

// Time lists the time of the last change, a child called timestamp.
func (f *Fields) Time(v *time.Time) {
	if (!f.spare || !v.IsZero()) && !f.passes("timestamp", change) {
		f.time(v)
	}
}

func (f *Fields) time(v *time.Time) {
	switch {
	case !f.short():
		f.listLeaf("timestamp", v, change, nil)
	case !f.w.timeless:
		b, from := f.start("timestamp")
		f.w.end(xsd.AppendTime(append(b, '>'), *v), b[from:])
	}
}

// Notes lists texts for humans.
func (f *Fields) Notes(name string, v *[]Note) {
	if (!f.spare || len(*v) > 0) && !f.passes(name, 0) {
		f.notes(name, v)
	}
}

func (f *Fields) notes(name string, v *[]Note) {
	if f.short() {
		for i := range *v {
			f.writeNote(name, &(*v)[i])
		}
		return
	}
	if f.skip(name, 0) {
		return
	}
	switch f.mode {
	case readChild:
		for more := true; more; more = f.again(name) {
			var n Note
			if f.claim(false, false) && f.readNote(&n) {
				*v = slab.Append(f.d.memory, *v, n)
			}
		}
	default:
		for i := range *v {
			f.note(name, &(*v)[i])
		}
	}
}

// Note lists a text for humans that may come once.
func (f *Fields) Note(name string, v **Note) {
	if f.skip(name, 0) {
		return
	}
	switch {
	case f.mode == readChild:
		for more := true; more; more = f.again(name) {
			if !f.claim(true, *v != nil) {
				continue
			}
			if n := new(Note); f.readNote(n) {
				*v = n
			}
		}
	case *v == nil:
	default:
		f.note(name, *v)
	}
}

func (f *Fields) note(name string, n *Note) {
	switch f.mode {
	case counting:
		f.next(name)
	case writing:
		f.writeNote(name, n)
	case validating:
		f.v.note(name, n)
	}
}

// needed says whether a mandatory field that is not there is to be written, and notes at the end of an element that
// the document lacks it.
func (f *Fields) needed(name string, r Rule) bool {
	if r&Need == 0 {
		return false
	}
	switch f.mode {
	case readEnd:
		if f.seen&f.bit() == 0 {
			f.lack(name)
		}
		return false
	case validating:
		f.v.report(name, "missing")
		return false
	}
	return !f.missing()
}

func (f *Fields) bit() uint64 { return 1 << (f.i & 63) }

// missing reports whether the document that the element was read from lacked the field.
func (f *Fields) missing() bool { return f.x.hidden != nil && f.x.hidden.missing&f.bit() != 0 }

func (f *Fields) lack(name string) {
	f.x.hide().missing |= f.bit()
	f.d.warn(name + " missing")
}
