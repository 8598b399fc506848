package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/sipx"
)

const (
	// steady is how long a subscription must have lived for its end to be answered
	// with a new one at once; half of its lifetime is enough too.
	steady = 30 * time.Second
	// patience is how long a NOTIFY waits while the Watcher is busy.
	patience = 2 * time.Second
	// resyncPause is the least time between SUBSCRIBEs that ask for full state. It
	// doubles up to maxResync while none comes.
	resyncPause, maxResync = 5 * time.Second, 5 * time.Minute
	// minRetry and maxRetry bound the pause after a failure.
	minRetry, maxRetry = time.Second, 5 * time.Minute
	// farewellTime is how long the end of a subscription may take.
	farewellTime = 5 * time.Second
)

// Errors of a [Subscription].
var (
	ErrNoNotify = errors.New("subscriber: the SUBSCRIBE was accepted but no NOTIFY came")
	ErrStuck    = errors.New("subscriber: the notifier has lost count: its NOTIFYs are older than what was taken")
	ErrOver     = errors.New("subscriber: the subscription is over")
)

// A Watcher is who a [Subscription] is kept for. Run calls its methods, one at a time.
type Watcher interface {
	// Request completes a SUBSCRIBE, which has all but the header fields of the event
	// package, Contact among them. opens says that it opens a dialog. Lifetime 0 puts an
	// end to it.
	Request(req *sipx.Request, opens bool, lifetime time.Duration)
	// Accepted is called after a 2xx to what Request completed last.
	Accepted()
	// Read reads a NOTIFY of the dialog. NOTIFYs about different entities need not come
	// in order; "" is all that is not about one. take, which is called where it is the
	// newest of its entity, returns the answer and what is done once that was sent.
	Read(req *sipx.Request, state SubscriptionState) (entity string, take func() (*sipx.Response, func()))
	// Lost says what has failed. An error ends Run with it; nil goes on by itself.
	Lost(Loss) error
}

// Config is what a [Subscription] is made from.
type Config struct {
	Sender sipx.Sender
	Routes *Routes
	Turns  chan struct{}                                           // holds a token for each SUBSCRIBE that waits for its outcome
	Answer func(*sipx.Request, *sipx.Response) (sipx.Field, error) // as [Exchange].Answer
	Event  string                                                  // the event package

	From, To, Target sipx.URI // Target is the Request-URI outside a dialog
	Route            []string // outside a dialog
	Flow             sipx.Flow
	Expires          time.Duration // the lifetime to ask for

	// Refused, which may be nil, is called where the credentials were not taken, also
	// by a Farewell.
	Refused func()
	// Spread, which may be nil, makes a pause that was asked for longer.
	Spread func(time.Duration) time.Duration
	// Waits leaves the first SUBSCRIBE to [Subscription.Ask].
	Waits bool
	Log   *slog.Logger
}

// A Subscription keeps one subscription alive (RFC 6665 §4.1), over as many dialogs in
// a row as it takes. Run is its only goroutine; what other goroutines may call says so.
type Subscription struct {
	cfg Config
	w   Watcher
	log *slog.Logger

	notifies chan notify
	asks     chan *ask
	soon     chan time.Duration        // holds the last call of Soon
	again    chan struct{}             // holds a call of Again
	done     chan struct{}             // closed when Run has returned
	flow     atomic.Pointer[sipx.Flow] // the connection of the last NOTIFY
	leaving  atomic.Bool

	// What follows belongs to Run, and does not change after it.
	dialog  *Dialog       // nil where there is none
	order   order         // of the dialog's NOTIFYs
	refused bool          // a NOTIFY was refused for another reason than its order
	lasts   time.Duration // the lifetime to ask for
	granted time.Duration // what the last 2xx granted
	since   time.Time     // when the dialog began
	sent    time.Time     // when the last SUBSCRIBE was
	expires time.Time     // when the dialog does, unless refreshed
	kept    bool          // a SUBSCRIBE was accepted, so there is something to keep
	told    bool          // the notifier has said how long to wait for the next dialog
	stale   bool          // full state is needed
	resyncs int           // how often it was asked for, in a row
	backoff backoff.Backoff

	exchange *Exchange // the SUBSCRIBE that is to be sent or under way, or nil
	outcome  chan outcome
	sending  bool // it has its turn
	asked    *ask // who waits for it, or nil

	next  alarm // time for the next SUBSCRIBE
	first alarm // a NOTIFY is overdue
}

// notify is a NOTIFY to be answered.
type notify struct {
	w    sipx.ResponseWriter
	req  *sipx.Request
	done chan struct{} // closed when the Watcher has done with it
}

// ask is a SUBSCRIBE that somebody waits for.
type ask struct {
	ctx     context.Context
	expires time.Duration
	change  func() (undo func())
	undo    func()
	reply   chan error // holds one
}

