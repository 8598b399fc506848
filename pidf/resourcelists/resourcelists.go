// Package resourcelists reads and writes lists of resources (RFC 4826 §3), as a SUBSCRIBE or a list service carries
// them.
package resourcelists

import (
	"iter"

	"github.com/openblustar/blustar/pidf"
)

// The namespace and the media type of the documents.
const (
	Namespace = "urn:ietf:params:xml:ns:resource-lists"
	MediaType = "application/resource-lists+xml"
)

// Document is a document of named lists.
type Document struct {
	Lists []List
	pidf.Root
}

// List is one list. Its items keep the order of the document.
type List struct {
	Name        string // unique among its siblings; empty where absent
	DisplayName *pidf.Note
	Items       []Item
	pidf.Extra
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
	DisplayName *pidf.Note
	pidf.Extra
}

// All returns the entries of all lists in the order of the document, those of nested lists where these stand.
// References and externals are among them: their Kind tells.
func (r *Document) All() iter.Seq[*Entry] {
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

// New returns a document with one list of these URIs, as RFC 5367 puts it into a request.
func New(uris ...string) *Document {
	l := List{Items: make([]Item, len(uris))}
	for i, uri := range uris {
		l.Items[i].Entry = &Entry{URI: uri}
	}
	return &Document{Lists: []List{l}}
}

var kind = pidf.Type{Name: pidf.Name{Space: Namespace, Local: "resource-lists"},
	New: func() pidf.Element { return new(Document) }}

// Type returns the kind of document that [Document] is, for [pidf.Decoder.Read].
func Type() *pidf.Type { return &kind }

// Decode reads a document. See [pidf.Decoder.Decode] for what it tolerates and refuses.
func Decode(c pidf.Decoder, data []byte) (*Document, error) {
	return pidf.ReadAs[*Document](c, data, &kind)
}

// AppendXML appends the document, without white space between elements, and returns the extended slice.
func (r *Document) AppendXML(dst []byte) []byte { return kind.Append(dst, r) }

func (r *Document) Fields(f *pidf.Fields) {
	f.Exact() // entries are full of extensions
	f.Any()
	pidf.Many(f, "list", &r.Lists)
	f.AnyEnd()
}

func (l *List) Fields(f *pidf.Fields) {
	f.Attr("name", &l.Name, pidf.Raw)
	f.AnyAttr()
	f.Note("display-name", &l.DisplayName)
	pidf.Mixed(f, &l.Items, newItem, (*Item).element)
}

// newItem returns an item for an element of that name.
func newItem(name string) Item {
	switch name {
	case "list":
		return Item{List: new(List)}
	case Direct.String():
		return Item{Entry: new(Entry)}
	case Reference.String():
		return Item{Entry: &Entry{Kind: Reference}}
	case External.String():
		return Item{Entry: &Entry{Kind: External}}
	}
	return Item{}
}

func (i *Item) element() (name string, e pidf.Element) {
	switch {
	case i.Entry != nil:
		return i.Entry.Kind.String(), i.Entry
	case i.List != nil:
		return "list", i.List
	}
	return "", nil
}

func (e *Entry) Fields(f *pidf.Fields) {
	r := pidf.Need
	if e.Kind == External {
		r = 0
	}
	f.Attr(e.Kind.attribute(), &e.URI, r)
	f.AnyAttr()
	f.Note("display-name", &e.DisplayName)
}
