package presence

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/sipx"
)

// clientKey tells clients apart: the user by its presentity's key, the endpoint
// by its Contact. An AMCC has one Contact for many users (§2.11). Where the
// directory could not say whose address that is, as is who says so: a Contact is
// no secret.
type clientKey struct {
	user, contact, as string
}

// client is one BluStar endpoint of a user. All its fields are guarded by
// clients.mu. It is live, and opens its user's services, while it has a
// subscription to its own address (BSP-4.1-1) or a publication.
type client struct {
	key       clientKey
	amcc      bool
	userAgent string
	since     time.Time
	user      *presentity // of its own subscription or publication; nil until there is one
	dialogs   []*dialog
	services  ServiceState
	published time.Time // when its publication expires; zero where it has none
	expiry    *time.Timer
	ended     bool
	claims    *auth.Identity // who it is, where the directory could not say yet whose address that is
	// generation counts how often the client has come back without having
	// ended: it opened a subscription to its own address that it already had.
	generation int32
}

// clients is the registry of BluStar clients. Its lock is a leaf.
type clients struct {
	server *Server
	mu     sync.Mutex
	m      map[clientKey]*client
	live   map[*presentity][]*client
}

// contactKey writes a Contact's URI for comparison: parameters do not count, so
// that a client that adds one is still itself.
func contactKey(u sipx.URI) string {
	u.Params, u.Headers = "", ""
	return u.String()
}

// get finds or makes the client. cs.mu is held.
func (cs *clients) get(key clientKey) *client {
	c := cs.m[key]
	if c == nil {
		c = &client{key: key, since: time.Now(), services: defaultServices}
		cs.m[key] = c
	}
	return c
}

// join adds a dialog to its client; own says that the dialog subscribes to the
// user's own address. It fails with ErrTooMany where the user has too many live
// clients.
func (cs *clients) join(d *dialog, key clientKey, amcc, own bool, user *presentity, userAgent string, claims *auth.Identity) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.get(key)
	if own {
		if !cs.roomFor(c, user) {
			cs.forget(c)
			return ErrTooMany
		}
		cs.enliven(c, user, userAgent)
	}
	if own && slices.ContainsFunc(c.dialogs, func(other *dialog) bool {
		return other.own && other.list == d.list && other.generation == c.generation
	}) {
		c.generation++
	}
	c.amcc = amcc
	if claims != nil {
		c.claims = claims
	}
	c.dialogs = append(c.dialogs, d)
	d.client, d.own, d.generation = c, own, c.generation
	return nil
}

// publish notes that a client, for which there was room, published until expires.
// services is nil where the request said nothing about them.
func (cs *clients) publish(key clientKey, user *presentity, services *ServiceState, expires time.Time, userAgent string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.get(key)
	cs.enliven(c, user, userAgent)
	if services != nil {
		c.services = *services
	}
	c.published = expires
	stopTimer(&c.expiry)
	c.expiry = cs.server.after(time.Until(expires), func() {
		cs.mu.Lock()
		due := !c.ended && c.published.Equal(expires)
		cs.mu.Unlock()
		if due {
			cs.server.endClient(c, "the publication expired")
		}
	})
}

// room reports whether a client is live, or may become so. Where a user's clients
// come by SUBSCRIBE and PUBLISH at one moment there may be one more than allowed.
func (cs *clients) room(key clientKey, user *presentity) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.roomFor(cs.m[key], user)
}

func (cs *clients) roomFor(c *client, user *presentity) bool {
	return c != nil && c.user != nil || len(cs.live[user]) < cs.server.cfg.MaxClients
}

// enliven makes c one of its user's live clients. cs.mu is held.
func (cs *clients) enliven(c *client, user *presentity, userAgent string) {
	if c.user != nil {
		return
	}
	c.user, c.userAgent = user, strings.Clone(userAgent)
	cs.live[user] = append(cs.live[user], c)
	cs.server.presentities.retain(user)
}

// forget drops a client that has nothing left. cs.mu is held.
func (cs *clients) forget(c *client) {
	if c.user == nil && len(c.dialogs) == 0 && cs.m[c.key] == c {
		delete(cs.m, c.key)
	}
}

