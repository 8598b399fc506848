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
// by its Contact. An AMCC has one Contact for many users (§2.11). Where it is not
// known yet whose client it is, because the user is "" or the directory could not
// say whose address that is, as is who says so: a Contact is no secret.
type clientKey struct {
	user, contact, as string
}

// endpoint is where requests of one client come from: a Contact, and who sends
// them. That is the account; for an AMCC, whose account acts for many, the
// address in From; and "" where nobody was authenticated.
type endpoint struct {
	contact, as string
}

func endpointOf(req *sipx.Request, contact sipx.URI, id auth.Identity) endpoint {
	e := endpoint{contact: contactKey(contact)}
	switch {
	case id.AMCC, contact.User == amccUser:
		e.as = "from " + watchKey(bareURI(req.From.URI))
	default:
		e.as = strings.ToLower(whoIs(id))
	}
	return e
}

// client is one BluStar endpoint of a user. All its fields are guarded by
// clients.mu. It is live, and opens its user's services, while it has a
// subscription to its own address (BSP-4.1-1) or a publication.
type client struct {
	key       clientKey
	endpoints []endpoint // under which it is found where From does not say whose it is
	amcc      bool
	userAgent string
	since     time.Time
	user      *presentity // of its own subscription or publication; nil until there is one
	dialogs   []*dialog
	services  ServiceState
	published time.Time // when its publication expires; zero where it has none
	started   bool      // has published a document since it opened its own subscription
	out       bool      // … which said signed out
	expiry    *time.Timer
	ended     bool
	claims    *auth.Identity // who it is, where the directory could not say yet whose address that is
	// generation counts how often the client has come back without having
	// ended (comesBack). What it then opens or refreshes is of the new one.
	generation int32
}

// clients is the registry of BluStar clients. Its lock is a leaf.
type clients struct {
	server *Server
	mu     sync.Mutex
	m      map[clientKey]*client
	at     map[endpoint]*client
	live   map[*presentity][]*client
}

// contactKey writes a Contact's URI for comparison: parameters do not count, so
// that a client that adds one is still itself.
func contactKey(u sipx.URI) string {
	u.Params, u.Headers = "", ""
	return u.String()
}

// find returns the client of a key, else that at the endpoint where it is not
// known yet whose it is, or nil. cs.mu is held.
func (cs *clients) find(key clientKey, at endpoint) *client {
	if c := cs.m[key]; c != nil {
		return c
	}
	if c := cs.at[at]; c != nil && c.key.user == "" {
		return c
	}
	return nil
}

// get finds or makes the client. cs.mu is held.
func (cs *clients) get(key clientKey, at endpoint) *client {
	c := cs.find(key, at)
	switch {
	case c == nil:
		c = &client{key: key, since: time.Now(), services: defaultServices}
		cs.m[key] = c
	case c.key != key:
		delete(cs.m, c.key)
		c.key = key
		cs.m[key] = c
	}
	if cs.at[at] == nil && len(c.endpoints) < maxEndpoints {
		cs.at[at] = c
		c.endpoints = append(c.endpoints, at)
	}
	return c
}

// maxEndpoints bounds the endpoints of a client: an AMCC may write several
// addresses of one user into From.
const maxEndpoints = 8

// joining is a dialog on its way to its client.
type joining struct {
	at        endpoint
	key       clientKey   // of the user of the first address, if the dialog turns out to be own
	first     *presentity // of the first address
	own       bool        // that is the user's own
	ifFirst   bool        // it is where it is the first that the endpoint subscribes to
	user      string      // whose From is, or "" where that is not known
	userAgent string
	claims    *auth.Identity
}

