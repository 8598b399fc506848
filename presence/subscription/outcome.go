package subscription

import (
	"errors"
	"strconv"
	"time"

	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/sipx"
)

// answered takes the outcome of the NOTIFY of one resource.
func (w *Watch) answered(res *sipx.Response, err error) {
	d := w.dialog
	verdict, pause := d.judge(res, err, w.sentAt)
	d.mu.Lock()
	w.underWay = false
	again := w.again
	w.again = false
	verdict = d.again(verdict, pause, w.sentAt)
	if verdict == notNow || verdict == missed {
		w.shown, again = false, true // the watcher has not taken it
	}
	if again && verdict < silent && !w.removed {
		d.push(w)
	}
	if res != nil && w.acknowledged(verdict) {
		d.changed(false)
	}
	d.settled(res, err, verdict, w.sentAt)
}

// settled goes on after an outcome: with what is due, or with the end of the dialog. It is
// called with d.mu held, and releases it.
func (d *Dialog) settled(res *sipx.Response, err error, v verdict, sentAt int64) {
	d.underWay--
	d.answeredAt, d.answer = uint32(sentAt/int64(time.Second)), 0
	if res != nil {
		d.answer = int16(res.Status)
		d.proven = true
		d.pulse.beat()
	}
	lost := v >= silent && d.state == dialogActive
	if v >= silent {
		d.state = dialogEnded
	}
	goOn := v < silent && (d.due != nil || d.list || d.fetch || d.state != dialogActive)
	d.mu.Unlock()
	d.registry.observe(res, time.Duration(deadline.Now()-sentAt), err)
	if goOn {
		d.mu.Lock()
		d.flushLocked()
	}
	if lost {
		cause := Refused
		if v == silent {
			cause = Silent
		}
		d.registry.ends.push(d, cause, outcome(res, err))
	}
	d.registry.sendDone()
}

// again pauses a dialog if its watcher said "not now", or was not reached. The pause is as long
// as the watcher asked for, and longer each time. After a minute without reaching the watcher the
// dialog is given up. A NOTIFY without an answer is sent again, if the client behind the dialog
// has answered another one meanwhile. d.mu is held.
func (d *Dialog) again(v verdict, asked time.Duration, sentAt int64) verdict {
	if v == silent {
		if d.pulse.since(sentAt) {
			return missed
		}
		return silent
	}
	if v != unreachable {
		d.unreachable = 0
	} else if now := deadline.Now() / int64(time.Second); d.unreachable == 0 {
		d.unreachable = uint32(now)
	} else if now-int64(d.unreachable) > int64(maxUnreachable/time.Second) {
		return gone
	}
	switch {
	case v != unreachable && v != notNow:
		d.tries = 0
		return v
	case !d.pausing && d.state == dialogActive:
		d.tries = min(d.tries+1, 6)
		d.pausing = true
		d.wakeAfter(max(asked, min(time.Second<<d.tries, time.Minute)), false)
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

// judge tells what the outcome of a NOTIFY of this dialog means. If this registry might not
// speak while it was under way, the outcome says nothing of the watcher.
func (d *Dialog) judge(res *sipx.Response, err error, sentAt int64) (verdict, time.Duration) {
	if err != nil && !errors.Is(err, sipx.ErrFlowClosed) && !errors.Is(err, sipx.ErrTooLarge) && !d.registry.maySpeak(deadline.Time(sentAt)) {
		return missed, 0
	}
	return judge(res, err)
}

// judge tells what an outcome means (RFC 6665 §4.2.2, RFC 5057 §5.1), and how long to wait if
// it is notNow.
func judge(res *sipx.Response, err error) (verdict, time.Duration) {
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

// acknowledged notes the outcome of the newest NOTIFY of w. It reports whether the watcher now
// has something else than before. d.mu is held.
func (w *Watch) acknowledged(v verdict) bool {
	if v != delivered || w.acked == w.digest {
		return false
	}
	w.acked = w.digest
	return true
}
