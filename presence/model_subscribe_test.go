package presence_test

import (
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
		from, user := r.locate(req.From.URI.String(), ex)
		d.own = user == d.watches[0].user || from == d.watches[0].address
		d.client, d.hasClient = refKey{user, refContact(req)}, true
		r.join(tag, &d)
	}
	r.dialogs[tag] = d
	return 200, nil
}

// join ties a dialog to its client. One that subscribes to its own address once
// more has come back: what it had before is no longer its life (BSP-4.1-1).
func (r *reference) join(tag string, d *refDialog) {
	c, ok := r.clients[d.client]
	if !ok {
		c.services = refServices
	}
	if d.own {
		c.alive = true
		for _, other := range c.dialogs {
			if o := r.dialogs[other]; o.own && o.list == d.list && o.generation == c.generation {
				c.generation++
				break
			}
		}
	}
	c.amcc = strings.HasPrefix(d.client.contact, "sip:fmc@")
	c.dialogs = append(slices.Clip(c.dialogs), tag)
	d.generation = c.generation
	r.clients[d.client] = c
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
		}
		r.dialogs[tag] = d
	}
	for key, c := range r.clients {
		if key.user != from {
			continue
		}
		delete(r.clients, key)
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

// clientOf returns the client whose end the end of a dialog would be.
func (r *reference) clientOf(d refDialog) (key refKey, ok bool) {
	c, ok := r.clients[d.client]
	return d.client, ok && d.hasClient && d.generation >= c.generation
}

// end ends a dialog alone.
func (r *reference) end(tag string, state refState, reason string) {
	d := r.dialogs[tag]
	d.state, d.reason, d.endedAt = state, reason, r.now
	r.dialogs[tag] = d
	if c, ok := r.clients[d.client]; ok && d.hasClient {
		c.dialogs = slices.DeleteFunc(slices.Clone(c.dialogs), func(t string) bool { return t == tag })
		r.clients[d.client] = c
		if !c.alive && len(c.dialogs) == 0 {
			delete(r.clients, d.client)
		}
	}
}

// finish ends a subscription that its watcher ends, or lets expire.
func (r *reference) finish(tag string) {
	d := r.dialogs[tag]
	key, ok := r.clientOf(d)
	r.end(tag, refEnded, "timeout")
	if ok && d.own {
		r.endClient(key)
	}
}

// lost ends one whose watcher cannot be reached (BSP-2.3-1).
func (r *reference) lost(tag string) {
	d := r.dialogs[tag]
	if d.state != refLive {
		return
	}
	key, ok := r.clientOf(d)
	r.end(tag, refGone, "")
	if ok {
		r.endClient(key)
	}
}

func (r *reference) flowClosed(conn uint64) {
	var ends []refKey
	for tag, d := range r.dialogs {
		if d.conn == conn && conn != 0 && d.state == refLive {
			if key, ok := r.clientOf(d); ok {
				ends = append(ends, key)
			}
			r.end(tag, refGone, "")
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
	delete(r.clients, key)
	for _, tag := range c.dialogs {
		if r.dialogs[tag].state == refLive {
			r.end(tag, refEnded, "deactivated")
		}
	}
	if c.alive && !r.alive(key.user) {
		// BSP-2.2-3: what the clients published ends with the last of them.
		u := r.users[key.user]
		u.pubs = slices.DeleteFunc(slices.Clone(u.pubs), func(p refPub) bool { return p.shared })
		u.rest = refSignedOut(r.now)
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

func refSignedOut(now time.Time) refOwn {
	return refOwn{status: pidf.StatusSignedOut, meaning: "signed out", at: now}
}