// join adds a dialog to its client. It fails with ErrTooMany where the user has
// too many live clients.
func (cs *clients) join(d *dialog, j joining) (own bool, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.at[j.at]
	own = j.own || j.ifFirst && (c == nil || c.key.user == "" || c.user == j.first) && cs.roomFor(cs.find(j.key, j.at), j.first)
	switch {
	case own:
		c = cs.get(j.key, j.at)
	case j.user != "":
		c = cs.get(clientKey{user: j.user, contact: j.at.contact}, j.at)
	case c == nil:
		c = cs.get(clientKey{contact: j.at.contact, as: j.at.as}, j.at)
	}
	if own {
		if !cs.roomFor(c, j.first) {
			cs.forget(c)
			return true, ErrTooMany
		}
		cs.enliven(c, j.first, j.userAgent)
		if c.comesBack(d) {
			c.generation++
		}
		if !c.hasOwn() { // it starts
			if c.out {
				c.services = defaultServices
			}
			c.started, c.out = false, false
		}
		if j.claims != nil {
			c.claims = j.claims
		}
	}
	c.amcc = d.target.User == amccUser
	c.dialogs = append(c.dialogs, d)
	d.client, d.own, d.generation = c, own, c.generation
	return own, nil
}

// comesBack reports whether an own subscription tells that the client has
// started again: it has such a one already. A PC client has two, its address and
// its list; that it opens another list, before it ends the one that it had, tells
// nothing where it has a subscription to its address.
func (c *client) comesBack(d *dialog) bool {
	same, address := false, false
	for _, other := range c.dialogs {
		if other.own && other.generation == c.generation {
			same = same || other.list == d.list
			address = address || !other.list
		}
	}
	return same && (!d.list || !address)
}

// publish notes that a client, for which there was room, published until expires.
// services is nil where the request said nothing about them; out tells that it said
// signed out.
func (cs *clients) publish(key clientKey, at endpoint, user *presentity, services *ServiceState, out bool, expires time.Time, userAgent string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.get(key, at)
	cs.enliven(c, user, userAgent)
	if services != nil {
		c.services, c.started, c.out = *services, true, out
	}
	c.published = expires
	stopTimer(&c.expiry)
	c.expiry = cs.server.after(time.Until(expires), func() {
		if cs.onlyPublished(c, expires) {
			cs.server.endClient(c, publicationExpired, reasonTimeout)
		}
	})
}

// onlyPublished reports whether a client has nothing that keeps it live but a
// publication, which expires at this moment or before.
func (cs *clients) onlyPublished(c *client, expires time.Time) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return !c.ended && c.user != nil && !c.published.After(expires) && !c.hasOwn()
}

// hasOwn reports whether a client has a subscription to its own address, of
// those that it opened since it last came back. clients.mu is held.
func (c *client) hasOwn() bool {
	return slices.ContainsFunc(c.dialogs, func(d *dialog) bool { return d.own && d.generation == c.generation })
}

// starts reports whether a client has not published a document since it opened
// its own subscription (BSP-2.4-3).
func (cs *clients) starts(key clientKey, at endpoint) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.find(key, at)
	return c == nil || !c.started
}

// room reports whether a client is live, or may become so. Where a user's clients
// come by SUBSCRIBE and PUBLISH at one moment there may be one more than allowed.
func (cs *clients) room(key clientKey, at endpoint, user *presentity) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.roomFor(cs.find(key, at), user)
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
	if c.user == nil && len(c.dialogs) == 0 {
		cs.remove(c)
	}
}

// remove takes a client out of the registry. cs.mu is held.
func (cs *clients) remove(c *client) {
	if cs.m[c.key] == c {
		delete(cs.m, c.key)
	}
	for _, at := range c.endpoints {
		delete(cs.at, at)
	}
	c.endpoints = nil
}

// departure is what a client that has ended had.
type departure struct {
	client  *client
	dialogs []*dialog
	user    *presentity // nil where it had none
}

// leave takes a dialog from its client. The client ends with its last
// subscription to the own address (BSP-2.2-2, BSP-2.3-1), but not with one from
// before it came back; the departure is nil where it does not.
func (cs *clients) leave(d *dialog) *departure {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := d.client
	if c == nil {
		return nil
	}
	i := slices.Index(c.dialogs, d)
	if i < 0 {
		return nil
	}
	c.dialogs = slices.Delete(c.dialogs, i, i+1)
	if d.own && d.generation == c.generation && !c.hasOwn() {
		return cs.depart(c)
	}
	cs.forget(c)
	return nil
}

