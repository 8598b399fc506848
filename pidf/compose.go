package pidf

import (
	"encoding/xml"
	"errors"
	"slices"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// Clone returns a copy of the document that shares nothing with it but strings and the texts of extensions.
func (p *Presence) Clone() *Presence {
	c := *p
	c.Warnings = slices.Clone(p.Warnings)
	f := Fields{mode: copying}
	f.copy(&c)
	return &c
}

// MarshalXML writes the document, in the Standard dialect, inside a document of encoding/xml: as a field of somebody's
// struct, such as the response of HELD (RFC 5985). The name in the tag of the field does not count.
func (p Presence) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	doc := string(p.Append(nil, StandardDialect))[len(xmlDeclaration):]
	s := trusted(doc)
	for s.Next() != markup.Start && s.Err == nil {
	}
	start := xml.StartElement{Name: xml.Name{Local: s.Name.Written()}}
	for _, b := range s.Bindings {
		name := "xmlns"
		if b.Prefix != "" {
			name += ":" + b.Prefix
		}
		start.Attr = append(start.Attr, xml.Attr{Name: xml.Name{Local: name}, Value: b.Space})
	}
	for i := range s.Attrs {
		a := &s.Attrs[i]
		start.Attr = append(start.Attr, xml.Attr{Name: xml.Name{Local: a.Written()}, Value: a.Value()})
	}
	var inner struct {
		XML string `xml:",innerxml"`
	}
	if from := s.Pos; !s.SelfClosed { // between the tags of the root
		for len(s.Open) > 0 {
			s.Next()
		}
		inner.XML = doc[from:s.From]
	}
	return e.EncodeElement(&inner, start)
}

// UnmarshalXML reads the document inside a document of encoding/xml, with the default limits and without types of
// extensions.
func (p *Presence) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	doc, err := markup.Copy(d, start, markup.Limits(Limits{}.withDefaults()))
	if e, ok := errors.AsType[*markup.Error](err); ok {
		return syntaxError(e)
	}
	if err != nil {
		return err
	}
	q, err := Decode(doc)
	if err != nil {
		return err
	}
	*p = *q
	return nil
}
