package presence

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/publication"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// client is one BluStar endpoint. Its fields are guarded by clients.mu, but for
// pulse. It is live, and opens its user's services, while it has a subscription to
// its own address or a publication.
type client struct {
	key       clientKey
	node      string         // whose it is of several that share a store; "" where it is this one's
	user      string         // whose client it is: ID of a directory entry; "" until that is known
	id        *auth.Identity // nil where nobody was authenticated
	userAgent unique.Handle[string]
	since     int64 // Unix time in nanoseconds
	pulse     subscription.Pulse
	dialogs   []*member
	published int64         // when its publication expires, Unix time in nanoseconds; zero where it has none
	expiry    *clientExpiry // nil where it never had one: most only watch
	// generation counts how often the client has come back without having ended:
	// what is left from before tells nothing about it any more.
	generation int32
	services   consolidation.Services
	amcc       bool
	out        bool // it published "signed out" (§4.3)
	spoken     bool // it has published since it opened its own subscription
	ended      bool
}

// identity is who the client is.
func (c *client) identity() auth.Identity {
	if c.id == nil {
		return auth.Identity{}
	}
	return *c.id
}

// member is a dialog of the BluStar dialect: the Data of a [subscription.Dialog].
type member struct {
	dialog *subscription.Dialog
	client *client // nil for a fetch

	// Guarded by clients.mu.
	own        bool  // subscribes to its user's own address
	judged     bool  // whether it does is settled: by what it was opened with, once that was found
	generation int32 // of the client, when it last opened or refreshed the dialog
}

// clients is the registry of BluStar clients.
type clients struct {
	server *Server
	mu     sync.Mutex
	m      map[clientKey]*client
	users  map[string]*user // those with a live client, or a presentity in memory
}

// user is the clients of one user. Its fields but now are guarded by clients.mu.
type user struct {
	live []*client
	left time.Time                // when the last of them ended; zero where none has
	now  atomic.Pointer[together] // nil where none ever was; for those who do not hold clients.mu
}

// together is what the live clients of a user are together.
type together struct {
	services consolidation.Services // what they can do
	any, in  bool                   // there is one; and one that is signed in (§4.3)
}

// changed makes u.now anew. clients.mu is held.
func (u *user) changed() {
	now := together{any: len(u.live) > 0}
	for _, c := range u.live {
		if !c.out {
			now.services, now.in = now.services.Or(c.services), true
			now.services.Global = true
		}
	}
	if now != u.together() {
		kept := now
		u.now.Store(&kept)
	}
}

// together returns what the clients are together now. It takes no lock.
func (u *user) together() together {
	if now := u.now.Load(); now != nil {
		return *now
	}
	return together{}
}

// user finds or makes the user with an ID.
func (cs *clients) user(id string) *user {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.userLocked(id)
}

func (cs *clients) userLocked(id string) *user {
	u := cs.users[id]
	if u == nil {
		u = &user{}
		cs.users[id] = u
	}
	return u
}

// find finds or makes the client of a request. Where nobody was authenticated, or an
// AMCC was, one with that Contact that is the user's already is the same, whatever its
// From; user may be "". cs.mu is held.
func (cs *clients) find(text []byte, user string, id auth.Identity) *client {
	if c := cs.m[clientKey(text)]; c != nil {
		return c
	}
	key := clientKey(text)
	for _, c := range cs.liveLocked(user) {
		nobody := id.IsZero() && c.id == nil && !c.amcc
		if c.key.contact() == key.contact() && (nobody || id.AMCC && c.identity() == id) {
			return c
		}
	}
	c := &client{key: key, since: time.Now().UnixNano(), services: defaultServices()}
	if !id.IsZero() {
		kept := id
		c.id = &kept
	}
	cs.m[key] = c
	return c
}

func (cs *clients) liveLocked(user string) []*client {
	if u := cs.users[user]; u != nil {
		return u.live
	}
	return nil
}

// forget drops a client that has nothing.
func (cs *clients) forget(c *client) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.forgetLocked(c)
}

