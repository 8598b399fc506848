package presence

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
)

// subscribe handles a SUBSCRIBE (RFC 6665 §4.2.1).
func (s *Server) subscribe(ctx context.Context, x *exchange) error {
	req := x.req
	sub := &x.subscribing
	sub.exchange = x
	var ok bool
	if sub.event, ok = sipx.ParseEvent(req.Header.Get("Event")); ok {
		sub.pack = s.packages[sub.event.Package]
	}
	if sub.pack == nil {
		return s.badEvent()
	}
	var err error
	if sub.contact, err = subscription.ContactOf(req); err != nil {
		return err
	}
	var d *subscription.Dialog
	if sub.dialect = s.dialectOf(x); req.To.Tag() != "" {
		if d = s.registry.Find(req); d != nil && d.Is(sub.event) {
			sub.dialect = dialectOfDialog(d)
		} else {
			d = nil
		}
	}
	if sub.expires, err = s.granted(req, s.cfg.MaxSubscribeExpires); err != nil {
		return err
	}
	if sub.dialect.Accept && !accepts(req.Header, sub.pack.MediaType) {
		return &refused{sipx.NewResponse(406, sipx.Field{Name: "Accept", Value: sub.pack.MediaType})}
	}
	elsewhere := "" // the other node that has the dialog
	if req.To.Tag() != "" && d == nil {
		if sub.expires == 0 && sub.dialect.ClientLife && s.registry.HasEnded(req) { // the dialog has just ended with its client (§2.2)
			x.answer(sipx.NewResponse(200, sipx.Field{Name: "Contact", Value: s.cfg.Sender.Contact(req.Flow)},
				sipx.Field{Name: "Expires", Value: "0"}))
			return nil
		}
		if elsewhere = s.cluster.elsewhere(req); elsewhere == "" {
			return sipx.Errorf(481, "")
		}
	}
	if err := s.check(ctx, x); err != nil {
		return err
	}
	switch {
	case elsewhere != "":
		return s.passTo(ctx, x, elsewhere)
	case d != nil:
		return s.resubscribe(ctx, d, sub)
	case s.isKnown(x):
		sub.dialect = bluStar
	}
	return s.open(ctx, sub)
}

// open opens a new dialog.
func (s *Server) open(ctx context.Context, sub *subscribing) error {
	uris, list, err := s.listOf(sub.req, sub.dialect.Style.Lists != nil)
	if err != nil {
		return err
	}
	switch {
	case !list:
		uris = []string{s.presentityURI(sub.req)}
	case sub.dialect.Style.Lists != nil && !knowsEventLists(sub.req):
		return &refused{sipx.NewResponse(421, sipx.Field{Name: "Require", Value: extEventList})}
	case sub.pack.watchers:
		return sipx.Errorf(400, "watcher information of a list is not supported")
	}
	user, found, err := s.whoAndWhat(ctx, sub, uris)
	if err != nil {
		return err
	}
	if sub.pack.watchers {
		if err := mayWatchWatchers(sub.id, user, &found[0]); err != nil {
			return err
		}
	}
	version := s.policies.Load()
	items, pinned := s.items(ctx, sub, user, found)
	defer pinned.unpin()
	if !list && sightOf(items[0].View) == consolidation.SightRefused {
		return errNotAllowed
	}
	var m *member
	var due []*subscription.Watch
	opening := subscription.Opening{
		Request: sub.req, Contact: sub.contact.URI, Package: &sub.pack.Package, Style: &sub.dialect.Style,
		Expires: sub.expires, From: s.localURI(sub), Items: items, List: list, Account: whoIs(sub.id),
		Data: sub.dialect,
	}
	if sub.dialect.ClientLife && !sub.pack.watchers && sub.expires > 0 {
		m = &member{judged: found[0].result.Err == nil}
		m.client = s.clientOf(sub.exchange, pinned.id(0))
		opening.Data, opening.Pulse = m, &m.client.pulse
	}
	d, err := s.registry.Open(opening)
	if err != nil {
		if m != nil {
			s.clients.forget(m.client)
		}
		return s.overload(err)
	}
	if m != nil {
		own := found[0].result.Err == nil && s.owns(m.client, user.result, &found[0].result.Entry)
		m.dialog = d
		if !s.clients.join(m, own, pinned.id(0)) {
			d.Drop()
			return errManyClients
		}
		if !d.Active() { // it has ended meanwhile
			s.dialogEnded(subscription.Ending{Dialog: d, Cause: subscription.FlowGone})
		}
		if own {
			due = pinned.list[0].renew() // the client has opened its services
		}
	}
	if !sub.answer(d.Accept(sub.req, sub.expires)) {
		d.Drop()
		s.dialogEnded(subscription.Ending{Dialog: d, Cause: subscription.Refused, Detail: "it could not be stored"})
		return nil
	}
	if s.policies.Load() != version {
		s.judge(ctx, d, s.watcherOf(ctx, d, user.result)) // the first NOTIFY shows it
	}
	d.Start()
	subscription.Notify(due)
	return nil
}

