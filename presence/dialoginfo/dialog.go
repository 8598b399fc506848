package dialoginfo

import (
	"crypto/rand"
	"slices"

	"github.com/openblustar/blustar/sipx"
)

// maxRoute bounds the route set that a PBX can give to a dialog.
const maxRoute = 16

// A dialog is a subscription at the PBX (RFC 6665 §4.4.1). It exists from the
// SUBSCRIBE that asks for it; remoteTag is empty until the PBX has answered or,
// which may come first, sent a NOTIFY.
type dialog struct {
	callID, localTag, remoteTag string

	localSeq  uint32
	remoteSeq uint32
	notified  bool     // a NOTIFY has come, so remoteSeq is valid
	target    sipx.URI // the Request-URI within the dialog
	route     []string
}

func newDialog(target sipx.URI, route []string) *dialog {
	return &dialog{callID: rand.Text(), localTag: rand.Text(), target: target, route: route}
}

func (d *dialog) established() bool { return d.remoteTag != "" }

// answered takes the dialog's remote half from a 2xx (RFC 3261 §12.1.2), unless
// a NOTIFY that was faster has brought it.
func (d *dialog) answered(res *sipx.Response) {
	if !d.established() && res.ToTag != "" {
		d.remoteTag = res.ToTag
		d.route = routeSet(res.Header)
		slices.Reverse(d.route)
		d.retarget(res.Header)
	}
}

// took notes that req, a NOTIFY that matches, was taken. It is a target refresh
// too (RFC 6665 §4.4.1).
func (d *dialog) took(req *sipx.Request) {
	if !d.established() {
		d.remoteTag = req.From.Tag()
		d.route = routeSet(req.Header) // RFC 3261 §12.1.1: in this order
	}
	d.retarget(req.Header)
	d.notified, d.remoteSeq = true, req.CSeq
}

func (d *dialog) retarget(h sipx.Header) {
	for part := range sipx.SplitList(h.Get("Contact")) {
		if a, err := sipx.ParseAddress(part); err == nil && isSIP(a.URI) {
			d.target = a.URI
			return
		}
	}
}

// matches reports whether req, whose Call-ID is the dialog's, is of the dialog.
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
