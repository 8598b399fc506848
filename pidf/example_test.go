package pidf_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
)

// Read a document, whatever product wrote it.
func ExampleDecode() {
	p, err := aa.Decode([]byte(`<?xml version="1.0" encoding="ISO-8859-1"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
    xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:zoë@example.com">
  <note>Back at two</note>
  <tuple id="softphone"><status><basic>Open</basic></status><contact>sip:zoe@192.0.2.7</contact></tuple>
  <dm:person id="zoe"><r:activities><r:meal/></r:activities></dm:person>
</presence>`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Entity, p.Tuples[0].Basic, p.Persons[0].Activities.Values[0].Name, p.Notes[0].Text)
	for _, w := range p.Warnings {
		fmt.Println(w)
	}
	// Output:
	// sip:zoë@example.com open meal Back at two
	// line 1, column 1: encoding ISO-8859-1 is really UTF-8
	// line 5, column 33, in <basic>: basic: "Open" read as "open"
}

// An error says what is wrong and where.
func ExampleSyntaxError() {
	_, err := aa.Decode([]byte("<presence xmlns='urn:ietf:params:xml:ns:pidf'>\n  <tuple id='a'>\n</presence>"))
	if syntax, ok := errors.AsType[*pidf.SyntaxError](err); ok {
		fmt.Println(syntax.Line, syntax.Column, syntax.Element)
	}
	fmt.Println(errors.Is(err, pidf.ErrSyntax), err)
	// Output:
	// 3 1 tuple
	// true pidf: line 3, column 1, in <tuple>: not well-formed: an end tag that does not match <tuple>
}

// Take less from the network than the defaults allow.
func ExampleDecoder() {
	decoder := pidf.Decoder{Limits: pidf.Limits{Bytes: 16 << 10, Elements: 500}}
	_, err := decoder.Decode(make([]byte, 20<<10))
	fmt.Println(errors.Is(err, pidf.ErrTooLarge))
	// Output: true
}

// Build a document, as a BluStar server sends it (§4.4 of the interface description).
func ExamplePresence_Append() {
	at := time.Date(2012, 12, 19, 16, 49, 8, 0, time.UTC)
	p := &pidf.Presence{
		Entity: "sip:tom.hanks@example.com",
		Tuples: []pidf.Tuple{{ID: "global service", Basic: pidf.Open}},
		Devices: []pidf.Device{{
			ID:        "tel:2719",
			Extra:     aa.Extra(&aa.Line{DN: "2719", State: aa.LineIdle}),
			Timestamp: at,
		}},
		Persons: []pidf.Person{{
			ID: "sip:tom.hanks@example.com",
			Activities: &pidf.Activities{
				Notes:  []pidf.Note{{Lang: "Eng", Text: "HELLO"}},
				Values: []pidf.Choice{{Name: "busy"}},
			},
			Extra: aa.Extra(&aa.Presence{BluStar: &aa.BluStar{
				Status:    aa.StatusBusy,
				Note:      &pidf.Note{Lang: "Eng", Text: "HELLO"},
				Timestamp: at,
			}}),
		}},
	}
	fmt.Printf("%s", p.Append(nil, pidf.BluStarDialect))
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" xmlns:aa="http://www.aastra.com/presence/blustar/2011" entity="sip:tom.hanks@example.com"><tuple id="global service"><status><basic>open</basic></status></tuple><dm:device id="tel:2719"><aa:line><aa:DN>2719</aa:DN><aa:state>idle</aa:state></aa:line><dm:timestamp>2012-12-19T16:49:08Z</dm:timestamp></dm:device><dm:person id="sip:tom.hanks@example.com"><rpid:activities><rpid:note xml:lang="Eng">HELLO</rpid:note><rpid:busy/></rpid:activities><aa:presence><aa:blustar><aa:status>busy</aa:status><aa:note xml:lang="Eng">HELLO</aa:note><aa:timestamp>2012-12-19T16:49:08Z</aa:timestamp></aa:blustar></aa:presence></dm:person></presence>
}

// Change a document: typed fields are plain values, and extensions can be replaced. What is not touched survives.
func Example_change() {
	p, err := aa.Decode([]byte(`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:c="urn:ietf:params:xml:ns:pidf:cipid" entity="sip:a@example.com">
  <tuple id="t1"><status><basic>open</basic></status></tuple>
  <c:card>http://example.com/a.vcf</c:card><!-- from the directory -->
  <c:icon>http://example.com/old.png</c:icon>
</presence>`))
	if err != nil {
		fmt.Println(err)
		return
	}
	p.Tuples[0].Basic = pidf.Closed
	var icon struct {
		XMLName xml.Name `xml:"urn:ietf:params:xml:ns:pidf:cipid icon"`
		URI     string   `xml:",chardata"`
	}
	old, _ := p.Find(pidf.Name{Space: pidf.NSCIPID, Local: "icon"})
	if err := old.Unmarshal(&icon); err != nil {
		fmt.Println(err)
		return
	}
	icon.URI = strings.Replace(icon.URI, "old", "new", 1)
	changed, err := pidf.NewExtension(icon)
	if err != nil {
		fmt.Println(err)
		return
	}
	p.Replace(changed)
	fmt.Printf("%s", p.Append(nil, pidf.StandardDialect))
	// Output:
	// <?xml version="1.0" encoding="UTF-8"?>
	// <presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:c="urn:ietf:params:xml:ns:pidf:cipid" entity="sip:a@example.com"><tuple id="t1"><status><basic>closed</basic></status></tuple><c:card>http://example.com/a.vcf</c:card><!-- from the directory --><icon xmlns="urn:ietf:params:xml:ns:pidf:cipid">http://example.com/new.png</icon></presence>
}

// Validate a document.
func ExamplePresence_Validate() {
	p := &pidf.Presence{
		Entity: "sip:a@example.com",
		Tuples: []pidf.Tuple{{ID: "audio", Basic: "ajar"}},
		Persons: []pidf.Person{{ID: "p", Extra: aa.Extra(&aa.Presence{
			BluStar: &aa.BluStar{Status: "at lunch"},
		})}},
	}
	err := p.Validate(pidf.BluStarDialect)
	if violations, ok := errors.AsType[pidf.Violations](err); ok {
		for _, v := range violations {
			fmt.Println(v)
		}
	}
	// Output:
	// presence/tuple[audio]/status/basic: "ajar" is not one of open, closed
	// presence/person[p]/presence/blustar/status: "at lunch" is not one of other, available, busy, away, do not disturb, signed out, inactive, be right back, unknown
}
