package presence

import (
	"strings"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/resourcelists"
	"github.com/openblustar/blustar/sipx"
)

// listOf reads the resource list in a SUBSCRIBE (BSP-4.2-1, BSP-4.2-2): the URIs
// in order, nested lists flattened, duplicates dropped. list tells whether there
// is one. An entry without a URI names nobody. A list may have none at all (RFC 4826
// §3.1) where one NOTIFY is for the whole list: then it may be empty.
func (s *Server) listOf(req *sipx.Request, mayBeEmpty bool) (uris []string, list bool, err error) {
	if len(req.Body) == 0 {
		if req.Header.HasToken("Require", extRecipientList) {
			return nil, false, sipx.Errorf(400, "recipient-list-subscribe without a list")
		}
		return nil, false, nil
	}
	if sipx.MediaType(req.Header.Get("Content-Type")) != typeResourceLists {
		return nil, false, unsupportedType(typeResourceLists)
	}
	lists, err := resourcelists.Decode(pidf.Decoder{}, req.Body)
	if err != nil {
		return nil, true, sipx.Errorf(400, "%v", err)
	}
	seen := make(map[string]bool)
	for entry := range lists.All() {
		if entry.Kind != resourcelists.Direct {
			return nil, true, sipx.Errorf(400, "resource-lists: %s is not supported", entry.Kind)
		}
		uri := strings.TrimSpace(entry.URI)
		key := watchKey(uri)
		if len(uri) > maxText {
			return nil, true, sipx.Errorf(400, "resource-lists: a uri of more than %d bytes", maxText)
		}
		if uri == "" || seen[key] {
			continue
		}
		if len(uris) == s.cfg.MaxList {
			return nil, true, sipx.Errorf(403, "a list of more than %d entries", s.cfg.MaxList)
		}
		seen[key] = true
		uris = append(uris, uri)
	}
	if len(uris) == 0 && !mayBeEmpty {
		return nil, true, sipx.Errorf(400, "resource-lists: no entry")
	}
	return uris, true, nil
}
