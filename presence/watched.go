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

// joinClient ties a dialog to its client: to the user, where the first address
// has the same entry as From (BSP-4.1-1). The error is for the peer.
func (s *Server) joinClient(d *dialog, sub *subscription, user, first watched) error {
	key := clientKey{contact: contactKey(sub.contact.URI)}
	var claims *auth.Identity
	if user.result.Err == nil {
		key.user = user.result.Entry.ID
	} else if key.user, key.as = "?"+user.address.String(), whoIs(sub.id); !sub.id.IsZero() {
		claims = &sub.id // to be judged when the directory is back
	}
	own := user.address == first.address
	if !own && user.result.Err == nil && first.result.Err == nil {
		own = user.result.Entry.ID == first.result.Entry.ID
	}
	p := d.first()
	if own {
		key.user = p.key
		if entry, ok := p.resolvedEntry(); ok { // now, if not when it was looked up
			if !mayActFor(sub.id, &entry) {
				return errNotFrom
			}
			key.as, claims = "", nil
		}
	}
	if s.clients.join(d, key, sub.contact.URI.User == amccUser, own, p, sub.req.Header.Get("User-Agent"), claims) != nil {
		return sipx.Errorf(403, "too many clients of one user")
	}
	if now := d.first(); own && now != p {
		if entry, ok := now.resolvedEntry(); ok { // the directory has come back meanwhile
			s.resolve(p, entry)
		}
	}
	return nil
}

var errNotFrom = sipx.Errorf(403, "From is another user's address")
