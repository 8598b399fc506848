package client

import (
	"context"
	"fmt"
	"time"

	"github.com/openblustar/blustar/internal/subscriber"
)

// Fetch asks once for the presence of an address, sip: or tel:, without watching
// it (RFC 6665 §4.4.3), and returns what the server says: at once, so that a
// server which has to ask its own sources first says "unknown". It waits for up
// to 32 s, or until ctx ends.
func (c *Client) Fetch(ctx context.Context, presentity string) (Notification, error) {
	to, err := address(presentity)
	if err != nil {
		return Notification{}, fmt.Errorf("client: %w", err)
	}
	ctx, done, err := c.begin(ctx)
	if err != nil {
		return Notification{}, err
	}
	defer done()
	s := c.newSubscription(to)
	s.fetch = true
	answer := make(chan Notification, 1)
	s.deliver = func(n Notification) {
		select {
		case answer <- n:
		default: // the first counts
		}
	}
	defer s.forget()
	if err := c.patiently(ctx, func() error { return s.subscribe(ctx, 0) }); err != nil {
		return Notification{}, err
	}
	timer := time.NewTimer(subscriber.TimerN)
	defer timer.Stop()
	select {
	case n := <-answer:
		return n, nil
	case <-timer.C:
		return Notification{}, errNoNotify
	case <-ctx.Done():
		return Notification{}, fmt.Errorf("client: waiting for a NOTIFY: %w", ctx.Err())
	}
}
