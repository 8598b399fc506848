package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/sipx"
)

// take waits for the client's turn. Requests of one client go one after the
// other, because the server keeps one challenge for each client: two exchanges
// at a time would make each other's answers stale (BSP-2.10-3).
func (c *Client) take(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("client: waiting for another request: %w", ctx.Err())
	}
}

func (c *Client) release() { <-c.turn }

// exchange sends what build makes, with the next CSeq for each attempt, until it
// has the 2xx of x. Challenges are answered under BSP-2.10-6. The caller has the
// turn.
func (c *Client) exchange(ctx context.Context, x *subscriber.Exchange, build func() *sipx.Request) (*sipx.Response, error) {
	x.Answer = c.answer
	for {
		req := build()
		x.Complete(req)
		res, err := sipx.Do(ctx, c.cfg.Sender, req)
		if err != nil {
			return nil, failure(req.Method, err)
		}
		switch again, err := x.Again(req, res); {
		case err != nil:
			return nil, failure(req.Method, err)
		case !again:
			return res, nil
		}
	}
}

// patiently calls f again for as long as the server answers 503 and says when to
// come back, and ctx allows.
func (c *Client) patiently(ctx context.Context, f func() error) error {
	for {
		err := f()
		busy, _ := errors.AsType[*StatusError](err)
		if busy == nil || busy.Status != 503 || busy.RetryAfter == 0 {
			return err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < busy.RetryAfter {
			return err // it would be in vain
		}
		c.log.Warn("the server asks to wait", "error", busy)
		if c.cfg.Waiting != nil {
			c.cfg.Waiting(busy)
		}
		if backoff.Sleep(ctx, busy.RetryAfter) != nil {
			return err
		}
	}
}

// failure makes an error of this package of one that a request of method met; nil where
// that is nil.
func failure(method string, err error) error {
	if f, ok := errors.AsType[*subscriber.Failure](err); ok {
		return &StatusError{method, f.Status, f.Reason, f.RetryAfter, f.Err}
	}
	if err != nil {
		err = fmt.Errorf("client: %s: %w", method, err)
	}
	return err
}
