package presence

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/sipx"
)

// subscription is a SUBSCRIBE on its way through the server.
type subscription struct {
	req     *sipx.Request
	dialect *Dialect
	contact sipx.Address
	expires time.Duration // granted
	routes  []string
	id      auth.Identity

	watchers bool // Event: presence.winfo
}

// subscribe handles a SUBSCRIBE and returns its response, and what to do once
// that has left.
func (s *Server) subscribe(ctx context.Context, req *sipx.Request) (*sipx.Response, func(), error) {
	sub := &subscription{req: req}
	event, ok := sipx.ParseEvent(req.Header.Get("Event"))
	media := typePIDF
	switch {
	case ok && event.Package == eventPresence:
	case ok && event.Package == eventWatchers:
		media, sub.watchers = typeWatcherInfo, true
	default:
		return s.badEvent(), nil, nil
	}
	var err error
	if sub.contact, err = oneContact(req); err != nil {
		return nil, nil, err
	}
	if req.From.Tag() == "" {
		return nil, nil, sipx.Errorf(400, "From without tag")
	}
	if sub.routes, err = recordRoutes(req); err != nil {
		return nil, nil, err
	}
	var d *dialog
	sub.dialect = s.dialectOf(req, sub.contact)
	if req.To.Tag() != "" {
		if d = s.dialogs.find(req); d == nil {
			return sipx.NewResponse(481), nil, nil
		}
		sub.dialect = d.dialect
		if d.event != event.String() {
			return sipx.NewResponse(481), nil, nil // RFC 6665 §4.5.2: another subscription
		}
	}
	if sub.expires, err = s.granted(req, s.cfg.MaxSubscribeExpires); err != nil {
		return nil, nil, err
	}
	if !accepts(req.Header, media) {
		return sipx.NewResponse(406, sipx.Field{Name: "Accept", Value: media}), nil, nil
	}
	id, refused := s.check(ctx, req, sub.contact, sub.dialect)
	if refused != nil {
		return refused, nil, nil
	}
	sub.id = id
	if d != nil {
		return s.resubscribe(ctx, d, sub)
	}
	return s.open(ctx, sub, event)
}

// open makes a new subscription.
func (s *Server) open(ctx context.Context, sub *subscription, event sipx.Event) (*sipx.Response, func(), error) {
	uris, list, err := s.listOf(sub.req)
	if err != nil {
		return nil, nil, err
	}
	if !list {
		uris = []string{s.presentityURI(sub.req)}
	}
	user, watched, err := s.whoAndWhat(ctx, sub, uris)
	if err != nil {
		return nil, nil, err
	}
	if sub.watchers {
		if err := mayWatchWatchers(sub.id, user, watched[0], list); err != nil {
			return nil, nil, err
		}
	}
	if s.watching.Add(int64(len(watched))) > int64(s.cfg.MaxSubscriptions) && sub.expires > 0 {
		s.watching.Add(-int64(len(watched)))
		return overloaded("too many subscriptions"), nil, nil
	}
	d := s.newDialog(sub, event, list)
	d.watches = s.newWatches(d, watched, sub.id)
	if sub.watchers {
		d.watches[0].watchers = true
		d.watches[0].presentity.listNow()
	}
	if sub.expires == 0 {
		s.watching.Add(-int64(len(watched)))
		return d.granted(sub), func() { s.fetch(d) }, nil
	}
	s.dialogs.add(d, d.flow)
	s.addWatches(d.watches)
	if sub.dialect.ClientLife && !sub.watchers {
		if err := s.joinClient(d, sub, user, watched[0]); err != nil {
			s.unlink(d)
			return nil, nil, sipx.Errorf(403, "too many clients of one user")
		}
		if !s.dialogs.live(d) { // its connection has closed meanwhile
			c, _ := s.clients.of(d)
			s.clients.leave(d)
			s.endClient(c, "its connection is gone")
		}
	}
	return d.granted(sub), func() { s.begin(d, sub.expires) }, nil
}

