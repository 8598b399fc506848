package subscriber

import (
	"crypto/rand"
	"slices"

	"github.com/openblustar/blustar/sipx"
)

// maxRoute bounds the route set that a notifier can give to a dialog.
const maxRoute = 16

// A Dialog is one subscription at the notifier (RFC 6665 §4.4.1). It exists from
// the SUBSCRIBE that asks for it; the notifier's tag is unknown until it has
// answered or, which may come first, sent a NOTIFY. Where the SUBSCRIBE forks the
// first of these counts.
type Dialog struct {
	callID, localTag, remoteTag string

	localSeq uint32
	target   sipx.URI // the Request-URI within the dialog
	route    []string
	notified bool
}

// NewDialog makes a dialog whose first request goes to target by route.
func NewDialog(target sipx.URI, route []string) *Dialog {
	return &Dialog{callID: rand.Text(), localTag: rand.Text(), target: target, route: route}
}

// CallID is that of all its requests, in both directions.
func (d *Dialog) CallID() string { return d.callID }

// Established reports whether the notifier has answered or sent a NOTIFY.
func (d *Dialog) Established() bool { return d.remoteTag != "" }

// Notified reports whether a NOTIFY has come.
func (d *Dialog) Notified() bool { return d.notified }

// Subscribe makes the dialog's next SUBSCRIBE, without Flow and header fields.
func (d *Dialog) Subscribe(from, to sipx.URI) *sipx.Request {
	d.localSeq++
	req := &sipx.Request{
		Method: "SUBSCRIBE",
		URI:    d.target,
		From:   sipx.Address{URI: from}.WithTag(d.localTag),
		To:     sipx.Address{URI: to},
		CallID: d.callID,
		CSeq:   d.localSeq,
		Route:  d.route,
	}
	if d.Established() {
		req.To = req.To.WithTag(d.remoteTag)
	}
	return req
}

// Accepted takes the remote half from a 2xx (RFC 3261 §12.1.2), unless a NOTIFY
// that was faster has brought it.
func (d *Dialog) Accepted(res *sipx.Response) {
	if !d.Established() && res.ToTag != "" {
		d.remoteTag = res.ToTag
		d.route = routeSet(res.Header)
		slices.Reverse(d.route)
		d.retarget(res.Header)
	}
}

// Check checks a NOTIFY (RFC 6665 §4.1.3): it is of this event package and of the
// dialog, and says how the subscription is. Otherwise it returns the answer.
func (d *Dialog) Check(req *sipx.Request, eventPackage string) (SubscriptionState, *sipx.Response) {
	if event, ok := sipx.ParseEvent(req.Header.Get("Event")); !ok || event != (sipx.Event{Package: eventPackage}) {
		return SubscriptionState{}, sipx.NewResponse(489, sipx.Field{Name: "Allow-Events", Value: eventPackage})
	}
	if req.CallID != d.callID || req.To.Tag() != d.localTag || req.From.Tag() == "" ||
		d.Established() && req.From.Tag() != d.remoteTag {
		return SubscriptionState{}, sipx.NewResponse(481)
	}
	state, ok := ParseSubscriptionState(req.Header.Get("Subscription-State"))
	if !ok {
		return state, sipx.Errorf(400, "Subscription-State missing").Response()
	}
	return state, nil
}

// Take takes a NOTIFY that was checked. It is a target refresh too (RFC 6665
// §4.4.1).
func (d *Dialog) Take(req *sipx.Request) {
	if !d.Established() {
		d.remoteTag = req.From.Tag()
		d.route = routeSet(req.Header) // RFC 3261 §12.1.1: in this order
	}
	d.retarget(req.Header)
	d.notified = true
}

// retarget takes the first usable Contact; the BluStar document prints two in a
// NOTIFY.
func (d *Dialog) retarget(h sipx.Header) {
	for v := range h.Values("Contact") {
		for part := range sipx.SplitList(v) {
			a, err := sipx.ParseAddress(part)
			if err == nil && (a.URI.Scheme == "sip" || a.URI.Scheme == "sips") && a.URI.Host != "" {
				d.target = a.URI
				return
			}
		}
	}
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
