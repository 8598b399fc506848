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

// client is one BluStar endpoint. clients.mu guards its fields, except pulse. A client is
// live while it has an own subscription or a publication. A live client opens the services
// of its user.
type client struct {
	key       clientKey
	node      string         // that it belongs to; "" for this one
	user      string         // ID of the entry of its user; "" until that is known
	id        *auth.Identity // nil where nobody was authenticated
	userAgent unique.Handle[string]
	since     int64 // Unix time in nanoseconds
	pulse     subscription.Pulse
	dialogs   []*member
	published int64         // when its publication expires, as package deadline counts; zero where it has none
	expiry    *clientExpiry // made with the first publication: most clients only watch
	// generation counts how often the client has started again without having ended.
	// Dialogs of an earlier generation do not keep it alive.
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
	judged     bool  // own is settled: the directory has told of the address that came first
	generation int32 // of the client, when it last opened or refreshed the dialog
}

// clients is the registry of BluStar clients.
type clients struct {
	server *Server
	mu     sync.Mutex
	m      map[clientKey]*client
	users  map[string]*userClients // those with a live client, or a presentity in memory
}

// userClients has the live clients of one user. clients.mu guards its fields, except now.
type userClients struct {
	live []*client
	left time.Time                // when the last client ended; zero where none has
	now  atomic.Pointer[together] // for readers without clients.mu; nil before the first client
}

// together is what the live clients of a user are together.
type together struct {
	services consolidation.Services // what they can do
	any, in  bool                   // there is a client; one is signed in (§4.3)
}

// changed makes u.now anew. clients.mu is held.
func (u *userClients) changed() {
	now := together{any: len(u.live) > 0}
	for _, c := range u.live {
		if !c.out {
			now.services, now.in = now.services.Or(c.services), true
			now.services.Global = true
		}
	}
	if now != u.together() {
		u.now.Store(new(now))
	}
}

// together returns what the clients are together now. It takes no lock.
func (u *userClients) together() together {
	if now := u.now.Load(); now != nil {
		return *now
	}
	return together{}
}

// userLocked finds or makes the user with an ID.
func (cs *clients) userLocked(id string) *userClients {
	u := cs.users[id]
	if u == nil {
		u = &userClients{}
		cs.users[id] = u
	}
	return u
}

// user is userLocked for those who do not hold clients.mu.
func (cs *clients) user(id string) *userClients {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.userLocked(id)
}

// find finds or makes the client of a request. user may be "". Where nobody was
// authenticated, or an AMCC was, a live client of the user with the same Contact is the
// same client, whatever its From. cs.mu is held.
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
		c.id = new(id)
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

// forget drops a client that has neither a user nor a dialog.
func (cs *clients) forget(c *client) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.forgetLocked(c)
}

func (cs *clients) forgetLocked(c *client) {
	if c.user == "" && c.node == "" && len(c.dialogs) == 0 && cs.m[c.key] == c {
		delete(cs.m, c.key)
		cs.mark(c)
	}
}

// judge reports whether it is still open if a dialog is its client's own, and settles
// that. A list that begins with another address later changes nothing.
func (cs *clients) judge(m *member) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	first := !m.judged
	m.judged = true
	return first
}

// join adds a dialog to its client, unless it is there. own tells that the dialog
// subscribes to the address of its user. join reports false where that user has too many
// live clients.
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
		case after: // m is of an earlier generation
			m.generation = c.generation - 1
		case before, elsewhere: // the client has started again
			c.generation++
			m.generation, c.spoken = c.generation, false
		default:
			m.generation, c.spoken = c.generation, c.spoken && c.hasOwn()
		}
		m.own = true
	}
	cs.mark(c)
	cs.server.journal.dialog(m.dialog, false, true)
	return true
}

// sameOwn reports whether a client has another own subscription of the same form as m,
// opened before m or after it. The later of the two tells that the client has started
// again. A PC client has one to its address and one to its list. Where it has the one to
// its address, a second list does not tell that. clients.mu is held.
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

// hasOwn reports whether a client has an own subscription of its generation. clients.mu
// is held.
func (c *client) hasOwn() bool {
	return slices.ContainsFunc(c.dialogs, func(m *member) bool { return m.own && m.generation == c.generation })
}

// refreshed moves a dialog to the generation of its client.
func (cs *clients) refreshed(m *member) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if m.generation != m.client.generation {
		m.generation = m.client.generation
		cs.server.journal.dialog(m.dialog, false, true)
	}
}

