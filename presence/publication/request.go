package publication

import (
	"errors"
	"time"

	"github.com/openblustar/blustar/pidf/aa"
)

// Rule says who may change a publication, and what its entity-tag does.
type Rule uint8

// Rules.
const (
	Separate   Rule = iota // one for each entity-tag, which is a new one each time (RFC 3903 §6)
	Shared                 // one for all clients of a user, whose entity-tag stays (§2.4, §2.8)
	Forwarding             // where the user's calls go (§4.3): one for each user
)

// Errors of a [Store].
var (
	ErrNoMatch   = errors.New("publication: no such entity-tag")                      // RFC 3903 §6: 412
	ErrNothing   = errors.New("publication: nothing is published")                    // a refresh of nothing: 400
	ErrOvertaken = errors.New("publication: a newer request has overtaken this one")  // 500, as RFC 3261 §12.2.2 does
	ErrTooMany   = errors.New("publication: too many publications of one presentity") // 403
	ErrTooLarge  = errors.New("publication: too much is published of one presentity") // 413
)

// Said is what a publication says.
type Said struct {
	Status    aa.Status // Shared
	Note      string
	KeepNote  bool // Shared: it does not speak of a note, and leaves it as it is
	Timestamp time.Time
	Body      []byte // Separate
	Reading   any    // Separate: what the host has read of it; nil: Config.Read does
	Target    string // Forwarding
}

// Request is a PUBLISH.
type Request struct {
	Presentity string
	Address    string // of the presentity, for the record
	Owner      string
	Rule       Rule
	IfMatch    string // SIP-If-Match; empty where there is none
	Expires    time.Time
	Said       *Said // nil for a refresh, or where nothing that it says counts
	// Body tells that the request had a body, of which nothing counts where Said is
	// nil. By the Shared rule it makes a publication, or prolongs that which is there.
	Body   bool
	CallID string
	CSeq   uint32
}
