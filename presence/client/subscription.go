package client

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/sipx"
)

const (
	// finalWait is how long the last NOTIFY of a subscription that we end may take.
	finalWait = 5 * time.Second
	// steady is how long a subscription must have lived for its end to be
	// answered at once; one that ends sooner again and again is backed off from.
	steady = 30 * time.Second
	// strangers is how many entities a list may tell of besides those asked for.
	strangers = 16
)

// A subscription is what the client wants to know, over as many dialogs in a row
// as it takes.
type subscription struct {
	c       *Client
	own     bool // to the user's own address
	fetch   bool // asks once (RFC 6665 §4.4.3)
	uri, to sipx.URI
	deliver func(Notification)
	keeper  *keeper

	delivery sync.Mutex // NOTIFYs go through one at a time, the host's function included

	mu       sync.Mutex // guards what follows; never held while waiting
	dialog   *dialog    // nil where there is none
	list     []string   // the addresses of a list subscription
	expires  time.Time  // when the dialog does, unless refreshed
	refresh  time.Time  // when to refresh it
	since    time.Time  // start of the current good times, zero in bad ones
	failures int        // in a row
	leaving  bool       // we end it: nothing is tried again
	ended    bool
	gone     chan struct{} // closed when ended, and the host was told
}

func (c *Client) newSubscription(to sipx.URI) *subscription {
	return &subscription{
		c: c, uri: c.requestURI(to), to: to, deliver: c.deliver,
		keeper: newKeeper(), gone: make(chan struct{}),
	}
}

// start subscribes, and on success keeps the subscription alive from then on.
func (s *subscription) start(ctx context.Context) error {
	err := s.c.patiently(ctx, func() error { return s.subscribe(ctx, s.c.cfg.SubscribeExpires) })
	if err != nil {
		s.forget()
		return err
	}
	s.c.wg.Go(func() { s.keeper.run(s.c.life, s.keep) })
	return nil
}

// keep is called by the keeper: it refreshes, or subscribes again.
func (s *subscription) keep(ctx context.Context) {
	s.mu.Lock()
	if d := s.dialog; d != nil && !d.Notified() {
		s.drop()
		wait, _ := s.backoff()
		s.mu.Unlock()
		s.c.log.Warn("no NOTIFY came; subscribing again", "to", s.to, "wait", wait)
		s.keeper.at(time.Now().Add(wait))
		return
	}
	if s.dialog != nil && !time.Now().Before(s.expires) {
		s.drop()
	}
	s.mu.Unlock()
	err := s.subscribe(ctx, s.c.cfg.SubscribeExpires)
	switch {
	case err == nil, ctx.Err() != nil:
	case permanent(err):
		s.giveUp(err)
	default:
		s.mu.Lock()
		wait, _ := s.backoff()
		s.mu.Unlock()
		wait = max(wait, retryAfterOf(err))
		s.c.log.Warn("SUBSCRIBE failed", "to", s.to, "error", err, "wait", wait)
		s.keeper.at(time.Now().Add(wait))
	}
}

// subscribe sends one SUBSCRIBE: within the dialog where there is one, else, or
// where the server has forgotten it, a new one. Lifetime 0 ends the dialog.
func (s *subscription) subscribe(ctx context.Context, lifetime time.Duration) error {
	if err := s.c.take(ctx); err != nil {
		return err
	}
	defer s.c.release()
	err := s.attempt(ctx, lifetime)
	if _, gone := err.(*goneError); gone {
		if lifetime == 0 {
			s.finish()
			return nil // as wanted
		}
		err = s.attempt(ctx, lifetime)
	}
	return err
}

// goneError is a failure that ended the dialog it was sent in.
type goneError struct{ error }

func (s *subscription) attempt(ctx context.Context, lifetime time.Duration) error {
	s.mu.Lock()
	if s.ended || s.leaving && lifetime > 0 {
		s.mu.Unlock()
		return nil
	}
	d := s.dialog
	fresh := d == nil
	if fresh {
		if lifetime == 0 && !s.fetch {
			s.finishLocked()
			s.mu.Unlock()
			return nil
		}
		d = &dialog{Dialog: subscriber.NewDialog(s.uri, s.c.route())}
		if s.list != nil && !s.c.cfg.Standard {
			d.limit = len(s.list) + strangers
		}
		s.dialog, s.refresh = d, time.Time{}
		s.c.mux.add(d.CallID(), s)
	}
	list, send := s.list, s.list != nil && lifetime > 0 && (fresh || !slices.Equal(d.list, s.list))
	s.mu.Unlock()

	x := &subscriber.Exchange{Expires: lifetime}
	res, err := s.c.exchange(ctx, x, func() *sipx.Request { return s.request(d, list, send) })

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialog != d {
		return nil // a NOTIFY has ended it meanwhile, and what is next is set
	}
	switch {
	case err != nil && fresh:
		s.drop()
		return err
	case err != nil && subscriber.EndsDialog(statusOf(err)):
		s.drop()
		return &goneError{err}
	case err != nil:
		return err
	}
	d.Accepted(res)
	if send {
		d.replaced(list)
	}
	if lifetime == 0 {
		return nil
	}
	now, lasts := time.Now(), x.Granted(res)
	s.expires = now.Add(lasts)
	if s.since.IsZero() {
		s.since = now
	}
	next := subscriber.RefreshAfter(lasts)
	s.refresh = now.Add(next)
	if !d.Notified() {
		next = min(next, subscriber.TimerN)
	}
	s.keeper.at(now.Add(next))
	return nil
}

