package presence_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/sipx"
)

// publish is the reference's PUBLISH: RFC 3903 §6 with what §2.4, §2.8 and §4.3
// make of it. An empty entity-tag stands for any.
func (r *reference) publish(ex exchange) (status int, etag string, ask []asked) {
	req := ex.req
	granted, ok := refGranted(req, refMaxPublish)
	if !ok {
		return 423, "", ask
	}
	a, user := r.locate(req.To.URI.String(), ex)
	switch {
	case user[0] == '?' && ex.failed[a]:
		return 503, "", ask
	case user[0] == '?':
		return 404, "", ask
	}
	u := r.users[user]
	i, shared := -1, isBluStar(req)
	match := req.Header.Get("SIP-If-Match")
	if again := slices.IndexFunc(u.pubs, func(p refPub) bool {
		return !p.shared && p.callID == req.CallID && p.cseq == req.CSeq && p.match == match
	}); again >= 0 && !shared && granted > 0 { // the process that has carried it out did not answer
		return 200, u.pubs[again].etag, nil
	}
	if match != "" {
		if i = slices.IndexFunc(u.pubs, func(p refPub) bool { return p.etag == match }); i < 0 {
			if !shared || granted > 0 && len(req.Body) == 0 {
				return 412, "", nil
			}
			match = "" // BSP-2.4-5
		} else {
			shared = u.pubs[i].shared
		}
	}
	if i < 0 && shared {
		i = slices.IndexFunc(u.pubs, func(p refPub) bool { return p.shared })
	}
	key := refEndpointOf(req)
	switch {
	case granted == 0 && shared:
		if i >= 0 {
			etag = u.pubs[i].etag
		}
		r.endClient(key)
		return 200, etag, ask
	case granted == 0 && i < 0, len(req.Body) == 0 && i < 0:
		return 400, "", ask
	case granted == 0:
		r.withdraw(user, u.pubs[i].etag)
		return 200, "", ask
	}
	p := refPub{shared: shared, etag: ex.res.Header.Get("SIP-ETag")}
	if i >= 0 {
		p = u.pubs[i]
		u.pubs = slices.Delete(slices.Clone(u.pubs), i, i+1)
	}
	if shared {
		c, ok := r.clients[key]
		if !ok {
			c.services = refServices
		}
		switch {
		case len(req.Body) == 0:
		case p.callID == req.CallID && req.CSeq < p.cseq && r.now.Sub(p.set) < 32*time.Second:
			return 500, "", nil // a newer one of the client has overtaken it
		case i >= 0 && match == "" && !c.started:
			ask = r.remind(c, user) // BSP-2.4-3
		case aa.PresenceOf(&decoded(req.Body).Persons[0]).BluStar.Status == aa.StatusSignedOut && r.others(key, user):
			c.out = true // BSP-4.3-3
		default:
			r.honor(req, &p)
			c.out = p.own.status == aa.StatusSignedOut
		}
		etag = p.etag
		if len(req.Body) > 0 {
			c.services, c.started = servicesIn(decoded(req.Body)), true
		}
		c.user, c.alive, c.published = user, true, r.now.Add(granted)
		if p.expires.Before(c.published) {
			p.expires = c.published
		}
		r.clients[key] = c
	} else {
		p.etag, p.expires = ex.res.Header.Get("SIP-ETag"), r.now.Add(granted)
		p.callID, p.cseq, p.match = req.CallID, req.CSeq, req.Header.Get("SIP-If-Match")
		if i >= 0 && p.etag == req.Header.Get("SIP-If-Match") {
			return 200, "a new one", ask
		}
		if len(req.Body) > 0 {
			doc := decoded(req.Body)
			r.said++
			p.own, p.services, p.tuples = standardIn(doc, r.said), servicesIn(doc), len(doc.Tuples)
		}
	}
	u.pubs = append(slices.Clip(u.pubs), p)
	r.users[user] = u
	return 200, etag, ask
}

// others reports whether another client of the user is signed in.
func (r *reference) others(of refEndpoint, user string) bool {
	for key, c := range r.clients {
		if key != of && c.user == user && c.alive && !c.out {
			return true
		}
	}
	return false
}

// remind has a client whose status was ignored told what is shown.
func (r *reference) remind(c refClient, user string) []asked {
	for _, tag := range slices.Backward(c.dialogs) {
		d := r.dialogs[tag]
		for _, w := range d.watches {
			if d.own && w.user == user {
				return []asked{{tag, w.entity, true}}
			}
		}
	}
	return nil
}

