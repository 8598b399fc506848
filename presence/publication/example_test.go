package publication_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/openblustar/blustar/presence/publication"
)

// The store as the back end of a PUBLISH service of any event package: RFC 3903 §6 step
// by step.
func Example() {
	store, err := publication.NewStore(publication.Config{})
	if err != nil {
		panic(err)
	}
	defer store.Shutdown()

	answer := func(ifMatch, body string, expires time.Duration) (int, string) {
		if expires == 0 {
			if err := store.Remove("sip:tom@example.com", ifMatch); err != nil {
				return 412, ""
			}
			return 200, ""
		}
		r := publication.Request{Presentity: "sip:tom@example.com", IfMatch: ifMatch, Expires: time.Now().Add(expires)}
		if body != "" {
			r.Said = &publication.Said{Body: []byte(body)}
		}
		switch c, _, err := store.Publish(r); {
		case err == nil:
			return 200, c.ETag
		case errors.Is(err, publication.ErrNoMatch):
			return 412, ""
		case errors.Is(err, publication.ErrNothing):
			return 400, ""
		default:
			return 403, ""
		}
	}
	status, etag := answer("", "ringing", time.Hour)
	fmt.Println("initial:", status)
	status, refreshed := answer(etag, "", time.Hour)
	fmt.Println("refresh:", status, refreshed != etag)
	status, _ = answer(etag, "", time.Hour)
	fmt.Println("the old entity-tag:", status)
	status, _ = answer(refreshed, "", 0)
	fmt.Println("removal:", status, store.Len())
	// Output:
	// initial: 200
	// refresh: 200 true
	// the old entity-tag: 412
	// removal: 200 0
}
