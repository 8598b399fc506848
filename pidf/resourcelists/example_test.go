package resourcelists_test

import (
	"fmt"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/resourcelists"
)

// Read the list in a SUBSCRIBE (RFC 5367).
func ExampleDecode() {
	r, err := resourcelists.Decode(pidf.Decoder{}, []byte(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
  <list><entry uri="sip:bill@example.com"/><list><entry uri="tel:200"/></list><entry-ref ref="somewhere"/></list>
</resource-lists>`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for e := range r.All() {
		fmt.Println(e.Kind, e.URI)
	}
	// Output:
	// entry sip:bill@example.com
	// entry tel:200
	// entry-ref somewhere
}