// outcome is what a [sipx.Sender] reports.
type outcome struct {
	req *sipx.Request
	res *sipx.Response
	err error
}

// New makes a Subscription, which sends nothing before Run.
func New(cfg Config, w Watcher) *Subscription {
	s := &Subscription{
		cfg: cfg, w: w, log: cfg.Log,
		notifies: make(chan notify),
		asks:     make(chan *ask),
		soon:     make(chan time.Duration, 1),
		again:    make(chan struct{}, 1),
		done:     make(chan struct{}),
		lasts:    cfg.Expires,
		backoff:  backoff.Backoff{First: minRetry, Max: maxRetry},
		next:     newAlarm(), first: newAlarm(),
	}
	if !cfg.Waits {
		s.next.set(0)
	}
	return s
}

// Run keeps the subscription until ctx ends, which is no error, or its Watcher wants no
// more. It says nothing to the notifier when it returns; [Subscription.Farewell] does.
func (s *Subscription) Run(ctx context.Context) error {
	defer s.end()
	for {
		var turn chan<- struct{}
		if s.exchange != nil && !s.sending {
			turn = s.cfg.Turns
		}
		asks := s.asks
		if s.exchange != nil {
			asks = nil
		}
		var gaveUp <-chan struct{}
		if s.asked != nil {
			gaveUp = s.asked.ctx.Done()
		}
		var err error
		select {
		case <-ctx.Done():
			return nil
		case turn <- struct{}{}:
			s.send()
		case o := <-s.outcome:
			err = s.answered(o)
		case n := <-s.notifies:
			err = s.notified(n)
		case a := <-asks:
			err = s.begin(a)
		case <-gaveUp:
			err = s.failed(fmt.Errorf("subscriber: waiting for an answer: %w", s.asked.ctx.Err()))
		case <-s.next.C:
			if !s.leaving.Load() && s.exchange == nil {
				s.subscribe(s.lasts)
			}
		case <-s.first.C:
			err = s.overdue()
		case d := <-s.soon:
			if s.exchange == nil && s.dialog != nil {
				s.next.sooner(d)
			}
		case <-s.again:
			if s.exchange == nil && s.dialog == nil && s.kept && !s.told {
				s.next.sooner(0)
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// end ends what is left when Run returns.
func (s *Subscription) end() {
	s.reply(ErrOver)
	s.finish()
	s.next.stop()
	s.first.stop()
	close(s.done)
}

// Done is closed when Run has returned. Any goroutine may call it.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Forget has its NOTIFYs answered 481 from now on. It is called after Run.
func (s *Subscription) Forget() {
	if s.dialog != nil {
		s.cfg.Routes.remove(s.dialog)
	}
}

// Soon has the dialog refreshed within d: the notifier may have forgotten it. Any
// goroutine may call it.
func (s *Subscription) Soon(d time.Duration) {
	select {
	case s.soon <- d:
	default:
	}
}

// Again has the next dialog opened now, where one has ended and the notifier has not asked
// for the pause: it is there again. Any goroutine may call it.
func (s *Subscription) Again() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// Uses reports whether the subscription's NOTIFYs come, or its SUBSCRIBEs go, over f.
// Any goroutine may call it.
func (s *Subscription) Uses(f sipx.Flow) bool {
	last := s.flow.Load()
	return s.cfg.Flow == f || last != nil && *last == f
}

// Leave says that the subscription is about to end: nothing is tried again. Any
// goroutine may call it.
func (s *Subscription) Leave() { s.leaving.Store(true) }

// Ask sends a SUBSCRIBE, with this lifetime, and returns its outcome. Before that
// change, which may be nil, is called as a Watcher's methods are, and what it returns
// where the SUBSCRIBE fails. Lifetime 0 ends the dialog or, where there is none and
// Leave was not called, fetches the state once (RFC 6665 §4.4.3). Any goroutine but
// Run's may call it.
func (s *Subscription) Ask(ctx context.Context, lifetime time.Duration, change func() (undo func())) error {
	a := &ask{ctx: ctx, expires: lifetime, change: change, reply: make(chan error, 1)}
	select {
	case s.asks <- a:
	case <-s.done:
		return ErrOver
	case <-ctx.Done():
		return fmt.Errorf("subscriber: waiting for another request: %w", ctx.Err())
	}
	return <-a.reply // which end makes at the latest
}

func (s *Subscription) begin(a *ask) error {
	if a.change != nil {
		a.undo = a.change()
	}
	s.asked = a
	if a.expires == 0 && s.leaving.Load() && s.dialog == nil {
		s.reply(nil)
		return ErrOver
	}
	s.subscribe(a.expires)
	return nil
}

// reply tells who waits for the SUBSCRIBE, if anybody does.
func (s *Subscription) reply(err error) {
	a := s.asked
	if a == nil {
		return
	}
	if err != nil && a.undo != nil {
		a.undo()
	}
	a.reply <- err
	s.asked = nil
}

// subscribe has a SUBSCRIBE sent, once it is its turn: within the dialog, or one that
// opens a new one.
func (s *Subscription) subscribe(lasts time.Duration) {
	if s.dialog == nil {
		s.dialog = NewDialog(s.cfg.Target, s.cfg.Route)
		s.order = order{}
		s.granted, s.since, s.expires = 0, time.Time{}, time.Time{}
		s.cfg.Routes.add(s.dialog, s)
	}
	if s.behind() {
		s.resyncs++
	}
	s.next.stop()
	s.exchange = &Exchange{Expires: lasts, Answer: s.cfg.Answer, Refused: s.cfg.Refused}
}

// request makes a SUBSCRIBE with the dialog's next CSeq.
func (s *Subscription) request() *sipx.Request {
	req := s.dialog.Subscribe(s.cfg.From, s.cfg.To)
	req.Flow = s.cfg.Flow
	s.w.Request(req, s.since.IsZero(), s.exchange.Expires)
	s.exchange.Complete(req)
	return req
}

// send sends it, or sends it again.
func (s *Subscription) send() {
	s.sending = true
	ch := make(chan outcome, 1)
	s.outcome, s.sent = ch, time.Now()
	s.cfg.Sender.Send(s.request(), sipx.ResponseHandlerFunc(
		func(req *sipx.Request, res *sipx.Response, err error) { ch <- outcome{req, res, err} }))
}

// finish ends the exchange, whether or not it has an outcome.
func (s *Subscription) finish() {
	if s.sending {
		<-s.cfg.Turns
	}
	s.exchange, s.outcome, s.sending = nil, nil, false
}

// answered takes what the sender reported.
func (s *Subscription) answered(o outcome) error {
	if o.err != nil {
		return s.failed(o.err)
	}
	again, failure := s.exchange.Again(o.req, o.res)
	switch {
	case again:
		s.send()
		return nil
	case failure != nil:
		return s.failed(failure)
	}
	s.accepted(o.res)
	return nil
}

// accepted takes a 2xx.
func (s *Subscription) accepted(res *sipx.Response) {
	x, now := s.exchange, time.Now()
	s.finish()
	s.kept = true
	s.dialog.Accepted(res)
	if s.since.IsZero() {
		s.since = now
	} else {
		s.backoff.Reset()
	}
	if x.Expires > 0 {
		s.lasts, s.granted = x.Expires, x.Granted(res)
		s.expires = now.Add(s.granted)
		s.next.set(RefreshAfter(s.granted))
	}
	if (!s.dialog.Notified() || s.doubtful()) && s.first.at.IsZero() {
		s.first.set(TimerN)
	}
	s.resync() // the document that showed the need may be newer than the SUBSCRIBE
	s.w.Accepted()
	s.reply(nil)
}

// drop forgets the dialog and the SUBSCRIBE that is under way.
func (s *Subscription) drop() {
	s.finish()
	s.next.stop()
	s.first.stop()
	s.Forget()
	s.dialog, s.order = nil, order{}
	s.since, s.expires = time.Time{}, time.Time{}
	s.refused, s.stale, s.resyncs = false, false, 0
}

// SetStale says whether full state is needed: then a refresh asks for it (RFC 6665
// §4.1.2.1), again and again, ever slower. A new dialog begins without. A Watcher's
// methods may call it, and IsStale.
func (s *Subscription) SetStale(stale bool) { s.stale = stale }

// IsStale returns what SetStale said last.
func (s *Subscription) IsStale() bool { return s.stale }

// Confirmed returns how long the dialog lasts from now on, 0 where the notifier may
// have told more than was taken. A Watcher's methods may call it.
func (s *Subscription) Confirmed() time.Duration {
	if s.doubtful() {
		return 0
	}
	return max(time.Until(s.expires), MinRefresh)
}

// doubtful reports whether NOTIFYs were refused and none was taken since, so that what
// was taken may not be the newest.
func (s *Subscription) doubtful() bool { return s.refused || s.order.doubts > 0 }

func (s *Subscription) behind() bool { return s.stale || s.doubtful() }

// resync has full state asked for, where it is needed: a refresh brings it. A notifier
// that does not send any is asked less and less often.
func (s *Subscription) resync() {
	asks := s.stale || s.doubtful() && s.first.at.IsZero() // else it has, and waits
	if asks && s.exchange == nil && !s.since.IsZero() && !s.leaving.Load() {
		s.next.sooner(min(resyncPause<<min(s.resyncs, 10), maxResync) - time.Since(s.sent))
	}
}
