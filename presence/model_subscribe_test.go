package presence_test

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/directory"
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
		conn: req.Flow.Conn, expires: r.now.Add(granted), serial: len(r.dialogs)}
	for _, uri := range uris {
		a, user := r.locate(uri, ex)
		d.watches = append(d.watches, refWatch{uri, a, user})
	}
	if d.standard && r.tooMany(len(d.watches), ex.res.Status) {
		return 403, nil
	}
	tag = ex.res.ToTag
	if granted == 0 {
		d.fetch = true
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

// tooMany reports whether n watches more are beyond the share of the telephones' account
// (BSX-4). Fetches count until their watchers have been shown everything, or could not be:
// while there may be some, either answer is right.
func (r *reference) tooMany(n, answered int) bool {
	fetched := 0
	for _, d := range r.dialogs {
		switch {
		case !d.standard:
		case d.state == refLive:
			n += len(d.watches)
		case d.fetch && r.now.Before(d.endedAt.Add(10*time.Minute)):
			fetched += len(d.watches)
		}
	}
	return n > r.share || answered == 403 && n+fetched > r.share
}

// join ties a dialog to its client (BSP-4.1-1). Its first address is judged once the
// directory has answered.
func (r *reference) join(tag string, d *refDialog, ex exchange) {
	at := refEndpointOf(ex.req)
	d.client, d.hasClient = at, true
	c, ok := r.clients[at]
	if !ok {
		c.services = refServices
	}
	from, user := r.locate(ex.req.From.URI.String(), ex)
	d.from = from
	if first := d.watches[0]; first.user[0] != '?' {
		d.judged = true
		d.own = user == first.user || user[0] == '?' && (from == first.address || c.user == "" || c.user == first.user)
	}
	c.amcc = strings.HasPrefix(at.contact, "sip:fmc@")
	r.enter(&c, tag, d)
	r.clients[at] = c
}

// enter makes a dialog one of a client's, or tells that it is an own one. A client
// that subscribes to its own address once more has come back: what it had before is
// no longer its life.
func (r *reference) enter(c *refClient, tag string, d *refDialog) {
	if !slices.Contains(c.dialogs, tag) {
		c.dialogs = append(slices.Clip(c.dialogs), tag)
		d.generation = c.generation
	}
	if !d.own {
		return
	}
	c.user, c.alive = d.watches[0].user, true
	own, before, after, address := false, false, false, false
	for _, other := range c.dialogs {
		if o := r.dialogs[other]; other != tag && o.own && o.generation == c.generation {
			own, address = true, address || !o.list
			if o.list == d.list {
				before, after = before || o.serial < d.serial, after || o.serial > d.serial
			}
		}
	}
	switch again := !d.list || !address; {
	case again && after:
		d.generation = c.generation - 1
	case again && before:
		c.generation++
		d.generation, c.started = c.generation, false
	default:
		d.generation, c.started = c.generation, c.started && own
	}
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
	d.seq, d.conn, d.detached = ex.req.CSeq, ex.req.Flow.Conn, false
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
		d.judged = d.judged || watches[0].address != d.watches[0].address
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
	d = r.dialogs[tag]
	c, ok := r.clients[d.client]
	if ok && d.hasClient { // it is in use, whoever has come back meanwhile
		d.generation = c.generation
		r.dialogs[tag] = d
	}
	if d.standard {
		ask = append(ask, asked{tag, "", true})
	} else if c.amcc {
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
	tags := slices.SortedFunc(maps.Keys(r.dialogs), func(a, b string) int { return r.dialogs[a].serial - r.dialogs[b].serial })
	for _, tag := range tags {
		d := r.dialogs[tag]
		d.watches = slices.Clone(d.watches)
		first := false
		for i := range d.watches {
			if w := &d.watches[i]; w.user == from && d.state == refLive {
				w.user = to
				first = first || i == 0
				ask = append(ask, asked{tag, w.entity, false})
			}
		}
		if c, ok := r.clients[d.client]; ok && d.hasClient && first && !d.judged {
			d.judged = true
			if id := r.ids[d.from]; id != "" {
				d.own = id == to
			} else {
				d.own = c.user == "" || c.user == to
			}
			r.enter(&c, tag, &d)
			r.clients[d.client] = c
		}
		r.dialogs[tag] = d
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
	if d.detached {
		d.state = refGone
	}
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

func (r *reference) forget(key refEndpoint) { delete(r.clients, key) }

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
	var ends []refEndpoint
	for tag, d := range r.dialogs {
		if d.conn == conn && conn != 0 && d.state == refLive && r.end(tag, refGone, "") {
			ends = append(ends, d.client)
		}
	}
	for _, key := range ends {
		r.endClient(key)
	}
}

func (r *reference) endClient(key refEndpoint) {
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
	last := c.alive
	for _, o := range r.clients {
		last = last && (o.user != c.user || !o.alive)
	}
	if last {
		// BSP-2.2-3: what the clients published ends with the last of them.
		u := r.users[c.user]
		u.pubs = slices.DeleteFunc(slices.Clone(u.pubs), func(p refPub) bool { return p.shared })
		r.users[c.user] = u
	}
}

func (r *reference) alive(user string) bool {
	for _, c := range r.clients {
		if c.user == user && c.alive && !c.out {
			return true
		}
	}
	return false
}