// roomLocked reports whether a client is live, or may become so.
func (cs *clients) roomLocked(c *client, user string) bool {
	return c.user != "" || len(cs.liveLocked(user)) < cs.server.cfg.MaxClients
}

// enlivenLocked makes c one of its user's live clients. A client that has ended meanwhile
// begins anew.
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
		cs.joinUserLocked(c)
	}
}

// joinUserLocked makes a client one of the live ones of its user.
func (cs *clients) joinUserLocked(c *client) {
	u := cs.userLocked(c.user)
	u.live = append(u.live, c)
	u.changed()
}

// leaveUserLocked takes a client from the live ones of its user.
func (cs *clients) leaveUserLocked(c *client) {
	if u := cs.users[c.user]; u != nil {
		u.live = slices.DeleteFunc(u.live, func(o *client) bool { return o == c })
		u.changed()
	}
}

// errManyClients refuses a client for which there is no room.
var errManyClients = sipx.Errorf(403, "too many clients of one user")

// publish carries out the PUBLISH of a client with these services. It ignores the status
// of the first PUBLISH of a client whose user has a publication: a client that starts must
// not overwrite it (§2.4). ignored tells so.
//
// All of it is one step with clients.mu held: the last client of a user may end at the
// same moment, and ends the publication with it.
func (cs *clients) publish(c *client, services consolidation.Services, r publication.Request) (done *clientPublish, ignored bool, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if !cs.roomLocked(c, r.Presentity) {
		return nil, false, errManyClients
	}
	done = &clientPublish{client: c, began: c.user == "" || c.ended, until: c.published, services: c.services, out: c.out, spoken: c.spoken}
	said := r.Said
	if said != nil {
		switch {
		case r.IfMatch == "" && (!c.spoken || c.ended) && cs.server.publications.One(r.Presentity, publication.Shared) != nil:
			said, r.Said, ignored = nil, nil, true
		case said.Status == aa.StatusSignedOut && cs.othersLocked(c, r.Presentity):
			r.Said = nil // it is about this client: the user is signed in with another (§4.3)
		}
	}
	if done.now, done.before, err = cs.server.publications.Publish(r); err != nil {
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
	if cs.server.cluster != nil || done.changed(c) { // else the record of the publication has it
		cs.mark(c)
	}
	cs.expireLocked(c, r.Expires)
	return done, ignored, nil
}

// clientPublish is the PUBLISH of a client with what was before.
type clientPublish struct {
	client      *client
	now, before *publication.Contribution
	began       bool // the client has become live by it
	until       int64
	services    consolidation.Services
	out, spoken bool
}

// changed reports whether a PUBLISH has changed more of its client than until when it has
// published.
func (done *clientPublish) changed(c *client) bool {
	return done.began || done.until == 0 || done.now.Rule != publication.Shared ||
		done.services != c.services || done.out != c.out || done.spoken != c.spoken
}

// publishers appends the clients of a user that have published.
func (cs *clients) publishers(list []publisher, user string) []publisher {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.liveLocked(user) {
		if c.published != 0 && c.node == "" {
			list = append(list, publisher{clientRef{c.key, c.since}, c.publishedUntil().UnixNano()})
		}
	}
	return list
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

// expireLocked sets when the publication of a client expires. cs.mu is held.
func (cs *clients) expireLocked(c *client, at time.Time) {
	c.published = deadline.At(at)
	if c.expiry == nil {
		c.expiry = &clientExpiry{server: cs.server, client: c}
	}
	cs.server.deadlines.Set(&c.expiry.Item, c.expiry, at)
}

// leave takes a dialog from its client. It returns the client if this was its last own
// subscription: the client has ended.
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

// forgetUser forgets a user without a live client.
func (cs *clients) forgetUser(user string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.liveLocked(user)) == 0 {
		delete(cs.users, user)
	}
}

// since returns when the last client of a user ended, or when the server started.
func (cs *clients) since(u *userClients) time.Time {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if u.left.IsZero() {
		return cs.server.started
	}
	return u.left
}

// membersOf returns the dialogs of a client.
func (cs *clients) membersOf(c *client) []*member {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return slices.Clone(c.dialogs)
}

// ownOf returns the own subscriptions of a client.
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

// mark has the record of a client written.
func (cs *clients) mark(c *client) {
	if j := cs.server.journal; j != nil {
		j.mark(clientRef{c.key, c.since})
	}
}

// publishedUntil is when the publication of a client expires, by the clock on the wall; zero where
// it has none.
func (c *client) publishedUntil() time.Time {
	if c.published == 0 {
		return time.Time{}
	}
	return deadline.Wall(deadline.Time(c.published))
}
