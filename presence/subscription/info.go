package subscription

import (
	"time"

	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/sipx"
)

// Info describes a dialog at one moment.
type Info struct {
	Event    string   // the field value
	Contact  sipx.URI // of the watcher
	Flow     sipx.Flow
	UnderWay int // NOTIFYs without an outcome
	Expires  time.Time
	// Notified is when the last NOTIFY was sent of which the outcome is known, to the second;
	// zero before there is one. Answer is its status code, 0 where no answer came.
	Notified time.Time
	Answer   int
}

// Info returns what a listing shows of the dialog.
func (d *Dialog) Info() Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := Info{
		Event: d.common.Value().event, Contact: d.target.URI(), Flow: d.flow.Flow(), UnderWay: int(d.underWay), Expires: deadline.Wall(deadline.Time(d.expires)),
		Answer: int(d.answer),
	}
	if d.answeredAt != 0 {
		i.Notified = deadline.Wall(deadline.Time(int64(d.answeredAt) * int64(time.Second)))
	}
	return i
}
