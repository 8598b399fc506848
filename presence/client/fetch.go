package client

import (
	"context"
	"fmt"
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
	answer := make(chan Notification, 1)
	s := (&subscription{to: to, fetch: true, deliver: func(n Notification) {
		select {
		case answer <- n:
		default: // the first counts
		}
	}}).run(c, c.requestURI(to))
	defer s.end()
	if err := s.ask(ctx, 0, nil); err != nil {
		return Notification{}, err
	}
	select {
	case n := <-answer:
		return n, nil
	case <-ctx.Done():
		return Notification{}, fmt.Errorf("client: waiting for a NOTIFY: %w", ctx.Err())
	case <-s.Done():
	}
	select {
	case n := <-answer:
		return n, nil
	default:
		return Notification{}, errNoNotify
	}
}
