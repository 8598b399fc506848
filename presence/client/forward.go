package client

import (
	"context"
	"fmt"
	"time"
)

// lyncForwarding is the event of a PUBLISH that forwards a user's Lync calls
// (§4.3).
const lyncForwarding = "lyncforwarding"

// Forward has the user's Lync calls forwarded to destination, a sip: or tel: URI
// (§4.3), and keeps that up until CancelForward, SignOut or Close. It takes the
// place of an earlier destination. A server without forwarding answers 489, one
// that refuses the destination 403.
func (c *Client) Forward(ctx context.Context, destination string) error {
	to, err := address(destination)
	if err != nil {
		return fmt.Errorf("client: destination: %w", err)
	}
	m := message{event: lyncForwarding, to: to, expires: c.cfg.PublishExpires}
	return c.forward(ctx, m, func(lasts time.Duration) {
		ps := &c.publications
		ps.keep(&ps.forward, lasts, func(ctx context.Context) (time.Duration, error) { return ps.sendAnyway(ctx, m) })
	})
}

// CancelForward ends the forwarding, also one that an earlier client of the user
// has set.
func (c *Client) CancelForward(ctx context.Context) error {
	c.publications.stop(&c.publications.forward)
	return c.forward(ctx, message{event: lyncForwarding, to: c.own}, func(time.Duration) {})
}

func (c *Client) forward(ctx context.Context, m message, then func(lasts time.Duration)) error {
	ctx, done, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return c.patiently(ctx, func() error {
		if err := c.take(ctx); err != nil {
			return err
		}
		defer c.release()
		lasts, err := c.publications.sendAnyway(ctx, m)
		if err == nil {
			then(lasts)
		}
		return err
	})
}

// sendAnyway is send, once more without the entity-tag where the server does not
// know it.
func (ps *publications) sendAnyway(ctx context.Context, m message) (time.Duration, error) {
	lasts, err := ps.send(ctx, m)
	if statusOf(err) == 412 {
		lasts, err = ps.send(ctx, m)
	}
	return lasts, err
}
