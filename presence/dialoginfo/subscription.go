package dialoginfo

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

const (
	// steady is how long a subscription must have lived for its end to be
	// answered with a new one at once; half of its lifetime is enough too.
	steady = 30 * time.Second
	// resyncPause is the least time between SUBSCRIBEs that ask for full state. It
	// doubles up to maxResync while none comes.
	resyncPause, maxResync = 5 * time.Second, 5 * time.Minute
	// minRetry and maxRetry bound the time between attempts to refresh.
	minRetry, maxRetry = 2 * time.Second, time.Minute
	// leaveTime is how long the end of a subscription may take.
	leaveTime = 5 * time.Second
	// inboxSize bounds the NOTIFYs of a subscription that wait while its update
	// function is running.
	inboxSize = 16
)

// A subscription is what one call of MonitorLine does: over as many dialogs in a
// row as it takes. All of it belongs to that call's goroutine, but for what is
// marked.
type subscription struct {
	m      *Monitor
	log    *slog.Logger
	target sipx.URI
	update func(presence.LineState)

	inbox chan notify   // filled with m.mu held
	wake  chan struct{} // holds a token where the subscription is in doubt
	flow  sipx.Flow     // guarded by m.mu: the connection of the last NOTIFY
	over  bool          // guarded by m.mu: nobody reads the inbox; the rest does not change any more

	dialog   *subscriber.Dialog // nil where there is none
	asks     time.Duration      // the lifetime to ask for
	granted  time.Duration      // what the last 2xx granted
	since    time.Time          // when the dialog began
	sent     time.Time          // when the last SUBSCRIBE was
	expires  time.Time          // when the dialog does, unless refreshed
	failures int                // of refreshes, in a row
	stale    bool               // full state is needed
	resyncs  int                // how often it was asked for, in a row
	calls    calls

	exchange *exchange // the SUBSCRIBE that is to be sent or under way, or nil
	outcome  chan outcome
	asking   bool // it was sent

	next  alarm // time for the next SUBSCRIBE
	first alarm // the first NOTIFY is overdue
}

// notify is a NOTIFY to be answered.
type notify struct {
	w   sipx.ResponseWriter
	req *sipx.Request
}

// outcome is what a [sipx.Sender] reports.
type outcome struct {
	req *sipx.Request
	res *sipx.Response
	err error
}

func newSubscription(m *Monitor, dn string, target sipx.URI, update func(presence.LineState)) *subscription {
	return &subscription{
		m: m, log: m.cfg.Logger.With("device", dn), target: target, update: update,
		inbox: make(chan notify, inboxSize),
		wake:  make(chan struct{}, 1),
		asks:  m.cfg.Expires,
		next:  newAlarm(), first: newAlarm(),
	}
}

