package related_test

import (
	"fmt"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/related"
	"github.com/openblustar/blustar/pidf/rlmi"
)

// Write the body of a NOTIFY for a list subscription (RFC 4662).
func Example() {
	bill := (&pidf.Presence{Entity: "sip:bill@example.com"}).Append(nil, pidf.StandardDialect)
	r := related.Message{
		Start: "list@example.com",
		List: &rlmi.List{URI: "sip:friends@example.com", Version: 1, FullState: true, Resources: []rlmi.Resource{{
			URI:       "sip:bill@example.com",
			Instances: []rlmi.Instance{{ID: "1", State: "active", CID: "1@example.com"}},
		}}},
		Parts: []related.Part{{ID: "1@example.com", Type: pidf.TypePIDF, Body: bill}},
	}
	body, contentType := r.Append(nil)
	read, err := related.Decode(pidf.Decoder{}, contentType, body)
	if err != nil {
		fmt.Println(err)
		return
	}
	part, ok := read.Part(read.List.Resources[0].Instances[0].CID)
	fmt.Println(part.Type, ok)
	// Output: application/pidf+xml true
}