// lookedUp is an address with what the directory said of it.
type lookedUp struct {
	uri     string
	address directory.Address // zero for what is no address
	result  directory.Result
}

// whoAndWhat looks up the address in From, and the addresses that are to be watched. From must
// not be the address of another user.
func (s *Server) whoAndWhat(ctx context.Context, sub *subscribing, uris []string) (user *lookedUp, list []lookedUp, err error) {
	all := make([]lookedUp, 1+len(uris))
	user, list = &all[0], all[1:]
	user.uri = bareURI(sub.req.From.URI)
	for i, uri := range uris {
		list[i].uri = uri
	}
	known := true // the directory has had everything at hand
	for i := range all {
		w := &all[i]
		w.result.Err = directory.ErrNotFound
		if a, err := directory.ParseAddress(w.uri); err == nil {
			w.address = a
			if known {
				w.result, known = s.lookups.peek(a)
			}
		}
	}
	if !known {
		s.ask(ctx, partyOf(sub.req, sub.id), all)
	}
	if err := s.mayBe(sub.id, user.result); err != nil {
		return nil, nil, s.notOneself(ctx, sub.exchange, err)
	}
	return user, list, nil
}

// ask looks up everything that is an address.
func (s *Server) ask(ctx context.Context, who party, all []lookedUp) {
	as := make([]directory.Address, 0, len(all))
	for _, w := range all {
		if w.address.Scheme != "" {
			as = append(as, w.address)
		}
	}
	results := s.lookups.all(ctx, who, as)
	for i := range all {
		if all[i].address.Scheme != "" {
			all[i].result, results = results[0], results[1:]
		}
	}
}

// pinning has presentities that a request uses.
type pinning struct {
	of      *presentities
	list    []*presentity // nil where there is no entry
	pending []*pending
}

func (ps *pinning) unpin() {
	for _, p := range ps.list {
		ps.of.unpin(p)
	}
	for _, p := range ps.pending {
		p.server.pendings.tidy(p)
	}
}

// id returns the identifier of the i-th, "" where it has no entry.
func (ps *pinning) id(i int) string {
	if p := ps.list[i]; p != nil {
		return p.id
	}
	return ""
}

// items returns what a subscription watches. The presentities stay in memory until unpin.
func (s *Server) items(ctx context.Context, sub *subscribing, user *lookedUp, list []lookedUp) ([]subscription.Item, pinning) {
	items := make([]subscription.Item, len(list))
	pinned := pinning{of: &s.presentities, list: make([]*presentity, len(list))}
	who := s.watcher(ctx, partyOf(sub.req, sub.id), sub.id, bareURI(sub.req.From.URI), user.result)
	for i, found := range list {
		item := &items[i]
		item.Entity = found.uri
		item.View = viewOf(consolidation.SightOthers, sub.dialect)
		if found.result.Err != nil {
			waits := s.pendings.get(cmp.Or(found.address.String(), found.uri), found.address, !isNobody(found.result.Err))
			pinned.pending = append(pinned.pending, waits)
			item.Resource = waits
			continue
		}
		p := s.presentities.pin(&list[i].result.Entry)
		pinned.list[i] = p
		item.Resource = p
		if sub.pack.watchers {
			item.Resource = &p.watchers
			continue
		}
		item.View = viewOf(s.sight(ctx, who, &found.result.Entry), sub.dialect)
	}
	return items, pinned
}

// resubscribe refreshes or ends a subscription.
func (s *Server) resubscribe(ctx context.Context, d *subscription.Dialog, sub *subscribing) error {
	if who := d.Account(); who != "" && !strings.EqualFold(who, whoIs(sub.id)) {
		return s.notOneself(ctx, sub.exchange, sipx.Errorf(403, "the subscription is somebody else's"))
	}
	var uris []string
	if len(sub.req.Body) > 0 { // Require: recipient-list-subscribe without a body changes no list
		var list bool
		var err error
		if uris, list, err = s.listOf(sub.req, sub.dialect.Style.Lists != nil); err != nil {
			return err
		}
		if list && !(d.IsList() && sub.dialect.ListInRefresh) {
			return &refused{sipx.NewResponse(415, sipx.Field{Name: "Accept", Value: typePIDF})}
		}
	}
	if err := d.Refresh(sub.req, sub.contact.URI, sub.expires); err != nil {
		return err
	}
	if sub.expires == 0 {
		sub.answer(d.Accept(sub.req, 0))
		s.unsubscribed(d)
		return nil
	}
	found := s.watcherNow(ctx, d, sub)
	if err := s.mayBe(sub.id, found); err != nil { // not any more
		s.reject(d)
		return err
	}
	var added []*subscription.Watch
	if uris != nil {
		var err error
		if added, err = s.replaceList(ctx, d, sub, uris); err != nil {
			return err
		}
	} else {
		s.lookAgain(ctx, d, sub)
	}
	var changed []*subscription.Watch
	if who := s.watcher(ctx, partyOf(sub.req, sub.id), sub.id, bareURI(d.Watcher()), found); !who.open { // else all stays as it was
		var ok bool
		if changed, ok = s.judge(ctx, d, who); !ok {
			return errNotAllowed
		}
	}
	added = append(added, changed...)
	m, _ := d.Data.(*member)
	if m != nil && m.client != nil {
		s.clients.refreshed(m)
	}
	sub.answer(d.Accept(sub.req, sub.expires))
	switch {
	case sub.dialect.NotifyOnRefresh:
		if !d.ShowAll() {
			d.Show(changed...)
		}
	case sub.contact.URI.User == amccUser && m != nil && m.client != nil:
		// §2.9: everything that this client watches, in all its dialogs.
		for _, other := range s.clients.membersOf(m.client) {
			if now := other.dialog.ShowAll(); !now && other.dialog == d {
				d.ShowAgain(added...) // what is new in a list does not wait
			}
		}
	default:
		d.ShowAgain(added...)
	}
	return nil
}

