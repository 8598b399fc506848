package client

import (
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/related"
	"github.com/openblustar/blustar/pidf/resourcelists"
	"github.com/openblustar/blustar/sipx"
)

// resourceList writes the body of a list subscription (§4.2, RFC 5367 §4).
func resourceList(addresses []string) []byte {
	return resourcelists.New(addresses...).AppendXML(nil)
}

// readList reads the documents of a list's NOTIFY (RFC 4662 §5): those of the
// instances that the list names, so that a stray part is none.
func readList(contentType string, body []byte) ([]document, *sipx.Response) {
	message, err := related.Decode(pidf.Decoder{}, contentType, body)
	if err != nil {
		return nil, sipx.Errorf(400, "bad list").Response()
	}
	var documents []document
	for _, resource := range message.List.Resources {
		for _, instance := range resource.Instances {
			part, ok := message.Part(instance.CID)
			if len(documents) == len(message.Parts) {
				return documents, nil // a part that is named twice
			}
			if !ok || sipx.MediaType(part.Type) != pidf.TypePIDF {
				continue // no state, or a list within the list
			}
			p, err := aa.Decode(part.Body)
			if err != nil {
				return nil, sipx.Errorf(400, "bad presence document in a list").Response()
			}
			if p.Entity == "" {
				p.Entity = resource.URI
			}
			documents = append(documents, document{p, part.Body})
		}
	}
	return documents, nil
}
