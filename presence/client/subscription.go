package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/pidf/resourcelists"
	"github.com/openblustar/blustar/sipx"
)

const (
	// finalWait is how long the last NOTIFY of a subscription that we end may take.
	finalWait = 5 * time.Second
	// strangers is how many entities a list may tell of besides those asked for.
	strangers = 16
)

// A subscription is what the client wants to know. It is the [subscriber.Watcher] of
// its own.
type subscription struct {
	*subscriber.Subscription
	c       *Client
	own     bool // to the user's own address
	fetch   bool // asks once (RFC 6665 §4.4.3)
	to      sipx.URI
	deliver func(Notification)
	stop    context.CancelFunc // ends Run

	// These belong to Run.
	list   []string // the addresses of a list subscription, nil for another
	given  []string // those that the server has
	giving bool     // the last SUBSCRIBE had the list
	missed bool     // lost without a word from the server, and not found again yet
}

// run starts a subscription, which sends nothing before [subscription.ask]. Its fields
// are set, but for those that it makes itself.
func (s *subscription) run(c *Client, uri sipx.URI) *subscription {
	s.c = c
	if s.deliver == nil {
		s.deliver = c.deliver
	}
	cfg := subscriber.Config{
		Sender: c.cfg.Sender, Routes: &c.mux.routes, Turns: c.turn, Answer: c.answer,
		Event: "presence", From: c.own, To: s.to, Target: uri,
		Route: c.route(), Flow: c.cfg.Flow, Expires: c.cfg.SubscribeExpires,
		Waits: true, Log: c.log.With("to", s.to.String()),
	}
	if s.fetch {
		cfg.Expires = 0
	}
	s.Subscription = subscriber.New(cfg, s)
	ctx, stop := context.WithCancel(c.life)
	s.stop = stop
	c.wg.Go(func() {
		defer stop()
		_ = s.Run(ctx) // the host was told why
		s.Forget()
	})
	return s
}

// start subscribes. A subscription that cannot be opened is over.
func (s *subscription) start(ctx context.Context) error {
	err := s.ask(ctx, s.c.cfg.SubscribeExpires, nil)
	if err != nil {
		s.end()
	}
	return err
}

// ask sends a SUBSCRIBE and waits for its outcome, as [subscriber.Subscription.Ask].
func (s *subscription) ask(ctx context.Context, lifetime time.Duration, change func() (undo func())) error {
	return s.c.patiently(ctx, func() error { return failure("SUBSCRIBE", s.Ask(ctx, lifetime, change)) })
}

// Request implements [subscriber.Watcher]: the list goes where the server has not got
// it yet.
func (s *subscription) Request(req *sipx.Request, opens bool, lifetime time.Duration) {
	c := s.c
	if opens {
		s.given = nil
		if s.ordersEntities() {
			s.Entities(len(s.list)+strangers, nil)
		}
	}
	req.Header = sipx.Header{
		{Name: "Contact", Value: c.contact()},
		{Name: "Event", Value: "presence"},
		{Name: "User-Agent", Value: c.cfg.UserAgent},
	}
	lists := s.list != nil && c.cfg.Standard
	if lists {
		req.Header.Add("Supported", "eventlist") // RFC 4662 §4
	}
	req.Header.Add("Accept", accepted(lists))
	s.giving = s.list != nil && lifetime > 0 && !slices.Equal(s.given, s.list)
	if s.giving {
		req.Body = resourceList(s.list)
		req.Header.Add("Require", "recipient-list-subscribe") // RFC 5367 §4
		req.Header.Add("Content-Type", resourcelists.MediaType)
		req.Header.Add("Content-Disposition", "recipient-list")
	}
}

// Accepted implements [subscriber.Watcher].
func (s *subscription) Accepted() {
	if s.missed {
		s.missed = false
		s.c.found(s)
	}
	if !s.giving {
		return
	}
	s.given = s.list
	if s.ordersEntities() {
		wanted := make(map[string]bool, len(s.list))
		for _, a := range s.list {
			wanted[normal(a)] = true
		}
		s.Entities(len(s.list)+strangers, func(entity string) bool { return wanted[entity] })
	}
}

// ordersEntities reports whether NOTIFYs about different entities need not come in
// order: in a list of the BluStar dialect there is one for each, and all are under way
// together.
func (s *subscription) ordersEntities() bool { return s.list != nil && !s.c.cfg.Standard }

// Lost implements [subscriber.Watcher].
func (s *subscription) Lost(loss subscriber.Loss) error {
	ended, byNotify := errors.AsType[*subscriber.Ended](loss.Err)
	if s.fetch || byNotify && subscriber.Final(ended.Reason) {
		return loss.Err
	}
	if err := failure("SUBSCRIBE", loss.Err); !loss.Gone && permanent(err) {
		s.c.log.Error("the subscription is given up", "to", s.to, "error", err)
		s.deliver(Notification{Entity: s.to.String(), Own: s.own, State: Terminated, Err: err, Received: time.Now()})
		return err
	}
	if loss.Gone && (!byNotify || ended.Reason == "deactivated") {
		s.c.forgotten(s, loss.Began)
	} else {
		s.missed = s.missed || !loss.Lasts
	}
	return nil
}

// leave ends the subscription at the server and waits for its last NOTIFY.
func (s *subscription) leave(ctx context.Context) error {
	s.Leave()
	defer s.end()
	if err := s.ask(ctx, 0, nil); err != nil && !errors.Is(err, subscriber.ErrOver) {
		return err
	}
	return s.await(ctx, finalWait)
}

// await waits until the subscription has ended, for at most d: the server has
// ended it in any case, and its NOTIFY may be lost.
func (s *subscription) await(ctx context.Context, d time.Duration) error {
	select {
	case <-s.Done():
		return nil
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("client: waiting for the last NOTIFY: %w", ctx.Err())
	}
}

// end ends the subscription here, without a word to the server.
func (s *subscription) end() {
	s.stop()
	<-s.Done()
}

func (s *subscription) hasEnded() bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}
