package client

import (
	"crypto/rand"
	"errors"
	"maps"
	"slices"

	"github.com/openblustar/blustar/sipx"
)

// maxRoute bounds the route set that a server can give to a dialog.
const maxRoute = 16

// A dialog is one subscription at the server (RFC 6665 §4.4.1). It exists from
// the SUBSCRIBE that asks for it; remoteTag is empty until the server has
// answered or, which may come first, sent a NOTIFY.
type dialog struct {
	callID, localTag, remoteTag string

	localSeq uint32
	target   sipx.URI // the Request-URI within the dialog
	route    []string
	list     []string // the list that the server has
	notified bool     // a NOTIFY has come
	order    order
}

func newDialog(server sipx.URI, route []string) *dialog {
	return &dialog{callID: rand.Text(), localTag: rand.Text(), target: server, route: route}
}

// replaced says that the server has this list now.
func (d *dialog) replaced(list []string) {
	d.list = list
	if d.order.limit == 0 {
		return
	}
	d.order.limit = len(list) + strangers
	maps.DeleteFunc(d.order.entity, func(entity string, _ uint32) bool {
		return !slices.ContainsFunc(list, func(a string) bool { return normal(a) == entity })
	})
}

func (d *dialog) established() bool { return d.remoteTag != "" }

// answered takes the dialog's remote half from a 2xx, unless a NOTIFY that was
// faster has brought it: presence has one dialog for each SUBSCRIBE (RFC 3856
// §6.9), so the first counts.
func (d *dialog) answered(res *sipx.Response) {
	if d.established() {
		return
	}
	tag := res.ToTag
	if tag == "" {
		if to, err := sipx.ParseAddress(res.Header.Get("To")); err == nil {
			tag = to.Tag()
		}
	}
	if tag == "" {
		return
	}
	d.remoteTag = tag
	d.retarget(res.Header)
	d.route = routeSet(res.Header)
	slices.Reverse(d.route) // RFC 3261 §12.1.2
}

// notifiedBy takes it from a NOTIFY, which is also a target refresh.
func (d *dialog) notifiedBy(req *sipx.Request) {
	if !d.established() {
		d.remoteTag = req.From.Tag()
		d.route = routeSet(req.Header) // RFC 3261 §12.1.1: in this order
	}
	d.retarget(req.Header)
	d.notified = true
}

// retarget takes the first usable Contact; the document prints two in a NOTIFY.
func (d *dialog) retarget(h sipx.Header) {
	for v := range h.Values("Contact") {
		for part := range sipx.SplitList(v) {
			a, err := sipx.ParseAddress(part)
			if err == nil && (a.URI.Scheme == "sip" || a.URI.Scheme == "sips") {
				d.target = a.URI
				return
			}
		}
	}
}

// matches reports whether req is of this dialog.
func (d *dialog) matches(req *sipx.Request) bool {
	return req.To.Tag() == d.localTag && req.From.Tag() != "" &&
		(!d.established() || req.From.Tag() == d.remoteTag)
}

func routeSet(h sipx.Header) []string {
	var set []string
	for v := range h.Values("Record-Route") {
		for part := range sipx.SplitList(v) {
			if _, err := sipx.ParseAddress(part); err != nil || len(set) == maxRoute {
				return nil // a route that cannot be followed is none
			}
			set = append(set, part)
		}
	}
	return set
}

// Outcomes of order.check.
var (
	errOld       = errors.New("older than one that was delivered")
	errRepeated  = errors.New("delivered before")
	errTooMuchOf = errors.New("more entities than were asked for")
)

// order lets only newer NOTIFYs pass. In the BluStar dialect a list's NOTIFYs,
// one for each entity, are under way together and may overtake each other; there
// each entity has an order of its own, else a state would get lost. limit bounds
// how many entities are told apart; 0 is one order for the whole dialog.
type order struct {
	last   uint32
	any    bool
	limit  int
	entity map[string]uint32
}

// check takes the CSeq of a NOTIFY about entity.
func (o *order) check(entity string, seq uint32) error {
	last, seen := o.last, o.any
	if o.limit > 0 {
		last, seen = o.entity[entity]
		if !seen && len(o.entity) >= o.limit {
			return errTooMuchOf
		}
	}
	switch {
	case seen && seq == last:
		return errRepeated
	case seen && seq < last:
		return errOld
	}
	if o.limit > 0 {
		if o.entity == nil {
			o.entity = make(map[string]uint32)
		}
		o.entity[entity] = seq
	}
	o.last, o.any = max(seq, o.last), true
	return nil
}
