package subscriber

import "time"

// An alarm is a timer that knows when it goes off.
type alarm struct {
	*time.Timer
	at time.Time // zero where it is stopped or has gone off
}

func newAlarm() alarm {
	t := time.NewTimer(0)
	t.Stop()
	return alarm{Timer: t}
}

func (a *alarm) set(d time.Duration) {
	a.at = time.Now().Add(max(d, 0))
	a.Reset(max(d, 0))
}

// sooner is set where the alarm would not go off before that.
func (a *alarm) sooner(d time.Duration) {
	if a.at.IsZero() || time.Until(a.at) > d {
		a.set(d)
	}
}

func (a *alarm) stop() {
	a.at = time.Time{}
	a.Stop()
}
