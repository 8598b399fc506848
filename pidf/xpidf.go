package pidf

import (
	"slices"
	"strconv"
	"strings"
)

// xpidf is what draft-rosenberg-impp-pidf-00 of 2000 called a presence document. Asterisk sends it to Polycom and
// other telephones of its time, Windows Messenger sent it too:
//
//	<!DOCTYPE presence PUBLIC "-//IETF//DTD RFCxxxx XPIDF 1.0//EN" "xpidf.dtd">
//	<presence>
//	  <presentity uri="sip:200@example.com;method=SUBSCRIBE"/>
//	  <atom id="200">
//	    <address uri="sip:200@example.com;user=ip" priority="0.800000">
//	      <status status="inuse"/>
//	      <msnsubstatus substatus="onthephone"/>
//	    </address>
//	  </atom>
//	</presence>
//
// Each address becomes a tuple; a status or substatus that says more than open and closed becomes an activity of a
// person as well. What PIDF has no place for is kept in the namespace NSXPIDF.

// documentType refuses a document type declaration, but for those that products have from the time of drafts: they
// declare nothing themselves, and what they point to is never fetched.
func (s *scanner) documentType() tokenKind {
	start := s.pos
	rest := s.doc[s.pos+len("<!DOCTYPE"):]
	end := strings.IndexAny(rest, "[>")
	if !s.allowDrafts || s.rootSeen || s.doctype != "" || end < 0 || rest[end] != '>' {
		return s.fail(start, ErrDTD, "")
	}
	if s.doctype = draftType(rest[:end]); s.doctype == "" {
		return s.fail(start, ErrDTD, "")
	}
	s.pos += len("<!DOCTYPE") + end + 1
	s.chars = ""
	s.kind = tokText
	return tokText
}

// draftType returns what a document type declaration without an internal subset stands for, PIDF or XPIDF; empty for
// any other than those of the drafts, and of Windows Messenger, after which telephones of its time wrote theirs.
func draftType(declaration string) string {
	fields := strings.Fields(declaration)
	switch {
	case slices.Equal(fields, []string{"presence", "SYSTEM", `"http://schemas.microsoft.com/2002/09/sip/presence"`}):
		return "XPIDF"
	case len(fields) != 7 || fields[0] != "presence" || fields[1] != "PUBLIC" || fields[2] != `"-//IETF//DTD` && fields[2] != `"//IETF//DTD` ||
		fields[3] != "RFCxxxx" || fields[4] != "XPIDF" && fields[4] != "PIDF" || fields[5] != `1.0//EN"` || strings.Count(fields[6], `"`) != 2:
		return ""
	}
	return fields[4]
}

// isXPIDF reports whether a document without a namespace, whose root was just opened, is xpidf.
func (d *decoder) isXPIDF() bool {
	body := d.doc[d.pos:]
	return d.doctype == "XPIDF" || (strings.Contains(body, "<presentity") || strings.Contains(body, "<atom")) && !strings.Contains(body, "<tuple")
}

func (d *decoder) xpidf(p *Presence) {
	d.home = NSXPIDF
	p.Attrs = d.takeRest()
	n := 0
	for d.child(&p.Extra, n) {
		switch {
		case d.name.local == "presentity" && p.Entity == "":
			d.presentity(p)
		case d.name.local == "atom":
			d.atom(p)
			n = len(p.Tuples)
		default:
			d.keep(&p.Extra, n)
		}
	}
}

func (d *decoder) presentity(p *Presence) {
	uri := d.takeString("uri")
	if i := strings.Index(uri, ";method="); i >= 0 { // how the draft said what the URI is good for
		uri = uri[:i]
	}
	p.Entity = trim(uri)
	for d.child(&p.Extra, 0) {
		d.keep(&p.Extra, 0)
	}
}

func (d *decoder) atom(p *Presence) {
	id := d.takeString("id")
	if id == "" {
		id = d.takeString("atomid") // as PJSIP and Windows Messenger spell it
	}
	attrs := d.takeRest()
	first := len(p.Tuples)
	var x Extra
	for d.child(&x, 0) {
		if d.name.local != "address" {
			d.keep(&x, 0)
			continue
		}
		t := Tuple{ID: id}
		if n := len(p.Tuples) - first; n > 0 {
			t.ID += "-" + strconv.Itoa(n+1)
		}
		d.address(p, &t)
		p.Tuples = append(p.Tuples, t)
	}
	if len(p.Tuples) == first {
		p.Tuples = append(p.Tuples, Tuple{ID: id})
	}
	t := &p.Tuples[first]
	t.Attrs = attrs
	t.Extensions = append(x.Extensions, t.Extensions...)
}

func (d *decoder) address(p *Presence, t *Tuple) {
	t.Contact = &Contact{URI: trim(d.takeString("uri"))}
	if q, ok := d.take("priority"); ok {
		t.Contact.Priority = d.priority(q)
	}
	t.Contact.Attrs = d.takeRest()
	for d.child(&t.Extra, 1) {
		switch d.name.local {
		case "status":
			if d.addressStatus(p, t) {
				continue
			}
			if d.err == nil {
				d.keep(&t.Status, 1)
			}
		case "msnsubstatus":
			switch d.token(d.from, "substatus", d.takeString("substatus"), xpidfSubstatuses) {
			case "onthephone":
				d.xpidfActivity(p, "on-the-phone")
			case "busy":
				d.xpidfActivity(p, "busy")
			case "away", "idle", "berightback", "outtolunch":
				d.xpidfActivity(p, "away")
			}
			d.keep(&t.Status, 1)
		case "note":
			if !d.notes(&t.Notes) && d.err == nil {
				d.keep(&t.Extra, 1)
			}
		default:
			d.keep(&t.Extra, 1)
		}
	}
}

// addressStatus reads the status of an address, and reports whether that is all that the element says. The first one
// counts.
func (d *decoder) addressStatus(p *Presence, t *Tuple) bool {
	if t.Basic != "" {
		return d.duplicate()
	}
	status := d.token(d.from, "status", d.takeString("status"), xpidfStatuses)
	switch status {
	case "open":
		t.Basic = Open
	case "closed", "inactive":
		t.Basic = Closed
	case "inuse":
		t.Basic = Open
		d.xpidfActivity(p, "on-the-phone")
	}
	if t.Basic == "" || status != string(t.Basic) || len(d.attrs) > 1 {
		return false
	}
	m := d.mark()
	if s, ok := d.text(); !ok || trim(s) != "" {
		return d.back(m, "not empty")
	}
	return true
}

// xpidfActivity adds an activity to the one person of the document.
func (d *decoder) xpidfActivity(p *Presence, name string) {
	if len(p.Persons) == 0 {
		p.Persons = []Person{{ID: "person", Activities: new(Activities)}}
	}
	a := p.Persons[0].Activities
	for _, v := range a.Values {
		if v.Name == name {
			return
		}
	}
	a.Values = append(a.Values, Activity{Name: name})
}