func (cs *clients) forgetLocked(c *client) {
	if c.user == "" && c.node == "" && len(c.dialogs) == 0 && cs.m[c.key] == c {
		delete(cs.m, c.key)
		cs.server.journal.client(c)
	}
}

// judge reports whether a dialog has yet to be judged as its client's own, which is done
// once: what else its list begins with later changes nothing.
func (cs *clients) judge(m *member) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	first := !m.judged
	m.judged = true
	return first
}

// join adds a dialog to its client, or tells more of one that is in it already. own
// tells that it subscribes to the address of its user. It reports false where that user
// has too many live clients.
func (cs *clients) join(m *member, own bool, user string) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := m.client
	if own && !cs.roomLocked(c, user) {
		cs.forgetLocked(c)
		return false
	}
	if !slices.Contains(c.dialogs, m) {
		c.dialogs = append(c.dialogs, m)
		m.generation = c.generation
	}
	if own {
		elsewhere := c.node != ""
		cs.enlivenLocked(c, user)
		before, after := c.sameOwn(m)
		switch {
		case after: // it is of a life before
			m.generation = c.generation - 1
		case before, elsewhere: // it has come back
			c.generation++
			m.generation, c.spoken = c.generation, false
		default:
			m.generation, c.spoken = c.generation, c.spoken && c.hasOwn()
		}
		m.own = true
	}
	cs.server.journal.client(c)
	cs.server.journal.dialog(m.dialog, false, true)
	return true
}

// sameOwn reports whether a client has an own subscription as m already, opened before it
// or after it: whichever comes second tells that the client has started again. A PC
// client has two, its address and its list; that it opens another list, before it ends
// the one that it had, tells nothing where it has a subscription to its address.
// clients.mu is held.
func (c *client) sameOwn(m *member) (before, after bool) {
	for _, o := range c.dialogs {
		switch {
		case !o.own || o.generation != c.generation || o == m:
		case m.dialog.IsList() && !o.dialog.IsList():
			return false, false
		case o.dialog.IsList() == m.dialog.IsList():
			before = before || o.dialog.Serial() < m.dialog.Serial()
			after = after || o.dialog.Serial() > m.dialog.Serial()
		}
	}
	return before, after
}

// hasOwn reports whether a client has a subscription to its own address, of those
// that it has opened or refreshed since it last came back. clients.mu is held.
func (c *client) hasOwn() bool {
	return slices.ContainsFunc(c.dialogs, func(m *member) bool { return m.own && m.generation == c.generation })
}

// refreshed notes that a client still uses a dialog.
func (cs *clients) refreshed(m *member) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if m.generation != m.client.generation {
		m.generation = m.client.generation
		cs.server.journal.dialog(m.dialog, false, true)
	}
}

// room reports whether a client is live, or may become so.
func (cs *clients) room(c *client, user string) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.roomLocked(c, user)
}

func (cs *clients) roomLocked(c *client, user string) bool {
	return c.user != "" || len(cs.liveLocked(user)) < cs.server.cfg.MaxClients
}

// enlivenLocked makes c one of its user's live clients. One that turns out to be
// ended meanwhile begins anew.
func (cs *clients) enlivenLocked(c *client, user string) {
	if c.ended {
		c.ended, c.user, c.published, c.out, c.spoken = false, "", 0, false, false
		c.since, c.services = time.Now().UnixNano(), defaultServices()
	}
	c.node = ""
	if cs.m[c.key] == nil {
		cs.m[c.key] = c
	}
	if c.user == "" {
		c.user = user
		u := cs.userLocked(user)
		u.live = append(u.live, c)
		u.changed()
	}
}

// errManyClients is what a client is told that there is no room for.
var errManyClients = sipx.Errorf(403, "too many clients of one user")

