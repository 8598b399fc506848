package markup

import (
	"bytes"
	"slices"
)

// Canonical reads the element whose start tag was just read, and writes it so that it does not depend on prefixes, the
// order of attributes, comments and white space between elements. Nor does it depend on the order of what the elements
// hold that are unordered, from the outermost inwards.
func Canonical(s *Scanner, unordered func(*Name) bool) []byte {
	c := canonical{Scanner: s, unordered: unordered}
	c.element(true)
	return c.b
}

type canonical struct {
	*Scanner
	unordered func(*Name) bool

	b, sorted []byte
	text      []byte // of the elements that are open
	parts     []part // of them, to be sorted
}

// part is an attribute or a child.
type part struct{ from, to int }

func (c *canonical) element(unordered bool) {
	unordered = unordered && c.unordered(&c.Name)
	c.b = c.Name.appendExpanded(append(c.b, '<'))
	parts := len(c.parts)
	for i := range c.Attrs {
		a, from := &c.Attrs[i], len(c.b)
		c.b = AppendQuoted(append(a.appendExpanded(append(c.b, ' ')), '='), a.Value())
		c.parts = append(c.parts, part{from, len(c.b)})
	}
	c.sort(parts)
	c.b = append(c.b, '>')
	children, text := len(c.b), len(c.text)
	for c.Next() != End && c.Err == nil {
		switch from := len(c.b); {
		case c.Kind == Start:
			c.element(unordered)
			c.parts = append(c.parts, part{from, len(c.b)})
		case c.Kind == Text && unordered: // in one piece, whatever stands between
			c.text = AppendText(c.text, c.Chars, c.CDATA)
		case c.Kind == Text && !c.Blank:
			c.b = AppendAttr(c.b, string(AppendText(nil, c.Chars, c.CDATA)))
		}
	}
	if unordered {
		c.sort(parts)
		own := c.text[text:]
		if len(c.b) > children {
			own = bytes.Join(bytes.Fields(own), nil)
		}
		c.b = AppendAttr(c.b, string(own))
	}
	c.b, c.text, c.parts = append(c.b, "</>"...), c.text[:text], c.parts[:parts]
}

// sort sorts the last parts, which stand at the end of b.
func (c *canonical) sort(from int) {
	parts := c.parts[from:]
	if len(parts) > 1 {
		start := parts[0].from
		c.sorted = append(c.sorted[:0], c.b[start:]...)
		slices.SortFunc(parts, func(x, y part) int { return bytes.Compare(c.b[x.from:x.to], c.b[y.from:y.to]) })
		b := c.b[:start]
		for _, p := range parts {
			b = append(b, c.sorted[p.from-start:p.to-start]...)
		}
	}
	c.parts = c.parts[:from]
}

// appendExpanded appends the name as "{namespace}local".
func (e *Name) appendExpanded(dst []byte) []byte {
	if e.Space != "" {
		dst = append(AppendAttr(append(dst, '{'), e.Space), '}')
	}
	return append(dst, e.Local...)
}
