package pidf

import (
	"bytes"
	"slices"
	"strconv"
	"time"
)

const xmlDeclaration = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// AppendXML appends the document in the BluStar dialect, without white space between elements, and returns the
// extended slice. The result is well-formed UTF-8 whatever the values hold.
func (p *Presence) AppendXML(dst []byte) []byte { return p.Append(dst, BluStarDialect) }

// Append appends the document in a dialect, as AppendXML does.
func (p *Presence) Append(dst []byte, d Dialect) []byte {
	if dst == nil {
		dst = make([]byte, 0, p.sizeHint())
	}
	w := writer{b: dst, dialect: d}
	w.document(p)
	return w.b
}

// sizeHint returns about how many bytes the document takes, rather too many than too few for one as BluStar writes.
func (p *Presence) sizeHint() int {
	n := 512 + 160*len(p.Tuples) + 256*len(p.Devices) + 768*len(p.Persons)
	for i := range p.Persons {
		if b := p.Persons[i].BluStar; b != nil {
			n += 512 * len(b.Calendar)
		}
	}
	return n
}

// writer appends elements to b.
type writer struct {
	b        []byte
	dialect  Dialect
	entity   string // of the document
	timeless bool   // leave timestamps out, for comparisons
	ids      identifiers
	cuts     []int // for a template: where the entity goes; nil otherwise, and then nothing is cut
	cutting  bool
}

// extras are the extensions of one element while its typed children are written.
type extras struct {
	left []Extension
	n    int // typed children written
}

// next is to be called before each typed child: it writes the extensions that come before it.
func (w *writer) next(e *extras) {
	for len(e.left) > 0 && e.left[0].place <= e.n+1 {
		w.b = append(w.b, e.left[0].xml...)
		e.left = e.left[1:]
	}
	e.n++
}

// rest writes the extensions behind the last typed child.
func (w *writer) rest(e *extras) {
	for _, x := range e.left {
		w.b = append(w.b, x.xml...)
	}
}

func (w *writer) raw(s string) { w.b = append(w.b, s...) }

// attr writes an attribute that may be empty.
func (w *writer) attr(name, v string) {
	w.b = append(w.b, ' ')
	w.b = append(w.b, name...)
	w.b = append(w.b, '=', '"')
	w.b = appendAttr(w.b, v)
	w.b = append(w.b, '"')
}

// optional writes an attribute unless it is empty.
func (w *writer) optional(name, v string) {
	if v != "" {
		w.attr(name, v)
	}
}

func (w *writer) timeAttr(name string, t time.Time) {
	if t.IsZero() {
		return
	}
	w.b = append(w.b, ' ')
	w.b = append(w.b, name...)
	w.b = append(w.b, '=', '"')
	w.b = appendTime(w.b, t)
	w.b = append(w.b, '"')
}

// prefixFor returns the prefix that this package binds to a namespace at the root.
func prefixFor(space string) string {
	switch space {
	case NSDataModel:
		return "dm"
	case NSRPID:
		return "rpid"
	case NSBluStar:
		return "aa"
	}
	return ""
}

// attrs writes unknown attributes, the last thing of a start tag. Those in a namespace declare it themselves, under the
// prefix that they came with unless that one is taken. Root says that the element declares this package's prefixes.
// What only a host can have put there and would make the tag ill-formed is left out.
func (w *writer) attrs(as []Attr, root bool) {
	if len(as) == 0 {
		return
	}
	tag := bytes.LastIndexByte(w.b, '<') // none is in a value: there it is escaped
	var declared []binding
	for i := range as {
		a := &as[i]
		name := a.Name.Local
		if !isNCName(name) || name == "xmlns" || a.Name.Space == nsXMLNS || !isText(a.Name.Space) {
			continue
		}
		switch own := prefixFor(a.Name.Space); {
		case a.Name.Space == "":
		case a.Name.Space == NSXML:
			name = "xml:" + name
		case own != "" && root:
			name = own + ":" + name
		default:
			declared = w.declare(declared, a, own)
			for _, b := range declared {
				if b.space == a.Name.Space {
					name = b.prefix + ":" + name
					break
				}
			}
		}
		if !bytes.Contains(w.b[tag:], []byte(" "+name+`="`)) {
			w.attr(name, a.Value)
		}
	}
}

// declare writes the declaration of an attribute's namespace, unless that is among those of the element. Prefix is the
// one that this package uses for it, empty for most.
func (w *writer) declare(declared []binding, a *Attr, prefix string) []binding {
	if slices.ContainsFunc(declared, func(b binding) bool { return b.space == a.Name.Space }) {
		return declared
	}
	if prefix == "" {
		prefix = a.prefix
		taken := func() bool {
			return slices.ContainsFunc(declared, func(b binding) bool { return b.prefix == prefix })
		}
		for n := 1; prefix == "" || prefix == "dm" || prefix == "rpid" || prefix == "aa" || taken(); n++ {
			prefix = "ns" + strconv.Itoa(n)
		}
	}
	w.attr("xmlns:"+prefix, a.Name.Space)
	return append(declared, binding{prefix: prefix, space: a.Name.Space})
}

// leaf writes a text element, the nth of its name in x.
func (w *writer) leaf(x *Extra, tag, local string, nth int, text string) {
	w.b = append(w.b, '<')
	w.b = append(w.b, tag...)
	if x.leaves != nil {
		w.attrs(x.leaf(local, nth), false)
	}
	w.close(tag, text)
}

// close writes the end of a start tag, the text, and the end tag.
func (w *writer) close(tag, text string) {
	if text == "" {
		w.b = append(w.b, '/', '>')
		return
	}
	w.b = append(w.b, '>')
	w.b = appendEscaped(w.b, text)
	w.end(tag)
}

func (w *writer) end(tag string) {
	w.b = append(w.b, '<', '/')
	w.b = append(w.b, tag...)
	w.b = append(w.b, '>')
}

// timestamp writes a time of last change, which comparisons leave out.
func (w *writer) timestamp(e *extras, x *Extra, tag, local string, t time.Time) {
	if t.IsZero() || w.timeless {
		return
	}
	w.time(e, x, tag, local, t)
}

// time writes a time that is content.
func (w *writer) time(e *extras, x *Extra, tag, local string, t time.Time) {
	if t.IsZero() {
		return
	}
	w.next(e)
	w.b = append(w.b, '<')
	w.b = append(w.b, tag...)
	if x.leaves != nil {
		w.attrs(x.leaf(local, 0), false)
	}
	w.b = append(w.b, '>')
	w.b = appendTime(w.b, t)
	w.end(tag)
}

func (w *writer) note(tag string, n *Note) {
	w.b = append(w.b, '<')
	w.b = append(w.b, tag...)
	w.optional("xml:lang", n.Lang)
	if n.Extra != nil {
		w.attrs(n.Extra.Attrs, false)
	}
	w.close(tag, n.Text)
}

func (w *writer) notes(e *extras, tag string, notes []Note) {
	for i := range notes {
		w.next(e)
		w.note(tag, &notes[i])
	}
}

// hasTimestamp reports whether timestamp writes one.
func (w *writer) hasTimestamp(t time.Time) bool { return !t.IsZero() && !w.timeless }
