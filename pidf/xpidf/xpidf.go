// Package xpidf reads what draft-rosenberg-impp-pidf-00 of 2000 called a presence document. Asterisk sends it to
// Polycom and other telephones of its time, Windows Messenger sent it too:
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
package xpidf

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/openblustar/blustar/pidf"
)

// MediaType is the media type of the documents.
const MediaType = "application/xpidf+xml"

// ErrDocument is what the errors of Decode wrap.
var ErrDocument = errors.New("xpidf: not an xpidf document")

const maxBytes = 1 << 18

type document struct {
	XMLName    xml.Name
	Presentity struct {
		URI string `xml:"uri,attr"`
	} `xml:"presentity"`
	Atoms []struct {
		ID        string    `xml:"id,attr"`
		AtomID    string    `xml:"atomid,attr"` // as PJSIP and Windows Messenger spell it
		Addresses []address `xml:"address"`
	} `xml:"atom"`
}

type address struct {
	URI      string `xml:"uri,attr"`
	Priority string `xml:"priority,attr"`
	Status   []struct {
		Status string `xml:"status,attr"`
	} `xml:"status"`
	Substatus []struct {
		Substatus string `xml:"substatus,attr"`
	} `xml:"msnsubstatus"`
	Notes []string `xml:"note"`
}

// Decode reads a document of at most 256 KiB. Each address becomes a tuple with its contact and status: open, inuse
// (open as well), closed or inactive (closed). The status inuse, and the substatus onthephone, busy, away, idle,
// berightback or outtolunch, becomes an activity of a person besides. What else a document says is not kept.
func Decode(data []byte) (*pidf.Presence, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrDocument, maxBytes)
	}
	text, err := pidf.UTF8(data, "")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	var doc document
	if err := xml.NewDecoder(bytes.NewReader(text)).Decode(&doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if (doc.XMLName != xml.Name{Local: "presence"}) {
		return nil, fmt.Errorf("%w: its root is %s in namespace %q", ErrDocument, doc.XMLName.Local, doc.XMLName.Space)
	}
	p := new(pidf.Presence)
	entity, _, _ := strings.Cut(doc.Presentity.URI, ";method=") // how the draft said what the URI is good for
	p.Entity = strings.TrimSpace(entity)
	for _, atom := range doc.Atoms {
		id := atom.ID
		if id == "" {
			id = atom.AtomID
		}
		if len(atom.Addresses) == 0 {
			p.Tuples = append(p.Tuples, pidf.Tuple{ID: id})
		}
		for i, a := range atom.Addresses {
			t := pidf.Tuple{ID: id}
			if i > 0 {
				t.ID += "-" + strconv.Itoa(i+1)
			}
			a.read(p, &t)
			p.Tuples = append(p.Tuples, t)
		}
	}
	return p, nil
}

func (a *address) read(p *pidf.Presence, t *pidf.Tuple) {
	t.Contact = &pidf.Contact{URI: strings.TrimSpace(a.URI), Priority: priority(a.Priority)}
	for _, s := range a.Status {
		if t.Basic != "" {
			break
		}
		switch strings.ToLower(strings.TrimSpace(s.Status)) {
		case "open":
			t.Basic = pidf.Open
		case "closed", "inactive":
			t.Basic = pidf.Closed
		case "inuse":
			t.Basic = pidf.Open
			activity(p, "on-the-phone")
		}
	}
	for _, s := range a.Substatus {
		switch strings.ToLower(strings.TrimSpace(s.Substatus)) {
		case "onthephone":
			activity(p, "on-the-phone")
		case "busy":
			activity(p, "busy")
		case "away", "idle", "berightback", "outtolunch":
			activity(p, "away")
		}
	}
	for _, text := range a.Notes {
		t.Notes = append(t.Notes, pidf.Note{Text: text})
	}
}

// priority returns a number from 0 to 1 with at most three decimals. Some locales of Asterisk write 0,800000.
func priority(s string) string {
	v, err := strconv.ParseFloat(strings.Replace(strings.TrimSpace(s), ",", ".", 1), 64)
	if err != nil || !(v >= 0 && v <= 1) {
		return ""
	}
	return strconv.FormatFloat(float64(int(v*1000+0.5))/1000, 'f', -1, 64)
}

// activity adds an activity to the one person of the document.
func activity(p *pidf.Presence, name string) {
	if len(p.Persons) == 0 {
		p.Persons = []pidf.Person{{ID: "person", Activities: new(pidf.Activities)}}
	}
	a := p.Persons[0].Activities
	if !slices.ContainsFunc(a.Values, func(v pidf.Choice) bool { return v.Name == name }) {
		a.Values = append(a.Values, pidf.Choice{Name: name})
	}
}
