package markup

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strconv"
)

// Copy writes the element whose start tag d has just read, with all that is in it. Its errors are those of d, and an
// *Error where a limit of bytes or depth is exceeded.
func Copy(d *xml.Decoder, start xml.StartElement, limits Limits) ([]byte, error) {
	var c copier
	c.start(start)
	for len(c.open) > 0 {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case len(c.b) > limits.Bytes:
			return nil, &Error{Line: 1, Column: 1, Kind: ErrTooLarge}
		case len(c.open) > limits.Depth:
			return nil, &Error{Line: 1, Column: 1, Kind: ErrTooDeep}
		}
		switch t := token.(type) {
		case xml.StartElement:
			c.start(t)
		case xml.EndElement:
			c.end()
		case xml.CharData:
			c.b = AppendEscaped(c.b, string(t))
		case xml.Comment:
			c.b = append(append(append(c.b, "<!--"...), t...), "-->"...)
		}
	}
	return c.b, nil
}

// Encode writes the root element of a document that s has not begun to read.
func Encode(e *xml.Encoder, s *Scanner) error {
	for s.Next() != Start && s.Err == nil {
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
		for len(s.Open) > 0 && s.Err == nil {
			s.Next()
		}
		inner.XML = s.Doc[from:s.From]
	}
	return e.EncodeElement(&inner, start)
}

// copier writes the tokens of encoding/xml, which knows namespaces and forgets prefixes.
type copier struct {
	b    []byte
	open []string // local names
	n    int      // prefixes that were made
}

func (c *copier) start(t xml.StartElement) {
	c.b = append(append(c.b, '<'), t.Name.Local...)
	c.b = AppendBinding(c.b, "", t.Name.Space)
	var own []Binding
	for _, a := range t.Attr {
		if a.Name.Space == "xmlns" { // values may mention it
			own = append(own, Binding{Prefix: a.Name.Local, Space: a.Value})
			c.b = AppendBinding(c.b, a.Name.Local, a.Value)
		}
	}
	for _, a := range t.Attr {
		name := a.Name.Local
		switch {
		case a.Name.Space == "xmlns" || a.Name.Space == "" && name == "xmlns":
			continue
		case a.Name.Space == NSXML:
			name = "xml:" + name
		case a.Name.Space != "":
			i := slices.IndexFunc(own, func(b Binding) bool { return b.Space == a.Name.Space })
			if i < 0 {
				c.n++
				i = len(own)
				own = append(own, Binding{Prefix: "_" + strconv.Itoa(c.n), Space: a.Name.Space})
				c.b = AppendBinding(c.b, own[i].Prefix, a.Name.Space)
			}
			name = own[i].Prefix + ":" + name
		}
		c.b = append(append(append(c.b, ' '), name...), `="`...)
		c.b = append(AppendAttr(c.b, a.Value), '"')
	}
	c.b = append(c.b, '>')
	c.open = append(c.open, t.Name.Local)
}

func (c *copier) end() {
	last := len(c.open) - 1
	c.b = append(append(append(c.b, "</"...), c.open[last]...), '>')
	c.open = c.open[:last]
}
