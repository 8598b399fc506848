package presence

import (
	"unique"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/sipx"
)

// clientOf finds or makes the client that sends a request. user may be "".
func (s *Server) clientOf(req *sipx.Request, contact sipx.Address, id auth.Identity, user string) *client {
	var buffer [256]byte
	key := appendClientKey(buffer[:0], req, contact, id)
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	c := s.clients.find(key, user, id)
	if c.userAgent == (unique.Handle[string]{}) {
		c.userAgent = unique.Make(req.Header.Get("User-Agent"))
	}
	c.amcc = contact.URI.User == amccUser || id.AMCC
	return c
}

// appendClientKey appends the [clientKey] of the client that sends a request.
func appendClientKey(key []byte, req *sipx.Request, contact sipx.Address, id auth.Identity) []byte {
	if account := whoIs(id); account != "" && contact.URI.User != amccUser && !id.AMCC {
		key = append(key, "account "...)
		key = append(key, account...)
	} else {
		key = appendBare(key, req.From.URI)
	}
	for i, b := range key {
		if 'A' <= b && b <= 'Z' {
			key[i] += 'a' - 'A'
		}
	}
	key = append(key, ' ')
	return appendContact(key, contact.URI)
}

// owns reports whether an entry belongs to the client's own user (BSP-4.1-1). entry is that of the
// first address of a dialog. from is that of the address in From.
//
// The entry of the authenticated account is the client's own. If nobody was authenticated, the
// entry of From is. If From has no entry, the first entry counts that the Contact subscribes to, if
// there is room for one more client.
func (s *Server) owns(c *client, from directory.Result, entry *directory.Entry) bool {
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	switch {
	case c.id != nil && !c.amcc:
		return auth.SameAccount(*c.id, entry.Account, entry.ID)
	case from.Err == nil:
		return from.Entry.ID == entry.ID
	}
	return c.user == entry.ID || c.user == "" && s.clients.roomLocked(c, entry.ID)
}

// isKnown reports whether a live BluStar client has this account and Contact. An SBC may have taken
// the User-Agent out of a request, and a client does not show its credentials in each request.
func (s *Server) isKnown(req *sipx.Request, contact sipx.Address, id auth.Identity) bool {
	return s.cfg.Dialect == DialectAuto && !id.IsZero() && req.Header.Get("User-Agent") == "" && !contact.URI.IsZero() &&
		s.clients.get(clientKey(appendClientKey(nil, req, contact, id))) != nil
}
