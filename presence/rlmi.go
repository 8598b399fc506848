package presence

import (
	"strconv"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/related"
	"github.com/openblustar/blustar/presence/subscription"
)

// rlmi writes the state of a list as RFC 4662 §5 has it.
type rlmi struct{}

// Extension implements [subscription.ListWriter].
func (rlmi) Extension() string { return extEventList }

// WriteList implements [subscription.ListWriter].
func (rlmi) WriteList(l subscription.List) ([]byte, string) {
	info := &pidf.ListInfo{URI: l.URI, Version: l.Version, FullState: l.Full}
	body := &related.Message{Start: "list." + l.ID, List: info}
	for i, e := range l.Entries {
		r := pidf.Resource{URI: e.Entity}
		if e.Body != nil {
			cid := "r" + strconv.Itoa(i) + "." + l.ID
			r.Instances = []pidf.Instance{{ID: "1", State: "active", CID: cid}}
			body.Parts = append(body.Parts, related.Part{ID: cid, Type: typePIDF, Body: e.Body})
		}
		info.Resources = append(info.Resources, r)
	}
	return body.Append(nil)
}