// begin starts a new dialog once its 200 has left: nothing was sent before,
// because d.draining was set.
func (s *Server) begin(d *dialog, expires time.Duration) {
	s.restart(d, expires)
	d.mu.Lock()
	for _, w := range d.watches {
		w.force = true
		d.push(w)
	}
	d.mu.Unlock()
	if d.isOwn() {
		s.update(d.first()) // its services have opened
	}
	s.drain(d)
}

// fetch shows the state once.
func (s *Server) fetch(d *dialog) {
	d.mu.Lock()
	if d.list {
		d.fetch = true
		for _, w := range d.watches {
			w.force = true
			d.push(w)
		}
	} else {
		d.state, d.final = dialogEnding, reasonTimeout
	}
	watches := d.watches
	d.mu.Unlock()
	s.drain(d)
	for _, w := range watches {
		s.presentities.release(w.presentity)
	}
}

// first is the first presentity that d watches.
func (d *dialog) first() *presentity {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.watches[0].presentity
}

func (d *dialog) isOwn() bool {
	d.server.clients.mu.Lock()
	defer d.server.clients.mu.Unlock()
	return d.own
}

// granted is the 200 to a SUBSCRIBE.
func (d *dialog) granted(sub *subscription) *sipx.Response {
	res := sipx.NewResponse(200,
		sipx.Field{Name: "Contact", Value: d.contact},
		sipx.Field{Name: "Expires", Value: seconds(sub.expires)})
	for route := range sub.req.Header.Values("Record-Route") {
		res.Header.Add("Record-Route", route)
	}
	if d.list && !d.dialect.ListByEntry {
		res.Header.Add("Require", "eventlist")
	}
	res.ToTag = d.localTag()
	return res
}

// resubscribe refreshes or ends a subscription.
func (s *Server) resubscribe(ctx context.Context, d *dialog, sub *subscription) (*sipx.Response, func(), error) {
	if d.account != "" && !strings.EqualFold(d.account, sub.id.Account) {
		return nil, nil, sipx.Errorf(403, "the subscription is somebody else's")
	}
	uris, list, err := s.listOf(sub.req)
	if err != nil {
		return nil, nil, err
	}
	if list && !(d.list && d.dialect.ListInRefresh) {
		return sipx.NewResponse(415, sipx.Field{Name: "Accept", Value: typePIDF}), nil, nil
	}
	d.refreshing.Lock()
	defer d.refreshing.Unlock()
	if err := d.advance(s, sub); err != nil {
		return nil, nil, err
	}
	if sub.expires == 0 {
		return d.granted(sub), func() { s.ended(d) }, nil
	}
	var added []*watch
	if list {
		if added, err = s.replaceList(ctx, d, sub, uris); err != nil {
			return nil, nil, err
		}
	} else {
		s.lookAgain(ctx, d)
	}
	s.restart(d, sub.expires)
	return d.granted(sub), func() { s.refreshed(d, added) }, nil
}

// advance takes the CSeq, the target and the flow of a request in the dialog
// (RFC 3261 §12.2.2).
func (d *dialog) advance(s *Server, sub *subscription) error {
	flow := s.returnFlow(sub.req, sub.contact.URI, len(d.routes) > 0)
	d.mu.Lock()
	if d.state != dialogActive {
		d.mu.Unlock()
		return sipx.Errorf(481, "")
	}
	if sub.req.CSeq <= d.remoteSeq {
		d.mu.Unlock()
		return sipx.Errorf(500, "CSeq out of order")
	}
	d.remoteSeq = sub.req.CSeq
	old := d.flow
	d.flow = flow
	if d.target != sub.contact.URI {
		d.target = cloneURI(sub.contact.URI)
	}
	d.mu.Unlock()
	if old != flow {
		s.dialogs.rebind(d, old, flow)
	}
	return nil
}

// refreshed sends what a refresh asks for, once its 200 has left.
func (s *Server) refreshed(d *dialog, added []*watch) {
	d.mu.Lock()
	watches := slices.Clone(d.watches)
	d.listed = false // RLMI: a refresh is shown all (RFC 4662 §5.2)
	d.mu.Unlock()
	switch {
	case d.dialect.NotifyOnRefresh:
		s.enqueueAll(watches)
	case s.isAMCC(d):
		// BSP-2.9-2: everything that this client watches, in all its dialogs.
		s.clients.mu.Lock()
		c := d.client
		s.clients.mu.Unlock()
		for _, other := range s.clients.dialogsOf(c) {
			other.mu.Lock()
			watches := slices.Clone(other.watches)
			other.mu.Unlock()
			s.enqueueAll(watches)
		}
	default:
		s.enqueueAll(added)
	}
}