// run keeps the subscription going until ctx ends, or something happens that
// RFC 6665 does not say how to go on from.
func (s *subscription) run(ctx context.Context) error {
	defer s.leave()
	s.subscribe()
	for {
		var turn chan<- struct{}
		if s.exchange != nil && !s.asking {
			turn = s.m.underWay
		}
		var err error
		select {
		case <-ctx.Done():
			return nil
		case turn <- struct{}{}:
			s.send()
		case o := <-s.outcome:
			err = s.answered(o)
		case n := <-s.inbox:
			err = s.notified(n)
		case <-s.next.C:
			s.subscribe()
		case <-s.first.C:
			err = ErrNoNotify
		case <-s.wake:
			if s.exchange == nil && s.dialog != nil {
				s.next.sooner(rand.N(s.m.spread()))
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// doubt says that the PBX may have forgotten the subscription. It is called from
// any goroutine.
func (s *subscription) doubt() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// subscribe has a SUBSCRIBE sent, once it is its turn: within the dialog, or one
// that opens a new one.
func (s *subscription) subscribe() {
	if s.exchange != nil {
		return
	}
	if s.dialog == nil {
		s.dialog = subscriber.NewDialog(s.target, s.m.cfg.Route)
		s.granted, s.since, s.failures = 0, time.Time{}, 0
		s.m.route(s.dialog.CallID(), s)
	}
	if s.stale {
		s.resyncs++
	}
	s.next.stop()
	s.exchange = newExchange(s.m, s.dialog, s.target, s.asks)
}

// send sends it, or sends it again.
func (s *subscription) send() {
	s.asking = true
	ch := make(chan outcome, 1)
	s.outcome, s.sent = ch, time.Now()
	s.m.cfg.Sender.Send(s.exchange.request(), sipx.ResponseHandlerFunc(
		func(req *sipx.Request, res *sipx.Response, err error) { ch <- outcome{req, res, err} }))
}

// finish ends the exchange, whether or not it has an outcome.
func (s *subscription) finish() {
	if s.asking {
		<-s.m.underWay
	}
	s.exchange, s.outcome, s.asking = nil, nil, false
}

// answered takes what the sender reported.
func (s *subscription) answered(o outcome) error {
	err := o.err
	if err == nil {
		var again bool
		if again, err = s.exchange.again(o.req, o.res); again {
			s.send()
			return nil
		}
	}
	x := s.exchange
	s.finish()
	switch {
	case err == nil:
		s.accepted(o.res, x)
		return nil
	case s.since.IsZero():
		return s.refused(err)
	}
	if failure, ok := errors.AsType[*StatusError](err); ok && subscriber.EndsDialog(failure.Status) {
		if failure.Status == 481 && s.hasLasted() {
			s.m.forgotten(s)
		}
		return s.again(err)
	}
	return s.retry(err)
}

// accepted takes a 2xx.
func (s *subscription) accepted(res *sipx.Response, x *exchange) {
	now := time.Now()
	s.asks, s.granted, s.failures = x.Expires, x.Granted(res), 0
	s.expires = now.Add(s.granted)
	if s.since.IsZero() {
		s.since = now
	}
	s.dialog.Accepted(res)
	s.next.set(subscriber.RefreshAfter(s.granted))
	if !s.dialog.Notified() {
		s.first.set(subscriber.TimerN)
	}
	s.resync() // the document that showed the need may be newer than the SUBSCRIBE
	if s.calls.known {
		s.report()
	}
}

// refused takes the failure of a SUBSCRIBE that was to open a dialog.
func (s *subscription) refused(err error) error {
	s.drop()
	if failure, ok := errors.AsType[*StatusError](err); ok {
		s.unknown()
		if failure.RetryAfter > 0 {
			s.wait(failure.RetryAfter, err)
			return nil
		}
	}
	return err
}

// retry takes the failure of a refresh after which the dialog goes on (RFC 6665
// §4.1.2.2): it is tried again for as long as it lasts. Where the PBX asks to
// wait for longer, a new one follows then.
func (s *subscription) retry(err error) error {
	if errors.Is(err, sipx.ErrStackClosed) {
		return err
	}
	pause := jitter(min(minRetry<<min(s.failures, 10), maxRetry))
	s.failures++
	asked := time.Duration(0)
	if failure, ok := errors.AsType[*StatusError](err); ok {
		asked = failure.RetryAfter
		pause = max(pause, asked)
	}
	switch expired := time.Now().Add(pause).After(s.expires); {
	case expired && asked > 0:
		s.drop()
		s.unknown()
		s.wait(asked, err)
		return nil
	case expired:
		return err
	}
	s.log.Warn("a subscription was not refreshed", "error", err, "pause", pause)
	s.next.set(pause)
	return nil
}

// again goes on with a new dialog after err has ended one: at once if that one
// had lasted, so that no failure can become a storm.
func (s *subscription) again(err error) error {
	lasted := s.hasLasted()
	s.drop()
	if !lasted {
		s.unknown()
		return err
	}
	s.log.Info("a subscription has ended, opening another", "error", err)
	s.subscribe()
	return nil
}

func (s *subscription) hasLasted() bool {
	return !s.since.IsZero() && time.Since(s.since) >= min(steady, s.granted/2)
}

// wait goes on with a new dialog after d.
func (s *subscription) wait(d time.Duration, err error) {
	d += rand.N(d/10 + time.Second) // at least what the PBX asked for
	s.log.Warn("a subscription has to wait", "error", err, "pause", d)
	s.next.set(d)
}

// drop forgets the dialog and the SUBSCRIBE that is under way.
func (s *subscription) drop() {
	s.finish()
	s.next.stop()
	s.first.stop()
	if s.dialog != nil {
		s.m.unroute(s.dialog.CallID())
		s.dialog = nil
	}
	s.calls.forget()
	s.stale, s.resyncs = false, 0
}

// resync has full state asked for, where it is needed: a refresh brings it
// (RFC 4235 §3.8). A PBX that does not send any is asked less and less often.
func (s *subscription) resync() {
	if s.stale && s.exchange == nil && !s.since.IsZero() {
		s.next.sooner(min(resyncPause<<min(s.resyncs, 10), maxResync) - time.Since(s.sent))
	}
}

// setStale says whether full state is needed. Once it has come, the next refresh
// is due when it was before.
func (s *subscription) setStale(stale bool) {
	if s.stale && !stale {
		s.resyncs = 0
		if s.exchange == nil && !s.since.IsZero() {
			s.next.set(subscriber.RefreshAfter(time.Until(s.expires)))
		}
	}
	s.stale = stale
}

// report tells the state and for how long it holds.
func (s *subscription) report() {
	s.update(presence.LineState{State: s.calls.line(), Lifetime: max(time.Until(s.expires), subscriber.MinRefresh)})
}

// unknown tells that nothing is known any more.
func (s *subscription) unknown() { s.update(presence.LineState{State: aa.LineUnknown}) }

// jitter spreads d over its last fifth.
func jitter(d time.Duration) time.Duration { return d*4/5 + rand.N(d/5+1) }

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
