package subscription

import (
	"crypto/rand"
	"errors"
	"strconv"
	"time"

	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/sipx"
)

// Opening is what a host has decided about a SUBSCRIBE that opens a dialog.
type Opening struct {
	Request *sipx.Request // nothing of its memory is kept
	Contact sipx.URI      // of the watcher, as Contact says it
	Package *Package
	Style   *Style        // nil: that of the RFCs
	Expires time.Duration // granted; 0 shows the state once (RFC 6665 §4.4.3)
	From    sipx.URI      // of NOTIFYs: the address of the resource
	Items   []Item        // what is watched: one item, or a list; an empty list needs [Style.Lists]
	List    bool          // a list was subscribed to
	Account string        // who was authenticated, for shares and listings; "" where nobody was
	Data    any           // the host's own: Dialog.Data
	// Pulse is of the client behind this and other dialogs: while it answers in one, a lost NOTIFY
	// does not end the others. nil: each dialog stands alone.
	Pulse *Pulse
}

// Bounds of what a dialog keeps of the request that opened it.
const (
	maxRoutes    = 16      // elements of its route set
	maxRouteSize = 8 << 10 // bytes of all of them
	maxToken     = 256     // bytes of its tag, and of the id of its event
)

// Open makes a dialog. Its resources know of it from now on. It ends with the connection of the
// request. It sends nothing before [Dialog.Start]. The error is [ErrFull], [ErrShare] or, for a
// bad request, a [*sipx.Error].
func (r *Registry) Open(o Opening) (*Dialog, error) {
	req := o.Request
	event, ok := sipx.ParseEvent(req.Header.Get("Event"))
	switch tag := req.From.Tag(); {
	case len(o.Items) == 0 && (!o.List || o.Style == nil || o.Style.Lists == nil):
		return nil, errors.New("subscription: an Opening without Items")
	case !ok || event.Package != o.Package.Name:
		return nil, sipx.Errorf(489, "")
	case tag == "":
		return nil, sipx.Errorf(400, "From without tag")
	case len(tag) > maxToken, len(event.ID) > maxToken:
		return nil, sipx.Errorf(400, "a tag or event id of more than %d bytes", maxToken)
	}
	for _, u := range []sipx.URI{o.From, o.Contact, req.From.URI} {
		if size(u) > maxURI {
			return nil, sipx.Errorf(400, "a URI of more than %d bytes", maxURI)
		}
	}
	routes, err := recordRoutes(req)
	if err != nil {
		return nil, err
	}
	d := &Dialog{
		registry:  r,
		common:    r.common(o.Package, o.Style, event.String(), req.Flow),
		list:      o.List,
		fetch:     o.Expires == 0,
		pulse:     o.Pulse,
		Data:      o.Data,
		expires:   deadline.Now() + int64(o.Expires),
		remoteSeq: req.CSeq,
		coding:    codingOf(req.Header),
		draining:  true, // until Start
	}
	tag := rand.Text() // 128 random bits
	if r.cfg.Node != "" {
		tag += "." + r.cfg.Node
	}
	d.pack(req.CallID, o.From, tag, req.From.URI, req.From.Tag(), o.Contact)
	if len(routes) > 0 {
		d.routes = &routes
	}
	d.flow = packFlow(r.cfg.NAT.flow(req, o.Contact, d.routes != nil))
	d.watches = make([]*Watch, len(o.Items))
	for i, item := range o.Items {
		d.watches[i] = d.newWatch(item)
	}
	if err := r.add(d, o.Account, SourceOf(req.Flow)); err != nil {
		return nil, err
	}
	if !d.fetch {
		d.mu.Lock()
		for _, w := range d.watches {
			w.join()
		}
		d.changed(true)
		d.mu.Unlock()
	}
	return d, nil
}

// Accept makes the 200 to a SUBSCRIBE that opened the dialog, or came in it.
func (d *Dialog) Accept(req *sipx.Request, expires time.Duration) *sipx.Response {
	res := sipx.NewResponse(200,
		sipx.Field{Name: "Contact", Value: d.common.Value().contact},
		sipx.Field{Name: "Expires", Value: strconv.Itoa(int(expires / time.Second))})
	for route := range req.Header.Values("Record-Route") {
		res.Header.Add("Record-Route", route)
	}
	if d.list && d.Style().Lists != nil {
		res.Header.Add("Require", d.Style().Lists.Extension())
	}
	res.ToTag = d.Tag()
	return res
}

// ContactOf returns the Contact of a request. The error is a [*sipx.Error] if there is not exactly
// one, or it is no sip or sips URI.
func ContactOf(req *sipx.Request) (sipx.Address, error) {
	var contact sipx.Address
	err, n := error(nil), 0
	for element := range sipx.SplitList(req.Header.Get("Contact")) {
		if n++; n == 1 {
			contact, err = sipx.ParseAddress(element)
		}
	}
	switch {
	case err != nil, n != 1, req.Header.Count("Contact") != 1:
		return sipx.Address{}, sipx.Errorf(400, "one Contact is mandatory")
	case contact.URI.Scheme != "sip" && contact.URI.Scheme != "sips":
		return sipx.Address{}, sipx.Errorf(400, "Contact must be a sip URI")
	}
	return contact, nil
}

func recordRoutes(req *sipx.Request) ([]string, error) {
	var routes []string
	size := 0
	for value := range req.Header.Values("Record-Route") {
		list, err := sipx.ParseAddresses(value, maxRoutes)
		if err != nil || len(routes)+len(list) > maxRoutes {
			return nil, sipx.Errorf(400, "bad Record-Route")
		}
		for _, a := range list {
			route := a.String()
			if size += len(route); size > maxRouteSize {
				return nil, sipx.Errorf(400, "Record-Route is too long")
			}
			routes = append(routes, route)
		}
	}
	return routes, nil
}
