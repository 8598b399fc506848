package client

import (
	"context"
	"fmt"
	"strconv"
	"time"

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

// An outgoing is a request that may have to be sent more than once.
type outgoing struct {
	// build makes the request with the next CSeq, without Expires and
	// credentials. It is called for each attempt.
	build func() *sipx.Request
	// expires is the lifetime to ask for. A 423 raises it; 0 stays 0.
	expires time.Duration
}

// exchange sends out and returns the 2xx that it got in the end. It answers one
// challenge (BSP-2.10-6) and one 423 on the way. The caller has the turn.
func (c *Client) exchange(ctx context.Context, out *outgoing) (*sipx.Response, error) {
	var credentials []sipx.Field
	var challenged, stale, raised bool
	for {
		req := out.build()
		req.Header.Add("Expires", strconv.Itoa(int(out.expires/time.Second)))
		req.Header = append(req.Header, credentials...)
		res, err := sipx.Do(ctx, c.cfg.Sender, req)
		if err != nil {
			return nil, fmt.Errorf("client: %s: %w", req.Method, err)
		}
		switch {
		case res.Status >= 200 && res.Status < 300:
			return res, nil
		case res.Status == 401 && (!challenged || !stale && isStale(res)):
			stale, challenged = challenged, true
			if credentials, err = c.answer(req, res); err != nil {
				failure := statusError(req.Method, res)
				failure.Err = err
				return nil, failure
			}
		case res.Status == 423 && !raised && out.expires > 0:
			raised = true
			n, ok := sipx.Seconds(res.Header.Get("Min-Expires"))
			if least := seconds(n); ok && least > out.expires && least <= maxExpires {
				out.expires = least
				continue
			}
			return nil, statusError(req.Method, res)
		default:
			return nil, statusError(req.Method, res)
		}
	}
}

// patiently calls f again for as long as the server answers 503 and says when to
// come back, and ctx allows.
func (c *Client) patiently(ctx context.Context, f func() error) error {
	for {
		err := f()
		wait := retryAfterOf(err)
		if statusOf(err) != 503 || wait == 0 {
			return err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return err // it would be in vain
		}
		c.log.Warn("the server is not available and asks to wait", "wait", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// granted is the lifetime that a 2xx grants: at most what was asked.
func granted(res *sipx.Response, asked time.Duration) time.Duration {
	n, ok := sipx.Seconds(res.Header.Get("Expires"))
	if !ok {
		return asked
	}
	return min(seconds(n), asked)
}