// watcherNow returns what the directory has for the watcher of a dialog. It does not ask if
// that does not matter.
func (s *Server) watcherNow(ctx context.Context, d *subscription.Dialog, sub *subscribing) directory.Result {
	a, err := directory.ParseAddress(bareURI(d.Watcher()))
	if err != nil || s.cfg.Policy == nil && !s.cfg.ListedFrom {
		return directory.Result{Err: directory.ErrNotFound}
	}
	return s.lookups.one(ctx, partyOf(sub.req, sub.id), a)
}

var errNotAllowed = sipx.Errorf(403, "the user does not allow it")

// unsubscribed ends a dialog for its watcher. A client ends with its last own subscription
// (§2.2).
func (s *Server) unsubscribed(d *subscription.Dialog) {
	if !d.Close(subscription.ReasonTimeout) {
		return
	}
	if c := s.clients.leave(d); c != nil {
		s.takeOut(c, "it signed out", d).announce(false)
		return
	}
	d.Farewell()
}

// lookAgain looks up the pending addresses of a dialog once more: the directory may have an
// entry by now.
func (s *Server) lookAgain(ctx context.Context, d *subscription.Dialog, sub *subscribing) {
	var open []*pending
	var as []directory.Address
	for _, w := range d.Watches() {
		if p, ok := w.Resource().(*pending); ok && p.address.Scheme != "" {
			open, as = append(open, p), append(as, p.address)
		}
	}
	if len(open) == 0 {
		return
	}
	for i, r := range s.lookups.all(ctx, partyOf(sub.req, sub.id), as) {
		if r.Err == nil {
			s.resolve(open[i], r.Entry)
		}
	}
}

// replaceList makes d watch exactly uris (§4.2) and returns the new ones.
func (s *Server) replaceList(ctx context.Context, d *subscription.Dialog, sub *subscribing, uris []string) ([]*subscription.Watch, error) {
	have, before := make(map[string]*subscription.Watch), d.Watches()
	for _, w := range before {
		have[watchKey(w.Entity())] = w
	}
	items := make([]subscription.Item, len(uris))
	var fresh []string
	for i, uri := range uris {
		if w := have[watchKey(uri)]; w != nil {
			items[i].Entity = w.Entity()
		} else {
			fresh = append(fresh, uri)
		}
	}
	user, found, err := s.whoAndWhat(ctx, sub, fresh)
	if err != nil {
		return nil, err
	}
	added, pinned := s.items(ctx, sub, user, found)
	defer pinned.unpin()
	for i, n := 0, 0; i < len(items); i++ {
		if items[i].Entity == "" {
			items[i] = added[n]
			n++
		}
	}
	if m, ok := d.Data.(*member); ok && (len(uris) == 0 || len(before) == 0 || watchKey(uris[0]) != watchKey(before[0].Entity())) {
		s.clients.judge(m) // the address that it was opened with is not in the list any more
	}
	watches, err := d.SetItems(items)
	if err != nil {
		return nil, s.overload(err)
	}
	return watches, nil
}

// overload turns an error of the registry into the one for the peer.
func (s *Server) overload(err error) error {
	switch {
	case errors.Is(err, subscription.ErrFull):
		return &refused{overloaded("too many subscriptions")}
	case errors.Is(err, subscription.ErrShare):
		return sipx.Errorf(403, "too many subscriptions of one account")
	}
	return err
}

// localURI is the address in From of the NOTIFYs: the one that was subscribed to.
func (s *Server) localURI(sub *subscribing) sipx.URI {
	if sub.dialect.Style.FromEntity && !isList(sub.req) && s.serves(sub.req.URI) {
		return sub.req.URI
	}
	return sub.req.To.URI
}

// mayWatchWatchers allows a user to see their own watchers, and nobody else's
// (RFC 3857 §4.5).
func mayWatchWatchers(id auth.Identity, user, presentity *lookedUp) error {
	if presentity.result.Err != nil || user.result.Err != nil ||
		user.result.Entry.ID != presentity.result.Entry.ID || !mayActFor(id, &presentity.result.Entry) {
		return sipx.Errorf(403, "watcher information is for the presentity alone")
	}
	return nil
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
