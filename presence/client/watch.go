package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// SignIn subscribes to the user's own address (§4.1), unless the client has
// done so. From then on the server knows the client.
func (c *Client) SignIn(ctx context.Context) error { return c.watch(ctx, nil, true) }

// Watch signs in where that is to do, and watches the addresses, sip: or tel:,
// with one list subscription (§4.2). They replace those that were watched before;
// none at all ends the list subscription. Duplicates are left out.
//
// When it returns nil the server has accepted; the states come as notifications.
// From then on the client keeps watching, until another Watch, SignOut or Close.
// Where it fails the client watches what it watched before.
func (c *Client) Watch(ctx context.Context, addresses ...string) error {
	if len(addresses) > maxAddresses {
		return fmt.Errorf("client: %d addresses to watch, at most %d are possible", len(addresses), maxAddresses)
	}
	list := make([]string, 0, len(addresses))
	seen := make(map[string]bool, len(addresses))
	for _, a := range addresses {
		uri, err := address(a)
		if err != nil {
			return fmt.Errorf("client: %w", err)
		}
		if key := normal(a); !seen[key] {
			seen[key] = true
			list = append(list, uri.String())
		}
	}
	return c.watch(ctx, list, false)
}

// Watched returns the addresses that the client watches.
func (c *Client) Watched() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.addresses)
}

func (c *Client) watch(ctx context.Context, addresses []string, keepList bool) error {
	ctx, done, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := c.watchSelf(ctx); err != nil || keepList {
		return err
	}
	if err := c.watchList(ctx, addresses); err != nil {
		return err
	}
	c.mu.Lock()
	c.addresses = addresses
	c.mu.Unlock()
	return nil
}

func (c *Client) watchSelf(ctx context.Context) error {
	if s := c.subscriptions(); s.self != nil && !s.self.hasEnded() {
		return nil
	}
	s := (&subscription{to: c.own, own: true}).run(c, c.requestURI(c.own))
	if err := s.start(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	c.self = s
	c.mu.Unlock()
	return nil
}

func (c *Client) watchList(ctx context.Context, addresses []string) error {
	s := c.subscriptions().list
	if s != nil && s.hasEnded() {
		s = nil
	}
	switch {
	case s != nil && len(addresses) > 0 && !c.cfg.Standard:
		return s.replace(ctx, addresses)
	case s != nil:
		// RFC 5367 §5.1 has no other way to change a list than a new dialog.
		if err := s.leave(ctx); err != nil {
			return err
		}
	}
	c.setList(nil)
	if len(addresses) == 0 {
		return nil
	}
	rls := sipx.URI{Scheme: "sip", User: "rls", Host: c.domain()} // as in §4.2
	s = (&subscription{to: rls, list: addresses}).run(c, c.cfg.Server)
	if err := s.start(ctx); err != nil {
		return err
	}
	c.setList(s)
	return nil
}

// replace gives the server another list in a refresh (BSP-2.9-3).
func (s *subscription) replace(ctx context.Context, addresses []string) error {
	return s.ask(ctx, s.c.cfg.SubscribeExpires, func() (undo func()) {
		before := s.list
		s.list = addresses
		return func() {
			s.list, s.given = before, nil // the answer may be what was lost: say it again
		}
	})
}

// lastWait is how long the own subscription may take to end with the publication.
const lastWait = time.Second

// SignOut ends the client at the server: the list subscription, the publication
// and the own subscription, with Expires 0 each (§2.2), and waits for the last
// NOTIFYs as long as ctx allows, 5 s for each at most. Whatever the outcome, the
// client no longer keeps anything alive; it can sign in again.
func (c *Client) SignOut(ctx context.Context) error {
	ctx, done, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	held := c.subscriptions()
	c.mu.Lock()
	c.self, c.list, c.addresses = nil, nil, nil
	c.mu.Unlock()

	// The server ends them all when the client ends (BSP-2.2-2).
	var failed error
	for _, s := range []*subscription{held.list, held.self} {
		if s != nil {
			s.Leave()
		}
	}
	if held.list != nil {
		failed = held.list.leave(ctx)
	}
	published, err := c.publications.end(ctx)
	if failed == nil {
		failed = err
	}
	if held.self != nil {
		if published && !c.cfg.Standard {
			// That was the client's end; its last NOTIFY is on the way.
			_ = held.self.await(ctx, lastWait)
		}
		if err := held.self.leave(ctx); failed == nil {
			failed = err
		}
	}
	return failed
}

// subscriptions returns those that the client has; nil where it has none.
func (c *Client) subscriptions() struct{ self, list *subscription } {
	c.mu.Lock()
	defer c.mu.Unlock()
	return struct{ self, list *subscription }{c.self, c.list}
}

func (c *Client) setList(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = s
}