// honor takes the status in a PUBLISH of a shared publication.
func (r *reference) honor(req *sipx.Request, p *refPub) {
	p.callID, p.cseq, p.set = req.CallID, req.CSeq, r.now
	aa := aa.PresenceOf(&decoded(req.Body).Persons[0]).BluStar
	note := p.own.note
	if aa.Note != nil {
		note = strings.TrimSpace(aa.Note.Text)
	}
	r.said++
	p.own = refOwn{status: aa.Status, meaning: string(aa.Status), note: note, at: r.said}
}

// published ends a client whose publication expired, if that is all it had.
func (r *reference) published(key refEndpoint) {
	c := r.clients[key]
	if c.published = (time.Time{}); r.hasOwn(c) {
		r.clients[key] = c
		return
	}
	r.endClient(key)
}

// withdraw ends a publication.
func (r *reference) withdraw(user, etag string) {
	u := r.users[user]
	u.pubs = slices.DeleteFunc(slices.Clone(u.pubs), func(p refPub) bool { return p.etag == etag })
	r.users[user] = u
}

// standardIn is what a document without aa: says (BSX-6).
func standardIn(doc *pidf.Presence, at int) refOwn {
	o := refOwn{at: at, note: doc.Tuples[0].Notes[0].Text, meaning: "signed out", status: aa.StatusSignedOut}
	if doc.Tuples[0].Basic == pidf.Open {
		o.meaning, o.status = "available", aa.StatusAvailable
	}
	for _, a := range doc.Persons[0].Activities.Values {
		switch a.Name {
		case "on-the-phone":
			o.act = a.Name
			o.meaning, o.status = "call", aa.StatusBusy
		case "meeting":
			o.act = a.Name
			o.meaning, o.status = "meeting", aa.StatusBusy
		case "busy", "away":
			o.act = a.Name
			o.meaning, o.status = a.Name, aa.Status(a.Name)
		}
	}
	return o
}

// servicesIn reads which services a document opens, by their first letters.
func servicesIn(doc *pidf.Presence) string {
	open, named, closed := "g", false, false
	for _, t := range doc.Tuples {
		if t.ID == "desk" {
			closed = t.Basic == pidf.Closed
			continue
		}
		named = true
		if t.Basic == pidf.Open {
			open += t.ID[:1]
		}
	}
	switch {
	case named:
		return open
	case closed:
		return ""
	}
	return refServices
}

func decoded(body []byte) *pidf.Presence {
	doc, err := aa.Decode(body)
	if err != nil {
		panic(err)
	}
	return doc
}

// viewed is what a document shows, times of last change aside.
type viewed struct {
	activity, note, blustar, services, external string
	lines, calendar                             []string
	tuples                                      int
}

func (v *viewed) open(services string) {
	for _, s := range strings.Split(services, "") {
		if !strings.Contains(v.services, s) {
			v.services += s
		}
	}
}

// viewOf writes it for comparison and reading.
func viewOf(v *viewed) string {
	services := strings.Split(v.services, "")
	slices.Sort(services)
	return fmt.Sprintf("%s %q own=%s services=%s/%d lines=%s external=%s calendar=%s", v.activity, v.note, strings.TrimSuffix(v.blustar, "/"),
		strings.Join(services, ""), v.tuples, strings.Join(v.lines, ","), v.external, strings.Join(v.calendar, ","))
}

// seen reads a document that the server made.
func seen(doc *pidf.Presence) string {
	person := doc.Persons[0]
	act := person.Activities.Values[0]
	v := &viewed{activity: act.Name, tuples: len(doc.Tuples)}
	if act.Name == "other" {
		v.activity = act.Text
	}
	for _, n := range person.Activities.Notes {
		v.note += n.Text
	}
	for _, t := range doc.Tuples[:4] {
		if t.Basic == pidf.Open {
			v.services += t.ID[:1]
		}
	}
	sources := aa.PresenceOf(&person)
	own := sources.BluStar
	v.blustar = string(own.Status)
	if own.Note != nil {
		v.blustar += "/" + own.Note.Text
	}
	for _, d := range doc.Devices {
		to := ""
		line := aa.LineOf(&d)
		if line.Forward != nil {
			to = line.Forward.Destination
		}
		v.lines = append(v.lines, fmt.Sprintf("%s=%s>%s", line.DN, line.State, to))
	}
	if e := sources.ExternalUC; e != nil {
		v.external = fmt.Sprintf("%s/%s/%s/%s", e.Status, e.FreeText, e.FwdDestination, e.TelephoneEvent)
	}
	for _, a := range sources.Calendar {
		v.calendar = append(v.calendar, fmt.Sprintf("%s=%s/%s", a.ID, a.State, a.Subject))
	}
	return viewOf(v)
}
