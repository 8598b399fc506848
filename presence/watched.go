package presence

import (
	"context"
	"strings"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/sipx"
)

// watched is an address to be watched with what the directory said.
type watched struct {
	uri     string
	address directory.Address // zero for what is no address
	result  directory.Result
}

// whoAndWhat looks up the watcher, where its dialect has clients, and all that
// it wants to watch.
func (s *Server) whoAndWhat(ctx context.Context, sub *subscription, uris []string) (user watched, list []watched, err error) {
	var as []directory.Address
	who, whoErr := directory.ParseAddress(bareURI(sub.req.From.URI))
	if whoErr == nil && (sub.dialect.ClientLife || sub.watchers) {
		as = append(as, who)
	}
	n := len(as)
	list = make([]watched, len(uris))
	for i, uri := range uris {
		list[i] = watched{uri: uri, result: directory.Result{Err: directory.ErrNotFound}}
		if a, err := directory.ParseAddress(uri); err == nil {
			list[i].address = a
			as = append(as, a)
		}
	}
	results := s.lookup(ctx, as)
	user = watched{address: who, result: directory.Result{Err: directory.ErrNotFound}}
	if n == 1 {
		user.result = results[0]
	}
	for i := range list {
		if list[i].address.Scheme != "" {
			list[i].result = results[n]
			n++
		}
	}
	if r := user.result; r.Err == nil && !mayActFor(sub.id, &r.Entry) {
		return user, nil, errNotFrom
	}
	return user, list, nil
}

// newWatches makes watches with a reference to their presentity each.
func (s *Server) newWatches(d *dialog, list []watched, id auth.Identity) []*watch {
	watches := make([]*watch, len(list))
	for i, item := range list {
		w := &watch{dialog: d, address: item.address, entity: strings.Clone(item.uri)}
		if item.address.Scheme == "" {
			w.presentity = s.presentities.acquire("?"+w.entity, nobody, directory.Entry{})
		} else {
			w.presentity = s.presentities.of(item.address, item.result)
		}
		w.own = item.result.Err == nil && auth.SameAccount(id, item.result.Entry.Account, item.result.Entry.ID)
		watches[i] = w
	}
	return watches
}

// joinClient ties a dialog to its client, and to the user where its first
// address is the user's own (BSP-4.1-1): that of the authenticated account; where
// nobody was authenticated, that of From; where From has none, the first that
// the client subscribes to. The error is for the peer.
func (s *Server) joinClient(d *dialog, sub *subscription, user, first watched) error {
	p := d.first()
	entry, kind := p.whose()
	from := user.address == first.address
	j := joining{
		at:    endpointOf(sub.req, sub.contact.URI, sub.id),
		first: p, userAgent: sub.req.Header.Get("User-Agent"),
		own: from,
	}
	if user.result.Err == nil {
		j.user = user.result.Entry.ID
	}
	switch one := !sub.id.IsZero() && !sub.id.AMCC; {
	case kind == resolved && one:
		j.own = auth.SameAccount(sub.id, entry.Account, entry.ID)
		if from && !j.own {
			return errNotFrom
		}
	case kind == resolved && j.user != "":
		j.own = from || j.user == entry.ID
	case kind == resolved, kind == unresolved && j.user == "":
		j.ifFirst = true
	}
	j.key = clientKey{user: p.key, contact: j.at.contact}
	if kind != resolved {
		if j.key.as = whoIs(sub.id); !sub.id.IsZero() {
			j.claims = &sub.id // to be judged when the directory is back
		}
	}
	own, err := s.clients.join(d, j)
	if err != nil {
		return sipx.Errorf(403, "too many clients of one user")
	}
	if now := d.first(); own && now != p {
		if entry, kind := now.whose(); kind == resolved { // the directory has come back meanwhile
			s.resolve(p, entry)
		}
	}
	return nil
}

var errNotFrom = sipx.Errorf(403, "From is another user's address")
