// Package watcherinfo reads and writes the documents that say who watches whom (RFC 3858).
package watcherinfo

import (
	"time"

	"github.com/openblustar/blustar/pidf"
)

// The namespace and the media type of the documents.
const (
	Namespace = "urn:ietf:params:xml:ns:watcherinfo"
	MediaType = "application/watcherinfo+xml"
)

// Document says who watches whom.
type Document struct {
	Version uint64 // rises by one with each document of a subscription
	Partial bool   // only what changed; otherwise all
	Lists   []List
	pidf.Root
}

// List is the watchers of one resource.
type List struct {
	Resource string // URI
	Package  string // event package, such as "presence"
	Watchers []Watcher
	pidf.Extra
}

// Watcher is one subscription.
type Watcher struct {
	URI    string
	ID     string // unique in the document, the same in all documents about this subscription
	Status string // where the subscription stands (RFC 3857 §4.7.1): "pending", "active", "waiting" or "terminated"
	// Event is what brought it there: "subscribe", "approved", "deactivated", "probation", "rejected", "timeout",
	// "giveup" or "noresource".
	Event              string
	DisplayName        string         // empty where absent
	Lang               string         // of DisplayName
	Expiration         *time.Duration // until it expires, written in whole seconds; nil where absent
	DurationSubscribed *time.Duration // since it began, likewise
	pidf.Extra
}

var kind = pidf.Type{Name: pidf.Name{Space: Namespace, Local: "watcherinfo"},
	New: func() pidf.Element { return new(Document) }}

// Type returns the kind of document that [Document] is, for [pidf.Decoder.Read].
func Type() *pidf.Type { return &kind }

// Decode reads a document. See [pidf.Decoder.Decode] for what it tolerates and refuses.
func Decode(c pidf.Decoder, data []byte) (*Document, error) {
	return pidf.ReadAs[*Document](c, data, &kind)
}

// AppendXML appends the document, without white space between elements, and returns the extended slice.
func (i *Document) AppendXML(dst []byte) []byte { return kind.Append(dst, i) }

// The values of enumerations.
const (
	statuses = "pending|active|waiting|terminated"
	events   = "subscribe|approved|deactivated|probation|rejected|timeout|giveup|noresource"
)

func (i *Document) Fields(f *pidf.Fields) {
	f.Attr("version", &i.Version, pidf.Need)
	f.Attr("state", &i.Partial, pidf.Need, "partial|full")
	pidf.Many(f, "watcher-list", &i.Lists)
}

func (l *List) Fields(f *pidf.Fields) {
	f.Attr("resource", &l.Resource, pidf.Need)
	f.Attr("package", &l.Package, pidf.Need|pidf.Raw)
	pidf.Many(f, "watcher", &l.Watchers)
}

func (w *Watcher) Fields(f *pidf.Fields) {
	f.Attr("id", &w.ID, pidf.Need|pidf.Raw)
	f.Attr("status", &w.Status, pidf.Need, statuses)
	f.Attr("event", &w.Event, pidf.Need, events)
	f.Attr("display-name", &w.DisplayName, pidf.Raw)
	f.Attr("xml:lang", &w.Lang, pidf.Raw)
	f.Attr("expiration", &w.Expiration, 0)
	f.Attr("duration-subscribed", &w.DurationSubscribed, 0)
	f.Text(&w.URI, 0)
}
