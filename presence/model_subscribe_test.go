package presence_test

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf"
)

// subscribe is the reference's SUBSCRIBE: RFC 6665 with what §2.1, §2.2, §2.9 and
// §4.1 make of it.
func (r *reference) subscribe(ex exchange) (status int, ask []asked) {
	req := ex.req
	uris, list := refURIs(req)
	tag := req.To.Tag()
	if tag != "" {
		if d, ok := r.dialogs[tag]; !ok || d.state != refLive || d.callID != req.CallID || d.remoteTag != req.From.Tag() {
			if ok && !d.standard && req.Header.Get("Expires") == "0" && r.now.Before(d.endedAt.Add(32*time.Second)) {
				return 200, nil // BSP-2.2-2: it has just ended
			}
			return 481, nil
		}
	}
	granted, ok := refGranted(req, refMax)
	if !ok {
		return 423, nil
	}
	if tag != "" {
		return r.refresh(ex, tag, uris, list, granted)
	}
	d := refDialog{callID: req.CallID, remoteTag: req.From.Tag(), standard: !isBluStar(req), list: list, seq: req.CSeq,
		conn: req.Flow.Conn, expires: r.now.Add(granted)}
	for _, uri := range uris {
		a, user := r.locate(uri, ex)
		d.watches = append(d.watches, refWatch{uri, a, user})
	}
	tag = ex.res.ToTag
	if granted == 0 {
		d.state, d.reason, d.endedAt, d.expires = refEnded, "timeout", r.now, r.now
		r.dialogs[tag] = d
		return 200, nil
	}
	if !d.standard {
		r.join(tag, &d, ex)
	}
	r.dialogs[tag] = d
	return 200, nil
}

// join ties a dialog to its client (BSP-4.1-1). One that subscribes to its own
// address once more has come back: what it had before is no longer its life.
func (r *reference) join(tag string, d *refDialog, ex exchange) {
	from, user := r.locate(ex.req.From.URI.String(), ex)
	at, first := refEndpointOf(ex.req), d.watches[0]
	key, known := r.at[at]
	d.own = from == first.address
	switch {
	case user[0] != '?':
		d.own = d.own || user == first.user
		key = refKey{user, at.contact}
	case !known || key.user == first.user && r.clients[key].alive:
		d.own = true
	}
	if d.own {
		key = refKey{first.user, at.contact}
	}
	if !known {
		r.at[at] = key
	}
	d.client, d.hasClient = key, true
	c, ok := r.clients[key]
	if !ok {
		c.services = refServices
	}
	if d.own {
		c.alive = true
		same, address := false, false
		for _, other := range c.dialogs {
			if o := r.dialogs[other]; o.own && o.generation == c.generation {
				same, address = same || o.list == d.list, address || !o.list
			}
		}
		if same && (!d.list || !address) {
			c.generation++
		}
		if !r.hasOwn(c) {
			if c.out {
				c.services = refServices
			}
			c.started, c.out = false, false
		}
	}
	c.amcc = strings.HasPrefix(key.contact, "sip:fmc@")
	c.dialogs = append(slices.Clip(c.dialogs), tag)
	d.generation = c.generation
	r.clients[key] = c
}

// hasOwn reports whether a client has a subscription to its own address.
func (r *reference) hasOwn(c refClient) bool {
	return slices.ContainsFunc(c.dialogs, func(tag string) bool {
		d := r.dialogs[tag]
		return d.own && d.generation == c.generation
	})
}

func (r *reference) refresh(ex exchange, tag string, uris []string, list bool, granted time.Duration) (int, []asked) {
	d := r.dialogs[tag]
	switch {
	case list && (d.standard || !d.list):
		return 415, nil
	case ex.req.CSeq <= d.seq:
		return 500, nil
	}
	d.seq, d.conn = ex.req.CSeq, ex.req.Flow.Conn
	r.dialogs[tag] = d
	if granted == 0 {
		r.finish(tag)
		return 200, nil
	}
	var ask []asked
	if list {
		var watches []refWatch
		for _, uri := range uris {
			a, user := r.locate(uri, ex)
			i := slices.IndexFunc(d.watches, func(w refWatch) bool { return w.address == a })
			if i >= 0 {
				watches = append(watches, d.watches[i])
			} else {
				watches = append(watches, refWatch{uri, a, user})
				ask = append(ask, asked{tag, uri, true})
			}
		}
		d.watches = watches
	}
	d.expires = r.now.Add(granted)
	if c, ok := r.clients[d.client]; ok && d.hasClient {
		d.generation = c.generation
	}
	r.dialogs[tag] = d
	if !list {
		for _, w := range d.watches {
			if w.user[0] == '?' && r.ids[w.address] != "" && !ex.failed[w.address] {
				ask = append(ask, r.resolve(w.address)...)
			}
		}
	}
	if d.standard {
		ask = append(ask, asked{tag, "", true})
	} else if c := r.clients[r.dialogs[tag].client]; c.amcc {
		for _, other := range c.dialogs {
			ask = append(ask, asked{other, "", true})
		}
	}
	return 200, ask
}