// publish carries out the PUBLISH of a client, which can do services. The first that it
// sends since it began is ignored where its user has said something elsewhere: a client
// that starts must not overwrite that (§2.4).
//
// All of it is one step: a client that ends as the last of its user, before or after it,
// neither takes it along nor leaves it in the dark about what there is.
func (cs *clients) publish(c *client, services consolidation.Services, r publication.Request) (shared *publication.Contribution, ignored bool, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if !cs.roomLocked(c, r.Presentity) {
		return nil, false, errManyClients
	}
	said := r.Said
	if said != nil {
		switch {
		case r.IfMatch == "" && (!c.spoken || c.ended) && cs.server.publications.One(r.Presentity, publication.Shared) != nil:
			said, r.Said, ignored = nil, nil, true
		case said.Status == aa.StatusSignedOut && cs.othersLocked(c, r.Presentity):
			r.Said = nil // it speaks of this client: the user is there with another (§4.3)
		}
	}
	if shared, err = cs.server.publications.Publish(r); err != nil {
		return nil, false, err
	}
	cs.enlivenLocked(c, r.Presentity)
	if r.Body {
		c.spoken, c.services = true, services
	}
	if said != nil {
		c.out = said.Status == aa.StatusSignedOut
	}
	cs.users[c.user].changed()
	cs.expireLocked(c, r.Expires)
	cs.server.journal.client(c)
	return shared, ignored, nil
}

// othersLocked reports whether another client of the user is signed in.
func (cs *clients) othersLocked(c *client, user string) bool {
	return slices.ContainsFunc(cs.liveLocked(user), func(o *client) bool { return o != c && !o.out })
}

// clientExpiry is when the publication of a client expires.
type clientExpiry struct {
	deadline.Item
	server *Server
	client *client
}

// expireLocked has the publication of a client expire.
func (cs *clients) expireLocked(c *client, at time.Time) {
	c.published = at.UnixNano()
	if c.expiry == nil {
		c.expiry = &clientExpiry{server: cs.server, client: c}
	}
	cs.server.deadlines.Set(&c.expiry.Item, c.expiry, at)
}

// Expired implements [deadline.Expirer]. A client that only publishes ends with it.
func (e *clientExpiry) Expired() {
	c, cs := e.client, &e.server.clients
	cs.mu.Lock()
	over := !c.ended && c.published != 0 && c.published <= time.Now().UnixNano()
	if over {
		c.published = 0
		cs.server.journal.client(c)
		over = !c.hasOwn()
	}
	cs.mu.Unlock()
	if over {
		e.server.takeOut(c, "its publication expired", nil).announce(true)
	}
}

// leave takes a dialog from its client, and returns the client where it has ended with
// this last subscription to its own address.
func (cs *clients) leave(d *subscription.Dialog) *client {
	m, ok := d.Data.(*member)
	if !ok || m.client == nil {
		return nil
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := m.client
	i := slices.Index(c.dialogs, m)
	if i < 0 {
		return nil
	}
	c.dialogs = slices.Delete(c.dialogs, i, i+1)
	cs.forgetLocked(c)
	if m.own && m.generation == c.generation && c.node == "" && !c.ended && !c.hasOwn() {
		return c
	}
	return nil
}

// forgetUser drops what is remembered of a user without a client.
func (cs *clients) forgetUser(user string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.liveLocked(user)) == 0 {
		delete(cs.users, user)
	}
}

// since returns when the last client of a user left, as far as that is known.
func (cs *clients) since(u *user) time.Time {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if u.left.IsZero() {
		return cs.server.started
	}
	return u.left
}

// membersOf returns a copy of a client's dialogs.
func (cs *clients) membersOf(c *client) []*member {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return slices.Clone(c.dialogs)
}

// ownOf returns a copy of a client's subscriptions to its own address.
func (cs *clients) ownOf(c *client) []*member {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.dialogs), func(m *member) bool { return !m.own })
}

func (cs *clients) get(key clientKey) *client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.m[key]
}

// unixTime is a moment in nanoseconds of Unix time, where 0 is none.
func unixTime(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

// defaultServices are those of a client that published no tuples (§4.3).
func defaultServices() consolidation.Services {
	return consolidation.Services{Global: true, Audio: true, Message: true}
}
