package pidf

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"

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
	for s.Next() != markup.Start {
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
	var c copier
	c.start(start)
	for len(c.open) > 0 {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case len(c.b) > defaultBytes:
			return &SyntaxError{Place: Place{Line: 1, Column: 1}, Kind: ErrTooLarge}
		case len(c.open) > defaultDepth:
			return &SyntaxError{Place: Place{Line: 1, Column: 1}, Kind: ErrTooDeep}
		}
		switch t := token.(type) {
		case xml.StartElement:
			c.start(t)
		case xml.EndElement:
			c.end()
		case xml.CharData:
			c.b = markup.AppendEscaped(c.b, string(t))
		case xml.Comment:
			c.b = append(append(append(c.b, "<!--"...), t...), "-->"...)
		}
	}
	q, err := Decode(c.b)
	if err != nil {
		return err
	}
	*p = *q
	return nil
}

// copier writes the tokens of encoding/xml, which knows namespaces and forgets prefixes.
type copier struct {
	b    []byte
	open []string // local names
	n    int      // prefixes that were made
}

func (c *copier) start(t xml.StartElement) {
	c.b = append(append(c.b, '<'), t.Name.Local...)
	c.b = markup.AppendBinding(c.b, "", t.Name.Space)
	var own []markup.Binding
	for _, a := range t.Attr {
		if a.Name.Space == "xmlns" { // values may mention it
			own = append(own, markup.Binding{Prefix: a.Name.Local, Space: a.Value})
			c.b = markup.AppendBinding(c.b, a.Name.Local, a.Value)
		}
	}
	for _, a := range t.Attr {
		name := a.Name.Local
		switch {
		case a.Name.Space == "xmlns" || a.Name.Space == "" && name == "xmlns":
			continue
		case a.Name.Space == markup.NSXML:
			name = "xml:" + name
		case a.Name.Space != "":
			i := slices.IndexFunc(own, func(b markup.Binding) bool { return b.Space == a.Name.Space })
			if i < 0 {
				c.n++
				i = len(own)
				own = append(own, markup.Binding{Prefix: "_" + strconv.Itoa(c.n), Space: a.Name.Space})
				c.b = markup.AppendBinding(c.b, own[i].Prefix, a.Name.Space)
			}
			name = own[i].Prefix + ":" + name
		}
		c.b = append(append(append(c.b, ' '), name...), `="`...)
		c.b = append(markup.AppendAttr(c.b, a.Value), '"')
	}
	c.b = append(c.b, '>')
	c.open = append(c.open, t.Name.Local)
}

func (c *copier) end() {
	last := len(c.open) - 1
	c.b = append(append(append(c.b, "</"...), c.open[last]...), '>')
	c.open = c.open[:last]
}

// Document is a document that [Decoder.Read] tells by its root element: a *Presence, *ResourceLists, *ListInfo or
// *WatcherInfo.
type Document interface{ document() }

func (*Presence) document()      {}
func (*ResourceLists) document() {}
func (*ListInfo) document()      {}
func (*WatcherInfo) document()   {}

// Read reads any of the documents of this package. A document with another root element is refused with ErrRoot.
func (c Decoder) Read(data []byte) (Document, error) {
	d := newDecoder(c)
	defer d.release()
	if d.Load(data, c.Charset) {
		d.AllowDrafts = true
		d.skipMisc()
	}
	if d.Err != nil {
		return nil, d.failed()
	}
	read := func(doc Document, err error) (Document, error) {
		if err != nil {
			return nil, err
		}
		return doc, nil
	}
	switch d.Name.Local {
	case "resource-lists":
		r, err := c.DecodeResourceLists(data)
		return read(r, err)
	case "list":
		l, err := c.DecodeListInfo(data)
		return read(l, err)
	case "watcherinfo":
		i, err := c.DecodeWatcherInfo(data)
		return read(i, err)
	}
	p, err := c.Decode(data)
	return read(p, err)
}