// request makes a SUBSCRIBE with the dialog's next CSeq, and with the list where
// the server has not got it yet.
func (s *subscription) request(d *dialog, list []string, send bool) *sipx.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	req := d.Subscribe(s.c.own, s.to)
	req.Flow = s.c.cfg.Flow
	req.Header = sipx.Header{
		{Name: "Contact", Value: s.c.contact()},
		{Name: "Event", Value: "presence"},
		{Name: "User-Agent", Value: s.c.cfg.UserAgent},
	}
	lists := list != nil && s.c.cfg.Standard
	if lists {
		req.Header.Add("Supported", "eventlist") // RFC 4662 §4
	}
	req.Header.Add("Accept", accepted(lists))
	if send {
		req.Body = resourceList(list)
		req.Header.Add("Require", "recipient-list-subscribe") // RFC 5367 §4
		req.Header.Add("Content-Type", pidf.TypeResourceLists)
		req.Header.Add("Content-Disposition", "recipient-list")
	}
	return req
}

// terminated is told by a NOTIFY that the dialog is over, and decides what comes
// next (RFC 6665 §4.1.3). The caller holds mu.
func (s *subscription) terminated(state subscriber.SubscriptionState) {
	s.drop()
	if s.leaving || s.fetch || subscriber.Final(state.Reason) {
		s.over()
		return
	}
	wait := state.RetryAfter
	switch state.Reason {
	case "probation", "giveup":
		if wait == 0 {
			wait, _ = s.backoff()
		}
	default: // deactivated, timeout, none, and what is not known
		later, first := s.backoff()
		if wait == 0 && !first {
			wait = later
		}
	}
	s.keeper.at(time.Now().Add(wait))
}

// backoff returns how long to wait after a failure, and whether it is the first
// after good times. The caller holds mu.
func (s *subscription) backoff() (wait time.Duration, first bool) {
	if !s.since.IsZero() && time.Since(s.since) >= steady {
		s.failures = 0
	}
	s.since = time.Time{}
	n := s.failures
	s.failures++
	return retryAfter(n), n == 0
}

// leave ends the subscription at the server and waits for its last NOTIFY.
func (s *subscription) leave(ctx context.Context) error {
	s.quit()
	defer s.forget()
	if err := s.subscribe(ctx, 0); err != nil {
		return err
	}
	return s.await(ctx, finalWait)
}

// quit says that the subscription is about to end, so that nothing is tried
// again where the server ends it.
func (s *subscription) quit() {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	s.keeper.stop()
}

// await waits until the subscription has ended, for at most d: the server has
// ended it in any case, and its NOTIFY may be lost.
func (s *subscription) await(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.gone:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("client: waiting for the last NOTIFY: %w", ctx.Err())
	}
}

// giveUp ends the subscription because of err and tells the host.
func (s *subscription) giveUp(err error) {
	s.forget()
	s.c.log.Error("the subscription is given up", "to", s.to, "error", err)
	s.delivery.Lock()
	defer s.delivery.Unlock()
	s.deliver(Notification{
		Entity: s.to.String(), Own: s.own, State: Terminated, Err: err, Received: time.Now(),
	})
}

// forget ends the subscription here, without a word to the server.
func (s *subscription) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
	s.finishLocked()
}

func (s *subscription) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finishLocked()
}

func (s *subscription) finishLocked() {
	s.over()
	select {
	case <-s.gone:
	default:
		close(s.gone)
	}
}

// over says that nothing is tried again. Who waits for gone waits until that was
// delivered too. The caller holds mu.
func (s *subscription) over() {
	s.ended = true
	s.keeper.stop()
}

// drop forgets the dialog. The caller holds mu.
func (s *subscription) drop() {
	if s.dialog != nil {
		s.c.mux.remove(s.dialog.CallID())
		s.dialog = nil
	}
}

func (s *subscription) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}
