package dialoginfo

import (
	"errors"

	"github.com/openblustar/blustar/pidf/aa"
)

var errTooManyDialogs = errors.New("dialoginfo: too many dialogs")

// calls is the table of a device's dialogs (RFC 4235 §4.3). The zero value is
// one of which nothing is known.
type calls struct {
	known   bool // a full document has come, and all since could be read
	version uint32
	byID    map[string]call
}

// apply takes a document, of a NOTIFY newer than those before. stale says that
// something was missed, so that the full state is needed. The table holds max
// calls at most; the error is about more, and leaves nothing known.
func (c *calls) apply(doc *document, max int) (stale bool, err error) {
	switch {
	case doc.full:
		*c = calls{known: true}
	case !c.known:
		return true, nil // changes to we do not know what
	case doc.version < c.version:
		return true, nil // RFC 4235 §4.3: not to be processed
	case doc.version-c.version > 1 || doc.missed > 0:
		stale = true
	}
	c.version = doc.version
	if c.byID == nil {
		c.byID = make(map[string]call)
	}
	for _, next := range doc.calls {
		last, again := c.byID[next.id]
		switch {
		case doc.full && (next.state == terminated || again && last.busy()):
			// Ended dialogs may stay in documents for a while, and those of several
			// telephones may share an id.
		case next.state == terminated:
			delete(c.byID, next.id)
		default:
			if next.direction == directionUnknown {
				next.direction = last.direction
			}
			c.byID[next.id] = next
		}
	}
	if len(c.byID) > max {
		c.forget()
		return true, errTooManyDialogs
	}
	return stale, nil
}

// forget makes the state unknown until a full document comes.
func (c *calls) forget() { *c = calls{} }

// line is the line state that the calls make.
func (c *calls) line() aa.LineState {
	if !c.known {
		return aa.LineUnknown
	}
	state := aa.LineIdle
	for _, call := range c.byID {
		if call.busy() {
			return aa.LineBusy
		}
		state = aa.LineRinging
	}
	return state
}

// busy reports whether a dialog that has not ended makes the device busy.
func (c call) busy() bool { return c.state == confirmed || c.direction == initiator }
