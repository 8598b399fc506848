package pidf_test

import (
	"encoding/xml"
	"fmt"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
)

const (
	geopriv = "urn:ietf:params:xml:ns:pidf:geopriv10" // RFC 4119
	gml     = "http://www.opengis.net/gml"
)

// Geopriv is a small part of geopriv: a point, and whether it may be passed on.
type Geopriv struct {
	Position       string // latitude and longitude
	Retransmission string // "yes" or "no"
	Method         string // how the position was found, such as "GPS"
	pidf.Extra

	info, point, rules pidf.Extra // what else these elements hold
}

// Fields lists the fields, in the order of the schema.
func (g *Geopriv) Fields(f *pidf.Fields) {
	f.Inline("location-info", &g.info, func(f *pidf.Fields) {
		f.In(gml, "gml")
		f.Inline("Point", &g.point, func(f *pidf.Fields) {
			f.Leaf("pos", &g.Position, pidf.Need)
		})
	})
	f.Inline("usage-rules", &g.rules, func(f *pidf.Fields) {
		f.Leaf("retransmission-allowed", &g.Retransmission, 0, "yes|no|true|false|0|1")
	})
	f.Leaf("method", &g.Method, 0)
}

var geoprivType = pidf.Type{
	Name:   pidf.Name{Space: geopriv, Local: "geopriv"},
	Prefix: "gp",
	New:    func() pidf.Element { return new(Geopriv) },
}

// A location in a document (PIDF-LO, RFC 4119) as a Go type of one's own.
func ExampleType() {
	decoder := pidf.Decoder{Types: []*pidf.Type{&geoprivType}}
	p, err := decoder.Decode([]byte(`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
    xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10" xmlns:gml="http://www.opengis.net/gml" entity="pres:geotarget@example.com">
  <dm:device id="target">
    <gp:geopriv>
      <gp:location-info><gml:Point srsName="urn:ogc:def:crs:EPSG::4326"><gml:pos>-34.407 150.883</gml:pos></gml:Point></gp:location-info>
      <gp:usage-rules/>
    </gp:geopriv>
    <dm:deviceID>mac:8asd7d7d70cf</dm:deviceID>
  </dm:device>
</presence>`))
	if err != nil {
		fmt.Println(err)
		return
	}
	extension, _ := p.Devices[0].Find(geoprivType.Name)
	location := extension.Value().(*Geopriv)
	fmt.Println(location.Position)
	location.Retransmission = "no"
	fmt.Printf("%s", p.Append(nil, pidf.StandardDialect))
	// Output:
	// -34.407 150.883
	// <?xml version="1.0" encoding="UTF-8"?>
	// <presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:gml="http://www.opengis.net/gml" xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10" entity="pres:geotarget@example.com"><dm:device id="target"><gp:geopriv><gp:location-info><gml:Point srsName="urn:ogc:def:crs:EPSG::4326"><gml:pos>-34.407 150.883</gml:pos></gml:Point></gp:location-info><gp:usage-rules><gp:retransmission-allowed>no</gp:retransmission-allowed></gp:usage-rules></gp:geopriv><dm:deviceID>mac:8asd7d7d70cf</dm:deviceID></dm:device></presence>
}

// A capability of RCS: the service that a tuple is for, as a type of encoding/xml.
func ExampleNewExtension() {
	type service struct {
		XMLName     xml.Name `xml:"urn:oma:xml:prs:pidf:oma-pres service-description"`
		ID          string   `xml:"urn:oma:xml:prs:pidf:oma-pres service-id"`
		Version     string   `xml:"urn:oma:xml:prs:pidf:oma-pres version"`
		Description string   `xml:"urn:oma:xml:prs:pidf:oma-pres description,omitempty"`
	}
	e, err := pidf.NewExtension(service{ID: "org.openmobilealliance:IM-session", Version: "1.0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	doc := pidf.Presence{Entity: "tel:+12345678901", Tuples: []pidf.Tuple{{
		ID: "im", Basic: pidf.Open, Contact: &pidf.Contact{URI: "tel:+12345678901"},
		Extra: pidf.Extra{Extensions: []pidf.Extension{e}},
	}}}

	p, err := pidf.Decode(doc.Append(nil, pidf.StandardDialect))
	if err != nil {
		fmt.Println(err)
		return
	}
	var s service
	for e := range p.Tuples[0].FindAll(pidf.Name{Space: "urn:oma:xml:prs:pidf:oma-pres", Local: "service-description"}) {
		if err := e.Unmarshal(&s); err != nil {
			fmt.Println(err)
		}
		fmt.Println(s.ID, s.Version, p.Tuples[0].Basic)
	}
	// Output: org.openmobilealliance:IM-session 1.0 open
}

// The state of a line in a document of BluStar.
func Example_bluStar() {
	p, err := aa.Decode([]byte(`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" entity="sip:a@example.com">
  <dm:device id="tel:2719"><line xmlns="http://www.aastra.com/presence/blustar/2011"><DN>2719</DN><state>ringing</state></line></dm:device>
</presence>`))
	if err != nil {
		fmt.Println(err)
		return
	}
	line := aa.LineOf(&p.Devices[0])
	fmt.Println(line.DN, line.State)
	line.State = aa.LineBusy
	fmt.Printf("%s", p.Append(nil, pidf.BluStarDialect))
	// Output:
	// 2719 ringing
	// <?xml version="1.0" encoding="UTF-8"?>
	// <presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:aa="http://www.aastra.com/presence/blustar/2011" entity="sip:a@example.com"><dm:device id="tel:2719"><aa:line><aa:DN>2719</aa:DN><aa:state>busy</aa:state></aa:line></dm:device></presence>
}