// current returns the client of a dialog, or nil where that has come back since,
// or the dialog has left it.
func (cs *clients) current(d *dialog) *client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := d.client; c != nil && !c.ended && d.generation == c.generation {
		return c
	}
	return nil
}

// refreshed notes that a client still uses a dialog.
func (cs *clients) refreshed(d *dialog) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if d.client != nil {
		d.generation = d.client.generation
	}
}

// lookup returns the client that a PUBLISH is of, or nil.
func (cs *clients) lookup(key clientKey, at endpoint) *client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.find(key, at)
}

// ownDialogs returns the subscriptions of a client to its own address, the newest
// first.
func (cs *clients) ownDialogs(key clientKey) (list []*dialog) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.m[key]; c != nil {
		for _, d := range slices.Backward(c.dialogs) {
			if d.own {
				list = append(list, d)
			}
		}
	}
	return list
}

// dialogsOf returns a copy of a client's dialogs.
func (cs *clients) dialogsOf(c *client) []*dialog {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return slices.Clone(c.dialogs)
}

// end takes a client out. The departure is nil where it has ended before.
func (cs *clients) end(c *client) *departure {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.ended {
		return nil
	}
	return cs.depart(c)
}

// depart takes a client out that has not ended. cs.mu is held.
func (cs *clients) depart(c *client) *departure {
	gone := &departure{client: c, dialogs: c.dialogs, user: c.user}
	c.ended, c.dialogs = true, nil
	stopTimer(&c.expiry)
	cs.remove(c)
	if user := c.user; user != nil {
		list := slices.DeleteFunc(cs.live[user], func(other *client) bool { return other == c })
		if len(list) == 0 {
			delete(cs.live, user)
		} else {
			cs.live[user] = list
		}
	}
	return gone
}

// liveOf returns a copy of the live clients of a user.
func (cs *clients) liveOf(p *presentity) []*client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return slices.Clone(cs.live[p])
}

// othersIn reports whether a client of the user's is live but the one of a key, and
// has not published that it is signed out.
func (cs *clients) othersIn(p *presentity, but clientKey) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return slices.ContainsFunc(cs.live[p], func(c *client) bool { return !c.out && c.key != but })
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
		if !c.out {
			st = st.or(c.services)
			st.Global = true
		}
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
				d.client, d.generation = other, other.generation
			}
			for _, at := range c.endpoints {
				cs.at[at] = other
			}
			other.endpoints = append(other.endpoints, c.endpoints...)
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

// endClient ends a client.
func (s *Server) endClient(c *client, why string, last reason) {
	s.departed(s.clients.end(c), why, last)
}

// departed does what is to be done when a client has ended: its subscriptions are
// released with a last NOTIFY, and where it was its user's last the user is
// signed out (§2.2, §2.3), which is so before the client hears of its end.
func (s *Server) departed(gone *departure, why string, last reason) {
	if gone == nil {
		return
	}
	s.dismiss(gone, why, last)
	if user := gone.user; user != nil {
		user.publishing.Lock()
		notify := s.settle(user)
		user.publishing.Unlock()
		notify()
		s.presentities.release(user)
	}
	s.farewell(gone)
}

// dismiss closes the dialogs of a client that has ended. What remains to be done
// is to settle and release its user, where it had one, and to say farewell.
func (s *Server) dismiss(gone *departure, why string, last reason) {
	if c := gone.client; gone.user != nil {
		s.cfg.Logger.Info("client ended", "user", c.key.user, "contact", c.key.contact, "why", why)
	}
	gone.dialogs = slices.DeleteFunc(gone.dialogs, func(d *dialog) bool {
		_, closed := s.close(d, last)
		return !closed
	})
}

func (s *Server) farewell(gone *departure) {
	for _, d := range gone.dialogs {
		s.flush(d)
	}
}
