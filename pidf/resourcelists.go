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

// DecodeResourceLists reads a resource-lists document. See [Decoder.Decode] for what it tolerates and refuses.
func (c Decoder) DecodeResourceLists(data []byte) (*ResourceLists, error) {
	r := new(ResourceLists)
	warnings, err := c.document(data, idResourceLists, "resource-lists", &r.Extra, &r.prolog, &r.epilog, r.Fields)
	if err != nil {
		return nil, err
	}
	r.Warnings = warnings
	return r, nil
}

// AppendXML appends the document, without white space between elements, and returns the extended slice.
func (r *ResourceLists) AppendXML(dst []byte) []byte {
	w := newWriter(dst, BluStarDialect)
	w.document(idResourceLists, "resource-lists", &r.Extra, r.prolog, r.epilog, r.Fields)
	return w.done()
}

func (r *ResourceLists) Fields(f *Fields) {
	// Names of other namespaces are never taken for those of resource lists: entries are full of extensions.
	f.exact = true
	f.Any()
	Many(f, "list", &r.Lists)
	f.AnyEnd()
}

func (l *List) Fields(f *Fields) {
	f.Attr("name", &l.Name, Raw)
	f.AnyAttr()
	f.Note("display-name", &l.DisplayName)
	f.items(&l.Items)
}

// items lists what stands in a list in any order.
func (f *Fields) items(items *[]Item) {
	f.i++
	switch f.mode {
	case readAttrs:
		f.begin()
		fallthrough
	case readChild:
		for f.item(items) {
			f.advance()
		}
	case counting:
		f.n += len(*items)
	case writing:
		for _, item := range *items {
			switch {
			case item.Entry != nil:
				f.child(item.Entry.Kind.String(), item.Entry)
			case item.List != nil:
				f.child("list", item.List)
			}
		}
	}
}

// item reads an item, and reports whether the current child was none.
func (f *Fields) item(items *[]Item) (dealt bool) {
	var item Item
	switch f.name {
	case "list":
		one(f, f.name, &item.List, 0)
	case Direct.String():
		item.Entry = &Entry{Kind: Direct}
	case Reference.String():
		item.Entry = &Entry{Kind: Reference}
	case External.String():
		item.Entry = &Entry{Kind: External}
	default:
		return false
	}
	if item.Entry != nil && f.claim(false, false) {
		f.read(&item.Entry.Extra, item.Entry.Fields)
	}
	if f.done == taken {
		*items = append(*items, item)
	}
	f.seen &^= f.bit()
	return f.done != unknown
}

func (e *Entry) Fields(f *Fields) {
	r := Need
	if e.Kind == External {
		r = 0
	}
	f.Attr(e.Kind.attribute(), &e.URI, r)
	f.AnyAttr()
	f.Note("display-name", &e.DisplayName)
}
