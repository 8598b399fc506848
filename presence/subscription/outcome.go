package subscription

import (
	"errors"
	"strconv"
	"time"

	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/sipx"
)

// HandleResponse implements [sipx.ResponseHandler].
func (n *notification) HandleResponse(_ *sipx.Request, res *sipx.Response, err error) {
	s, room := n.showing, n.room
	if *n = (notification{}); cap(room) <= maxRoom {
		n.room = room[:0]
	}
	s.dialog.registry.free.Put(n)
	s.dialog.answered(s, res, err)
}

// answered takes the outcome of a NOTIFY, and goes on: with what is due, or with the end of the
// dialog.
func (d *Dialog) answered(s showing, res *sipx.Response, err error) {
	defer d.registry.sendDone()
	if res != nil {
		d.pulse.beat()
	}
	if s.last {
		if d.fetch {
			d.Drop() // until now it counts in the bounds
		}
		d.registry.observe(res, 0, err)
		return
	}
	d.mu.Lock()
	verdict := d.judge(res, err, s.at)
	d.underWay--
	d.answeredAt, d.answer = uint32(s.at/int64(time.Second)), 0
	if res != nil {
		d.answer, d.proven = int16(res.Status), true
	}
	news := false
	for w := s.shown.pop(); w != nil; w = s.shown.pop() {
		w.underWay = false
		switch {
		case verdict == notNow || verdict == missed:
			w.shown, w.again = false, true // the watcher has not taken it
		case verdict == delivered && res != nil && w.acked != w.digest:
			w.acked, news = w.digest, true
		}
		if w.again && verdict < silent && !w.removed {
			d.push(w)
		}
		w.again = false
	}
	if verdict == notNow || verdict == missed {
		d.listed = d.listed && !s.full
	}
	if news {
		d.changed(false)
	}
	lost := verdict >= silent && d.state == dialogActive
	if verdict >= silent {
		d.state = dialogEnded
	}
	goOn := verdict < silent && (d.due.first != nil || d.list || d.fetch || d.state != dialogActive)
	d.mu.Unlock()
	d.registry.observe(res, time.Duration(deadline.Now()-s.at), err)
	if goOn {
		d.mu.Lock()
		d.flushLocked()
	}
	if lost {
		cause := Refused
		if verdict == silent {
			cause = Silent
		}
		d.registry.ends.schedule(d, cause, outcome(res, err))
	}
}

// judge tells what the outcome of a NOTIFY means for its dialog. If the watcher said "not now", or
// was not reached, the dialog pauses: as long as the watcher asked for, and longer each time. After a
// minute without reaching the watcher the dialog is given up. A NOTIFY without an answer is sent
// again, if the client behind the dialog has answered another one meanwhile, or if this registry
// might not speak while it was under way. d.mu is held.
func (d *Dialog) judge(res *sipx.Response, err error, sentAt int64) verdict {
	v, wait := meaning(res, err)
	if v == silent && d.pulse.since(sentAt) ||
		(v == silent || v == unreachable) && !d.registry.maySpeak(deadline.Time(sentAt)) {
		v = missed
	}
	if v != unreachable {
		d.unreachable = 0
	} else if now := deadline.Now() / int64(time.Second); d.unreachable == 0 {
		d.unreachable = uint32(now)
	} else if now-int64(d.unreachable) > int64(maxUnreachable/time.Second) {
		return gone
	}
	if v != unreachable && v != notNow {
		d.tries = 0
		return v
	}
	if !d.pausing && d.state == dialogActive {
		d.tries = min(d.tries+1, 6)
		d.pausing = true
		d.wakeAfter(max(wait, min(time.Second<<d.tries, time.Minute)), false)
	}
	return notNow
}

// maxUnreachable is how long a watcher may be out of reach.
const maxUnreachable = time.Minute

func outcome(res *sipx.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	return strconv.Itoa(res.Status) + " " + res.ReasonPhrase()
}

// verdict is what the outcome of a NOTIFY means for its subscription.
type verdict int

const (
	delivered   verdict = iota // or refused so that another try does not help
	notNow                     // try again later
	unreachable                // try again later, for a minute
	missed                     // send it again: the client behind the dialog has answered another
	silent                     // no answer in time
	gone                       // the watcher has gone
)

// meaning tells what an outcome means (RFC 6665 §4.2.2, RFC 5057 §5.1), and how long to wait if
// it is notNow.
func meaning(res *sipx.Response, err error) (verdict, time.Duration) {
	switch {
	case errors.Is(err, sipx.ErrQueueFull):
		return notNow, time.Second
	case errors.Is(err, sipx.ErrStackClosed), errors.Is(err, sipx.ErrTooLarge):
		return delivered, 0
	case errors.Is(err, sipx.ErrTimeout):
		return silent, 0
	case errors.Is(err, sipx.ErrFlowClosed):
		return gone, 0
	case err != nil:
		return unreachable, 0
	case res.Status < 300:
		return delivered, 0
	}
	switch res.Status {
	case 404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604:
		return gone, 0
	}
	after, ok := sipx.Seconds(res.Header.Get("Retry-After"))
	if res.Status/100 == 5 || ok {
		return notNow, min(time.Duration(after)*time.Second, 5*time.Minute)
	}
	return delivered, 0
}
