package pidf

import (
	"slices"
	"strconv"
	"strings"
)

// startTag reads a start tag or an empty element (XML 1.0 §3.1).
func (s *scanner) startTag() tokenKind {
	doc := s.doc
	i := s.pos + 1
	prefix, local, n := qualifiedName(doc[i:])
	if n == 0 {
		return s.fail(s.pos, ErrSyntax, "a < that starts no tag")
	}
	written := doc[i : i+n]
	i += n
	switch {
	case len(s.open) == 0 && s.rootSeen:
		return s.fail(s.pos, ErrSyntax, "a second root element")
	case len(s.open) >= s.limits.Depth:
		return s.fail(s.pos, ErrTooDeep, "elements nest more than "+strconv.Itoa(s.limits.Depth)+" deep")
	case s.elements >= s.limits.Elements:
		return s.fail(s.pos, ErrTooMany, "more than "+strconv.Itoa(s.limits.Elements)+" elements")
	}
	s.rootSeen = true
	s.elements++
	s.open = append(s.open, openElement{written, len(s.bindings)})
	s.attrs = s.attrs[:0]

	declarations := 0
	for {
		spaces := i
		for i < len(doc) && isSpace(doc[i]) {
			i++
		}
		if i >= len(doc) {
			return s.fail(s.pos, ErrSyntax, "a tag without an end")
		}
		if doc[i] == '>' {
			i++
			break
		}
		if doc[i] == '/' {
			if i+1 >= len(doc) || doc[i+1] != '>' {
				return s.fail(i, ErrSyntax, "a / in a tag")
			}
			s.selfClosed = true
			i += 2
			break
		}
		if i == spaces {
			return s.fail(i, ErrSyntax, "no space before an attribute, or a bad name")
		}
		if declarations+len(s.attrs) >= s.limits.Attributes {
			return s.fail(i, ErrTooMany, "more than "+strconv.Itoa(s.limits.Attributes)+" attributes")
		}
		at := i
		var a rawAttr
		if i, a = s.attribute(i); s.err != nil {
			return tokEOF
		}
		switch {
		case a.prefix == "xmlns":
			s.bind(at, a.local, value(&a))
			declarations++
		case a.prefix == "" && a.local == "xmlns":
			s.bind(at, "", value(&a))
			declarations++
		default:
			s.attrs = append(s.attrs, a)
		}
		if s.err != nil {
			return tokEOF
		}
	}

	s.name = element{prefix: prefix, local: local}
	if !s.resolve(s.pos, &s.name, true) {
		return tokEOF
	}
	for k := range s.attrs {
		a := &s.attrs[k]
		if a.prefix != "" && !s.resolve(s.pos, &a.element, false) {
			return tokEOF
		}
		for j := range k {
			if b := &s.attrs[j]; b.local == a.local && b.space == a.space {
				return s.fail(s.pos, ErrSyntax, "attribute "+a.written()+" twice")
			}
		}
	}
	s.pos = i
	s.kind = tokStart
	return tokStart
}

// attribute reads name="value" at doc[i:] and returns the position after it.
func (s *scanner) attribute(i int) (int, rawAttr) {
	var a rawAttr
	doc := s.doc
	prefix, local, n := qualifiedName(doc[i:])
	if n == 0 {
		s.fail(i, ErrSyntax, "an attribute with a bad name")
		return i, a
	}
	a.prefix, a.local = prefix, local
	i += n
	for i < len(doc) && isSpace(doc[i]) {
		i++
	}
	if i >= len(doc) || doc[i] != '=' {
		s.fail(i, ErrSyntax, "attribute "+a.written()+" without a value")
		return i, a
	}
	i++
	for i < len(doc) && isSpace(doc[i]) {
		i++
	}
	if i >= len(doc) || doc[i] != '"' && doc[i] != '\'' {
		s.fail(i, ErrSyntax, "the value of attribute "+a.written()+" is not quoted")
		return i, a
	}
	quote := doc[i]
	i++
	end := strings.IndexByte(doc[i:], quote)
	if end < 0 {
		s.fail(i, ErrSyntax, "the value of attribute "+a.written()+" does not end")
		return i, a
	}
	a.raw = doc[i : i+end]
	a.plain = true
	for k := 0; k < len(a.raw); k++ {
		switch a.raw[k] {
		case '<':
			s.fail(i+k, ErrSyntax, "a < in the value of attribute "+a.written())
			return i, a
		case '&', '\n', '\t', '\r':
			a.plain = false
		}
	}
	if !a.plain && !s.checkReferences(i, a.raw) {
		return i, a
	}
	return i + end + 1, a
}

// qualifiedName splits the name that s starts with and returns its length, 0 where s starts with none
// (Namespaces in XML 1.0 §4).
func qualifiedName(s string) (prefix, local string, n int) {
	n = ncNameLen(s)
	if n == 0 || n == len(s) || s[n] != ':' {
		return "", s[:n], n
	}
	m := ncNameLen(s[n+1:])
	if m == 0 {
		return "", "", 0
	}
	return s[:n], s[n+1 : n+1+m], n + 1 + m
}

const nsXMLNS = "http://www.w3.org/2000/xmlns/"

// bind declares a prefix for the element that was opened last (Namespaces in XML 1.0 §3).
func (s *scanner) bind(offset int, prefix, space string) {
	switch {
	case prefix == "xmlns", space == nsXMLNS, (prefix == "xml") != (space == nsXML):
		s.fail(offset, ErrSyntax, "a declaration of a reserved prefix or namespace")
		return
	case prefix != "" && space == "":
		s.fail(offset, ErrSyntax, "prefix "+prefix+" bound to nothing")
		return
	case len(s.bindings) >= maxBindings && s.limits.Attributes < noLimit:
		s.fail(offset, ErrTooMany, "more than "+strconv.Itoa(maxBindings)+" namespace declarations in scope")
		return
	}
	for _, b := range s.bindings[s.open[len(s.open)-1].bindings:] {
		if b.prefix == prefix {
			s.fail(offset, ErrSyntax, "prefix "+prefix+" declared twice")
			return
		}
	}
	id, misspelt := classify(space)
	if misspelt || id == idOther && s.isSpelling(space, "") {
		s.misspelt = space
	}
	s.bindings = append(s.bindings, binding{prefix: prefix, space: space, id: id})
}

// resolve finds the namespace of a name. An attribute without a prefix has none and is not asked about.
func (s *scanner) resolve(offset int, e *element, isElement bool) bool {
	for i := len(s.bindings) - 1; i >= 0; i-- {
		if b := &s.bindings[i]; b.prefix == e.prefix {
			b.serial = s.serial
			e.space, e.id = b.space, b.id
			return true
		}
	}
	switch {
	case e.prefix == "xml":
		e.space, e.id = nsXML, idXML
	case e.prefix == "" && isElement:
		s.bare = true
	default:
		s.fail(offset, ErrSyntax, "unbound prefix "+e.prefix)
		return false
	}
	return true
}

// isSpelling reports whether a type knows a namespace as another spelling of its own; of any own if that is empty.
func (s *scanner) isSpelling(space, own string) bool {
	for _, t := range s.types {
		if (own == "" || t.Name.Space == own) && slices.Contains(t.Spellings, space) {
			return true
		}
	}
	return false
}
