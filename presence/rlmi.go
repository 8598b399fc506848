package presence

import (
	"strconv"

	"github.com/openblustar/blustar/pidf/related"
	"github.com/openblustar/blustar/pidf/rlmi"
	"github.com/openblustar/blustar/presence/subscription"
)

// listWriter writes the state of a list as RFC 4662 §5 has it.
type listWriter struct{}

// Extension implements [subscription.ListWriter].
func (listWriter) Extension() string { return extEventList }

// WriteList implements [subscription.ListWriter].
func (listWriter) WriteList(l subscription.List) ([]byte, string) {
	info := &rlmi.List{URI: l.URI, Version: l.Version, FullState: l.Full}
	body := &related.Message{Start: "list." + l.ID, List: info}
	for i, e := range l.Entries {
		r := rlmi.Resource{URI: e.Entity}
		if e.Body != nil {
			cid := "r" + strconv.Itoa(i) + "." + l.ID
			r.Instances = []rlmi.Instance{{ID: "1", State: "active", CID: cid}}
			body.Parts = append(body.Parts, related.Part{ID: cid, Type: typePIDF, Body: e.Body})
		}
		info.Resources = append(info.Resources, r)
	}
	return body.Append(nil)
}