// resolve moves all that is about an address to the entry that it turned out to
// have (BSP-2.1-8).
func (r *reference) resolve(a directory.Address) (ask []asked) {
	from, to := "?"+a.String(), r.ids[a]
	for tag, d := range r.dialogs {
		d.watches = slices.Clone(d.watches)
		for i := range d.watches {
			if w := &d.watches[i]; w.user == from && d.state == refLive {
				w.user = to
				ask = append(ask, asked{tag, w.entity, false})
			}
		}
		if d.client.user == from {
			d.client.user = to
			if other, ok := r.clients[d.client]; ok {
				d.generation = other.generation
			}
		}
		r.dialogs[tag] = d
	}
	for key, c := range r.clients {
		if key.user != from {
			continue
		}
		delete(r.clients, key)
		for at, k := range r.at {
			if k == key {
				r.at[at] = refKey{to, key.contact}
			}
		}
		key.user = to
		if other, ok := r.clients[key]; ok {
			other.dialogs = append(slices.Clip(other.dialogs), c.dialogs...)
			other.alive = other.alive || c.alive
			c = other
		}
		r.clients[key] = c
	}
	return ask
}

// current returns the client of a dialog, unless it has come back since.
func (r *reference) current(d refDialog) (c refClient, ok bool) {
	c, ok = r.clients[d.client]
	return c, ok && d.hasClient && d.generation == c.generation
}

// end ends a dialog alone, and reports whether its client ends with it.
func (r *reference) end(tag string, state refState, reason string) (last bool) {
	d := r.dialogs[tag]
	d.state, d.reason, d.endedAt = state, reason, r.now
	r.dialogs[tag] = d
	c, ok := r.clients[d.client]
	if !ok || !d.hasClient {
		return false
	}
	c.dialogs = slices.DeleteFunc(slices.Clone(c.dialogs), func(t string) bool { return t == tag })
	r.clients[d.client] = c
	if !c.alive && len(c.dialogs) == 0 {
		r.forget(d.client)
	}
	return d.own && d.generation == c.generation && !r.hasOwn(c)
}

func (r *reference) forget(key refKey) {
	delete(r.clients, key)
	maps.DeleteFunc(r.at, func(_ refEndpoint, k refKey) bool { return k == key })
}

// finish ends a subscription that its watcher ends, or lets expire.
func (r *reference) finish(tag string) {
	if r.end(tag, refEnded, "timeout") {
		r.endClient(r.dialogs[tag].client)
	}
}

// lost ends one that its watcher does not know, or whose watcher is silent
// (BSP-2.3-1).
func (r *reference) lost(tag string, silent bool) {
	d := r.dialogs[tag]
	if d.state != refLive {
		return
	}
	_, current := r.current(d)
	if r.end(tag, refGone, "") || silent && current {
		r.endClient(d.client)
	}
}

func (r *reference) flowClosed(conn uint64) {
	var ends []refKey
	for tag, d := range r.dialogs {
		if d.conn == conn && conn != 0 && d.state == refLive && r.end(tag, refGone, "") {
			ends = append(ends, d.client)
		}
	}
	for _, key := range ends {
		r.endClient(key)
	}
}

func (r *reference) endClient(key refKey) {
	c, ok := r.clients[key]
	if !ok {
		return
	}
	r.forget(key)
	for _, tag := range c.dialogs {
		if r.dialogs[tag].state == refLive {
			r.end(tag, refEnded, "timeout")
		}
	}
	if c.alive && r.alive(key.user) && !r.othersIn(key.user, refKey{}) {
		u := r.users[key.user]
		u.pubs = slices.Clone(u.pubs)
		for i, p := range u.pubs {
			if p.shared {
				u.pubs = append(slices.Delete(u.pubs, i, i+1), p)
				u.pubs[len(u.pubs)-1].own = refOwn{status: pidf.StatusSignedOut, meaning: "signed out", at: r.now}
				break
			}
		}
		r.users[key.user] = u
	}
	if c.alive && !r.alive(key.user) {
		// BSP-2.2-3: what the clients published ends with the last of them.
		u := r.users[key.user]
		u.pubs = slices.DeleteFunc(slices.Clone(u.pubs), func(p refPub) bool { return p.shared })
		r.users[key.user] = u
	}
}

func (r *reference) alive(user string) bool {
	for key, c := range r.clients {
		if key.user == user && c.alive {
			return true
		}
	}
	return false
}