// leave takes a dialog from its client.
func (cs *clients) leave(d *dialog) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := d.client
	if c == nil {
		return
	}
	if i := slices.Index(c.dialogs, d); i >= 0 {
		c.dialogs = slices.Delete(c.dialogs, i, i+1)
	}
	cs.forget(c)
}

// of returns the client whose end the end of d would be, or nil: d is of a
// client, and not of one that has come back since. own tells whether it is one
// of its subscriptions to the own address.
func (cs *clients) of(d *dialog) (c *client, own bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if d.client == nil || d.generation < d.client.generation {
		return nil, false
	}
	return d.client, d.own
}

// lookup returns the client of a key, or nil.
func (cs *clients) lookup(key clientKey) *client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.m[key]
}

// dialogsOf returns a copy of a client's dialogs.
func (cs *clients) dialogsOf(c *client) []*dialog {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return slices.Clone(c.dialogs)
}

// end takes a client out and returns what it had.
func (cs *clients) end(c *client) (dialogs []*dialog, user *presentity) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.ended {
		return nil, nil
	}
	c.ended = true
	stopTimer(&c.expiry)
	dialogs, c.dialogs = c.dialogs, nil
	if cs.m[c.key] == c {
		delete(cs.m, c.key)
	}
	if user = c.user; user != nil {
		list := slices.DeleteFunc(cs.live[user], func(other *client) bool { return other == c })
		if len(list) == 0 {
			delete(cs.live, user)
		} else {
			cs.live[user] = list
		}
	}
	return dialogs, user
}

// alive reports whether the user has a live client.
func (cs *clients) alive(p *presentity) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.live[p]) > 0
}

// services returns what the live clients of a user can do together
// (BSP-4.3-5).
func (cs *clients) services(p *presentity) ServiceState {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var st ServiceState
	for _, c := range cs.live[p] {
		st = st.or(c.services)
		st.Global = true
	}
	return st
}

// rekey moves the clients of an address to the entry that it turned out to have,
// and returns those that may not be of that user (BSP-2.4-7).
func (cs *clients) rekey(from, to *presentity, entry *directory.Entry) (impostors []*client) {
	cs.mu.Lock()
	moved := cs.live[from]
	delete(cs.live, from)
	for key, c := range cs.m {
		if key.user != from.key {
			continue
		}
		delete(cs.m, key)
		impostor := c.claims != nil && !mayActFor(*c.claims, entry)
		key.user, key.as, c.claims = to.key, "", nil
		other := cs.m[key]
		switch {
		case impostor:
			impostors = append(impostors, c)
		case other != nil:
			// The client came in under the entry meanwhile.
			for _, d := range c.dialogs {
				d.client = other
			}
			other.dialogs = append(other.dialogs, c.dialogs...)
			if c.user != nil && other.user == nil {
				other.user = to
				cs.live[to] = append(cs.live[to], other)
				cs.server.presentities.retain(to)
			}
			c.ended = true
			stopTimer(&c.expiry)
			continue
		default:
			cs.m[key] = c
		}
		c.key = key
		if c.user != nil {
			c.user = to
			cs.live[to] = append(cs.live[to], c)
			cs.server.presentities.retain(to)
		}
	}
	cs.mu.Unlock()
	for range moved {
		cs.server.presentities.release(from)
	}
	return impostors
}

// endClient ends a client: its subscriptions are released with a last NOTIFY,
// and where it was its user's last the user is signed out (§2.2, §2.3), which is
// so before the client hears of its end.
func (s *Server) endClient(c *client, why string) {
	dialogs, user := s.takeOut(c, why)
	if user != nil {
		user.publishing.Lock()
		notify := s.settle(user)
		user.publishing.Unlock()
		notify()
		s.presentities.release(user)
	}
	s.farewell(dialogs)
}

// takeOut ends a client and closes its dialogs. What remains to be done is to
// settle and release its user, where it had one, and to say farewell in the
// dialogs.
func (s *Server) takeOut(c *client, why string) ([]*dialog, *presentity) {
	dialogs, user := s.clients.end(c)
	if user != nil {
		s.cfg.Logger.Info("client ended", "user", c.key.user, "contact", c.key.contact, "why", why)
	}
	return slices.DeleteFunc(dialogs, func(d *dialog) bool { return !s.close(d, reasonDeactivated) }), user
}

func (s *Server) farewell(dialogs []*dialog) {
	for _, d := range dialogs {
		s.flush(d)
	}
}
