package pidf

import "iter"

// ResourceLists is a document of named lists of resources (RFC 4826 §3), as a SUBSCRIBE or a list service carries it.
type ResourceLists struct {
	Lists []List
	Extra

	// Warnings says what the decoder tolerated. Encoding ignores it.
	Warnings []Warning

	prolog, epilog []Extension
}

// List is one list. Its items keep the order of the document.
type List struct {
	Name        string // unique among its siblings; empty where absent
	DisplayName *Note
	Items       []Item
	Extra
}

// Item is what a list holds: exactly one field is set.
type Item struct {
	Entry *Entry
	List  *List
}

// EntryKind says what an Entry is.
type EntryKind int

const (
	Direct    EntryKind = iota // <entry uri>: the resource itself
	Reference                  // <entry-ref ref>: a path to an entry elsewhere on the same XCAP root
	External                   // <external anchor>: a URI of a list elsewhere
)

// String returns the name of the element.
func (k EntryKind) String() string {
	switch k {
	case Reference:
		return "entry-ref"
	case External:
		return "external"
	}
	return "entry"
}

// attribute returns the attribute that holds the URI.
func (k EntryKind) attribute() string {
	switch k {
	case Reference:
		return "ref"
	case External:
		return "anchor"
	}
	return "uri"
}

// Entry is one resource, or a pointer to some.
type Entry struct {
	Kind        EntryKind
	URI         string // its uri, ref or anchor
	DisplayName *Note
	Extra
}

// All returns the entries of all lists in the order of the document, those of nested lists where these stand.
// References and externals are among them: their Kind tells.
func (r *ResourceLists) All() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for i := range r.Lists {
			if !r.Lists[i].all(yield) {
				return
			}
		}
	}
}

// All returns the entries of the list and of those nested in it, in the order of the document.
func (l *List) All() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) { l.all(yield) }
}

func (l *List) all(yield func(*Entry) bool) bool {
	for _, item := range l.Items {
		switch {
		case item.Entry != nil:
			if !yield(item.Entry) {
				return false
			}
		case item.List != nil && !item.List.all(yield):
			return false
		}
	}
	return true
}

// NewResourceLists returns a document with one list of these URIs, as RFC 5367 puts it into a request.
func NewResourceLists(uris ...string) *ResourceLists {
	l := List{Items: make([]Item, len(uris))}
	for i, uri := range uris {
		l.Items[i].Entry = &Entry{URI: uri}
	}
	return &ResourceLists{Lists: []List{l}}
}

// DecodeResourceLists reads a resource-lists document with the default limits. See [Decoder.Decode] for what it
// tolerates and refuses.
func DecodeResourceLists(data []byte) (*ResourceLists, error) {
	return Decoder{}.DecodeResourceLists(data)
}

// DecodeResourceLists reads a resource-lists document.
func (c Decoder) DecodeResourceLists(data []byte) (*ResourceLists, error) {
	d := newDecoder(c.Limits)
	r := new(ResourceLists)
	if !d.load(data) {
		return nil, d.err
	}
	var ok bool
	if r.prolog, ok = d.root("resource-lists", idResourceLists, NSResourceLists); !ok {
		return nil, d.err
	}
	r.Attrs = d.takeRest()
	n := 0
	for d.child(&r.Extra, n) {
		switch {
		case d.name.local == "list" && d.is(idResourceLists):
			r.Lists = append(r.Lists, List{})
			d.list(&r.Lists[len(r.Lists)-1])
			n++
		default:
			d.keep(&r.Extra, n)
		}
	}
	if r.epilog = d.finish(); d.err != nil {
		return nil, d.err
	}
	r.Warnings = d.warnings
	return r, nil
}

func (d *decoder) list(l *List) {
	l.Name = d.takeString("name")
	l.Attrs = d.takeRest()
	n := 0
	for d.child(&l.Extra, n) {
		switch {
		case !d.isList():
			d.keep(&l.Extra, n)
			continue
		case d.name.local == "display-name" && l.DisplayName == nil:
			var name Note
			if d.note(&name) {
				l.DisplayName = &name
			} else {
				d.keep(&l.Extra, n)
				continue
			}
		case d.name.local == "list":
			inner := new(List)
			d.list(inner)
			l.Items = append(l.Items, Item{List: inner})
		case d.name.local == "entry":
			l.Items = append(l.Items, Item{Entry: d.entry(Direct)})
		case d.name.local == "entry-ref":
			l.Items = append(l.Items, Item{Entry: d.entry(Reference)})
		case d.name.local == "external":
			l.Items = append(l.Items, Item{Entry: d.entry(External)})
		default:
			d.keep(&l.Extra, n)
			continue
		}
		n++
	}
}

// isList reports whether the current element is one of resource lists. Those of other namespaces are never taken for
// them: entries are full of extensions.
func (d *decoder) isList() bool {
	return d.name.id == idResourceLists || d.name.id == idNone && d.unqualified
}

func (d *decoder) entry(kind EntryKind) *Entry {
	e := &Entry{Kind: kind}
	uri, ok := d.take(kind.attribute())
	if !ok {
		d.warn(kind.attribute() + " missing")
	}
	e.URI = trim(uri)
	e.Attrs = d.takeRest()
	n := 0
	for d.child(&e.Extra, n) {
		if d.isList() && d.name.local == "display-name" && e.DisplayName == nil {
			var name Note
			if d.note(&name) {
				e.DisplayName = &name
				n++
				continue
			}
		}
		if d.err == nil {
			d.keep(&e.Extra, n)
		}
	}
	return e
}

// AppendXML appends the document, without white space between elements, and returns the extended slice.
func (r *ResourceLists) AppendXML(dst []byte) []byte {
	w := writer{b: dst}
	w.prolog(r.prolog)
	w.raw(`<resource-lists xmlns="` + NSResourceLists + `"`)
	w.attrs(r.Attrs, false)
	w.raw(`>`)
	e := extras{left: r.placed(NSResourceLists, 0, len(r.Lists))}
	for i := range r.Lists {
		w.next(&e)
		w.list(&r.Lists[i])
	}
	w.rest(&e)
	w.raw(`</resource-lists>`)
	w.epilog(r.epilog)
	return w.b
}

func (w *writer) list(l *List) {
	w.raw(`<list`)
	w.optional("name", l.Name)
	w.attrs(l.Attrs, false)
	w.raw(`>`)
	n := count(l.DisplayName != nil) + len(l.Items)
	e := extras{left: l.placed(NSResourceLists, n, n)}
	if l.DisplayName != nil {
		w.next(&e)
		w.note("display-name", l.DisplayName)
	}
	for _, item := range l.Items {
		w.next(&e)
		switch {
		case item.Entry != nil:
			w.entry(item.Entry)
		case item.List != nil:
			w.list(item.List)
		}
	}
	w.rest(&e)
	w.raw(`</list>`)
}

func (w *writer) entry(en *Entry) {
	tag := en.Kind.String()
	w.raw(`<`)
	w.raw(tag)
	if en.URI != "" || en.Kind != External { // the one that its schema does not demand
		w.attr(en.Kind.attribute(), en.URI)
	}
	w.attrs(en.Attrs, false)
	if en.DisplayName == nil && len(en.Extensions) == 0 {
		w.raw(`/>`)
		return
	}
	w.raw(`>`)
	n := count(en.DisplayName != nil)
	e := extras{left: en.placed(NSResourceLists, n, n)}
	if en.DisplayName != nil {
		w.next(&e)
		w.note("display-name", en.DisplayName)
	}
	w.rest(&e)
	w.end(tag)
}
