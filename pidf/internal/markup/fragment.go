package markup

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Fragment reads the element whose start tag was just read, and returns it as written, with the declarations that it
// needs to stand alone.
func (s *Scanner) Fragment() (xml string, declare *[]Binding) {
	start, outside := s.From, s.Open[len(s.Open)-1].Bindings
	own := s.Bindings[outside:]

	// The start tag was resolved before this fragment had a number: resolve its names again under it.
	s.fragments++
	s.serial, s.bare = s.fragments, false
	s.resolve(s.From, &s.Name, true)
	for i := range s.Attrs {
		if s.Attrs[i].Prefix != "" {
			s.resolve(s.From, &s.Attrs[i].Name, false)
		}
	}
	for depth := len(s.Open); len(s.Open) >= depth; {
		if s.Next() == EOF {
			break
		}
	}
	s.serial = 0
	if s.Err != nil {
		return "", nil
	}
	xml = s.Doc[start:s.Pos]
	return xml, s.declarations(s.Bindings[:outside], own, xml)
}

// declarations returns the declarations that a fragment lacks: of the prefixes that its names use, and of those
// that its texts may use in qualified names. Own are the ones that its outermost element makes itself.
func (s *Scanner) declarations(outer, own []Binding, xml string) *[]Binding {
	ends := uint64(0) // the bytes before colons: a prefix that ends in none of them is not mentioned
	for rest := xml; ; {
		i := strings.IndexByte(rest, ':')
		if i < 0 {
			break
		}
		if i > 0 {
			ends |= 1 << (rest[i-1] % 64)
		}
		rest = rest[i+1:]
	}
	var more []Binding
	for i := len(outer) - 1; i >= 0; i-- {
		b := &outer[i]
		if b.serial != s.fragments {
			same := func(c Binding) bool { return c.Prefix == b.Prefix }
			if b.Prefix == "" || ends>>(b.Prefix[len(b.Prefix)-1]%64)&1 == 0 || !mentions(xml, b.Prefix) ||
				slices.ContainsFunc(own, same) || slices.ContainsFunc(outer[i+1:], same) {
				continue
			}
		}
		more = append(more, Binding{Prefix: b.Prefix, Space: b.Space})
	}
	if s.bare {
		more = append(more, Binding{})
	}
	switch {
	case more == nil:
		return nil
	case s.declared == nil || !slices.Equal(*s.declared, more):
		s.declared = new(more) // otherwise they are those of its sibling before it
	}
	return s.declared
}

// AppendDeclared appends an element with declarations behind its name.
func AppendDeclared(dst []byte, xml string, declare []Binding) []byte {
	_, _, n := QualifiedName(xml[1:])
	dst = append(dst, xml[:1+n]...)
	for _, b := range declare {
		dst = AppendBinding(dst, b.Prefix, b.Space)
	}
	return append(dst, xml[1+n:]...)
}

// Mentioned adds the declarations in scope of prefixes that a text mentions, as the value of xsi:type does, to those
// that are there.
func (s *Scanner) Mentioned(text string, more []Binding) []Binding {
	for i := len(s.Bindings) - 1; i >= 0 && strings.IndexByte(text, ':') > 0; i-- {
		b := Binding{Prefix: s.Bindings[i].Prefix, Space: s.Bindings[i].Space}
		if b.Prefix != "" && mentions(text, b.Prefix) && !slices.ContainsFunc(more, func(c Binding) bool { return c.Prefix == b.Prefix }) {
			more = append(more, b)
		}
	}
	return more
}

// mentions reports whether a qualified name with that prefix stands somewhere in xml.
func mentions(xml, prefix string) bool {
	for from := 0; ; {
		i := strings.Index(xml[from:], prefix)
		if i < 0 {
			return false
		}
		i += from
		after := xml[i+len(prefix):]
		if (i == 0 || !isNameByte(xml[i-1])) && len(after) > 1 && after[0] == ':' && isNameByte(after[1]) && after[1] != ':' {
			return true
		}
		from = i + 1
	}
}

// isNameByte reports whether c can be part of a qualified name.
func isNameByte(c byte) bool { return c >= utf8.RuneSelf || c == ':' || isNameInner(rune(c)) }