func (s *Server) enqueueAll(watches []*watch) {
	for _, w := range watches {
		s.enqueue(w, true)
	}
}

func (s *Server) isAMCC(d *dialog) bool {
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	return d.client != nil && d.client.amcc
}

// lookAgain looks addresses without an entry up once more: the directory may
// have it by now.
func (s *Server) lookAgain(ctx context.Context, d *dialog) {
	d.mu.Lock()
	var open []*watch
	var as []directory.Address
	for _, w := range d.watches {
		if strings.HasPrefix(w.presentity.key, "?") && w.address.Scheme != "" {
			open, as = append(open, w), append(as, w.address)
		}
	}
	d.mu.Unlock()
	if len(open) == 0 {
		return
	}
	for i, r := range s.lookup(ctx, as) {
		if r.Err != nil {
			continue
		}
		d.mu.Lock()
		from := open[i].presentity
		d.mu.Unlock()
		s.resolve(from, r.Entry)
	}
}

// replaceList makes d watch exactly uris (BSP-2.9-3) and returns the new ones.
func (s *Server) replaceList(ctx context.Context, d *dialog, sub *subscription, uris []string) ([]*watch, error) {
	have := make(map[string]*watch)
	d.mu.Lock()
	for _, w := range d.watches {
		have[w.key()] = w
	}
	d.mu.Unlock()
	var fresh []string
	for _, uri := range uris {
		if _, ok := have[watchKey(uri)]; !ok {
			fresh = append(fresh, uri)
		}
	}
	if s.watching.Add(int64(len(fresh))) > int64(s.cfg.MaxSubscriptions) {
		s.watching.Add(-int64(len(fresh)))
		return nil, &sipx.Error{Status: 503, Reason: "too many subscriptions"}
	}
	_, watched, err := s.whoAndWhat(ctx, sub, fresh)
	if err != nil {
		s.watching.Add(-int64(len(fresh)))
		return nil, err
	}
	added := s.newWatches(d, watched, sub.id)
	for _, w := range added {
		have[w.key()] = w
	}
	list := make([]*watch, len(uris))
	for i, uri := range uris {
		list[i] = have[watchKey(uri)]
		delete(have, watchKey(uri))
	}
	var dropped []*watch
	d.mu.Lock()
	if ended := d.unlinked; ended {
		d.mu.Unlock()
		s.removeWatches(added)
		return nil, sipx.Errorf(481, "")
	}
	d.watches = list
	for _, w := range have {
		w.removed = true
		dropped = append(dropped, w)
	}
	d.mu.Unlock()
	s.addWatches(added)
	s.removeWatches(dropped)
	return added, nil
}

func watchKey(uri string) string {
	if a, err := directory.ParseAddress(uri); err == nil {
		return a.String()
	}
	return uri
}

func (w *watch) key() string {
	if w.address.Scheme == "" {
		return w.entity
	}
	return w.address.String()
}

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
		return user, nil, sipx.Errorf(403, "From is another user's address")
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
		w.own = id.Account != "" && item.result.Err == nil &&
			auth.SameAccount(id, item.result.Entry.Account, item.result.Entry.ID)
		watches[i] = w
	}
	return watches
}

// joinClient ties a dialog to its client: to the user, where the first address
// has the same entry as From (BSP-4.1-1).
func (s *Server) joinClient(d *dialog, sub *subscription, user, first watched) error {
	key := clientKey{user: "?" + user.address.String(), contact: contactKey(sub.contact.URI)}
	if user.result.Err == nil {
		key.user = user.result.Entry.ID
	}
	own := user.address == first.address
	if !own && user.result.Err == nil && first.result.Err == nil {
		own = user.result.Entry.ID == first.result.Entry.ID
	}
	if own {
		key.user = d.watches[0].presentity.key
	}
	return s.clients.join(d, key, sub.contact.URI.User == amccUser, own,
		d.watches[0].presentity, sub.req.Header.Get("User-Agent"))
}

