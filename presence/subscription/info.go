package subscription

import (
	"time"

	"github.com/openblustar/blustar/sipx"
)

// Info describes a dialog at one moment.
type Info struct {
	Event    string   // the field value
	Contact  sipx.URI // of the watcher
	Flow     sipx.Flow
	UnderWay int // NOTIFYs without an outcome
	Expires  time.Time
}

// Info returns what a listing shows of the dialog.
func (d *Dialog) Info() Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Info{Event: d.common.Value().event, Contact: d.target.URI(), Flow: d.flow.Flow(), UnderWay: int(d.underWay), Expires: time.Unix(0, d.expires)}
}
