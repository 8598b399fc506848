// Package rlmi reads and writes resource list meta-information (RLMI, RFC 4662 §5). Package pidf/related has the
// message that it comes in.
package rlmi

import "github.com/openblustar/blustar/pidf"

// The namespace and the media type of the documents.
const (
	Namespace = "urn:ietf:params:xml:ns:rlmi"
	MediaType = "application/rlmi+xml"
)

const misspelt = "urn:ietf:params:xml:ns:rmli" // what Kamailio writes

// List is a document: which resources a list
// subscription is about, and which part of the NOTIFY holds the state of each.
type List struct {
	URI       string      // of the list
	Version   uint32      // rises by one with each NOTIFY of a subscription
	FullState bool        // all resources are here, with their state
	CID       string      // Content-ID of a part that holds the state of the list itself; empty where absent
	Names     []pidf.Note // texts to show for the list
	Resources []Resource
	pidf.Root
}

// Resource is one member of a list.
type Resource struct {
	URI       string
	Names     []pidf.Note
	Instances []Instance
	pidf.Extra
}

// Instance is one source of a resource's state. Most resources have one.
type Instance struct {
	ID     string // unique in the resource
	State  string // of the subscription to it (RFC 4662 §5.5): "active", "pending" or "terminated"
	Reason string // why it is terminated, as in Subscription-State; empty where absent
	CID    string // Content-ID of the part that holds the state, without angle brackets; empty where there is none
	pidf.Extra
}

var kind = pidf.Type{Name: pidf.Name{Space: Namespace, Local: "list"}, Spellings: []string{misspelt},
	New: func() pidf.Element { return new(List) }}

// Type returns the kind of document that [List] is, for [pidf.Decoder.Read].
func Type() *pidf.Type { return &kind }

// Decode reads a document. See [pidf.Decoder.Decode] for what it tolerates and refuses.
func Decode(c pidf.Decoder, data []byte) (*List, error) {
	return pidf.ReadAs[*List](c, data, &kind)
}

// AppendXML appends the document, without white space between elements, and returns the extended slice.
func (l *List) AppendXML(dst []byte) []byte { return kind.Append(dst, l) }

func (l *List) Fields(f *pidf.Fields) {
	f.Attr("uri", &l.URI, pidf.Need)
	f.Attr("version", &l.Version, pidf.Need)
	f.Attr("fullState", &l.FullState, pidf.Need)
	f.Attr("cid", &l.CID, pidf.Raw)
	f.Notes("name", &l.Names)
	pidf.Many(f, "resource", &l.Resources)
}

func (r *Resource) Fields(f *pidf.Fields) {
	f.Attr("uri", &r.URI, pidf.Need)
	f.Notes("name", &r.Names)
	pidf.Many(f, "instance", &r.Instances)
}

func (i *Instance) Fields(f *pidf.Fields) {
	f.Attr("id", &i.ID, pidf.Need|pidf.Raw)
	f.Attr("state", &i.State, pidf.Need, "active|pending|terminated")
	f.Attr("reason", &i.Reason, pidf.Raw)
	f.Attr("cid", &i.CID, pidf.Raw)
}