// newDialog makes the dialog of a SUBSCRIBE. It keeps no part of the request's
// memory.
func (s *Server) newDialog(sub *subscription, event sipx.Event, list bool) *dialog {
	req := sub.req
	return &dialog{
		server:    s,
		opened:    time.Now(),
		dialect:   sub.dialect,
		event:     eventText(event),
		list:      list,
		account:   sub.id.Account,
		callID:    strings.Clone(req.CallID),
		local:     sipx.Address{URI: cloneURI(s.localURI(sub)), Params: tagParam + newTag()},
		remote:    sipx.Address{URI: cloneURI(req.From.URI), Params: tagParam + req.From.Tag()},
		contact:   s.contact(req.Flow),
		target:    cloneURI(sub.contact.URI),
		routes:    sub.routes,
		flow:      s.returnFlow(req, sub.contact.URI, len(sub.routes) > 0),
		remoteSeq: req.CSeq,
		draining:  true, // until the 200 has left
	}
}

func eventText(e sipx.Event) string {
	if e == (sipx.Event{Package: eventPresence}) {
		return eventPresence
	}
	return strings.Clone(e.String())
}

// localURI is what NOTIFYs come From: the address subscribed to.
func (s *Server) localURI(sub *subscription) sipx.URI {
	if sub.dialect.FromEntity && !isList(sub.req) {
		if u := sub.req.URI; s.serves(u) {
			return u
		}
	}
	return sub.req.To.URI
}

// presentityURI is whom a single SUBSCRIBE wants to watch (BSP-2.1-3).
func (s *Server) presentityURI(req *sipx.Request) string {
	if s.serves(req.URI) {
		return bareURI(req.URI)
	}
	return bareURI(req.To.URI)
}

func (s *Server) serves(u sipx.URI) bool {
	return u.User != "" && slices.ContainsFunc(s.cfg.Domains, func(domain string) bool {
		return strings.EqualFold(domain, u.Host)
	})
}

// bareURI writes an address as documents show it: without port and parameters.
func bareURI(u sipx.URI) string {
	u.Params, u.Headers, u.Port = "", "", 0
	return u.String()
}

func cloneURI(u sipx.URI) sipx.URI {
	// One allocation for all parts that are not common words.
	all := u.User + u.Host + u.Params + u.Headers
	cut := func(n int) string {
		part := all[:n]
		all = all[n:]
		return part
	}
	return sipx.URI{Scheme: commonScheme(u.Scheme), User: cut(len(u.User)), Host: cut(len(u.Host)), Port: u.Port,
		Params: cut(len(u.Params)), Headers: cut(len(u.Headers))}
}

func commonScheme(s string) string {
	switch s {
	case "sip":
		return "sip"
	case "sips":
		return "sips"
	case "tel":
		return "tel"
	}
	return strings.Clone(s)
}

// returnFlow says where NOTIFYs go (BSX-5): over the connection of the
// SUBSCRIBE; over UDP to the Contact, or back to the source. What the stack has
// to find out by itself is left open.
func (s *Server) returnFlow(req *sipx.Request, contact sipx.URI, routed bool) sipx.Flow {
	flow := req.Flow
	if flow.Reliable() {
		return flow
	}
	if routed {
		flow.Remote = netip.AddrPort{} // by the route set
		return flow
	}
	addr, err := netip.ParseAddr(strings.Trim(contact.Host, "[]"))
	port := contact.Port
	if port == 0 {
		port = 5060
	}
	behindNAT := err == nil && addr.IsPrivate() && addr != flow.Remote.Addr().Unmap()
	switch {
	case s.cfg.NAT == NATAlways, s.cfg.NAT == NATAuto && behindNAT:
		return flow
	case err != nil:
		flow.Remote = netip.AddrPort{}
	default:
		flow.Remote = netip.AddrPortFrom(addr, uint16(port))
	}
	if t, ok := contact.Param("transport"); ok && !strings.EqualFold(t, "udp") {
		return sipx.Flow{} // the contact wants another transport
	}
	return flow
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
