package markup

import (
	"bytes"
	"strconv"
	"strings"
)

// startTag reads a start tag or an empty element (XML 1.0 §3.1).
func (s *Scanner) startTag() Kind {
	doc := s.Doc
	i := s.Pos + 1
	prefix, local, n := QualifiedName(doc[i:])
	if n == 0 {
		return s.Fail(s.Pos, ErrSyntax, "a < that starts no tag")
	}
	written := doc[i : i+n]
	i += n
	switch {
	case len(s.Open) == 0 && s.rootSeen:
		return s.Fail(s.Pos, ErrSyntax, "a second root element")
	case len(s.Open) >= s.Limits.Depth:
		return s.Fail(s.Pos, ErrTooDeep, "elements nest more than "+strconv.Itoa(s.Limits.Depth)+" deep")
	case s.elements >= s.Limits.Elements:
		return s.Fail(s.Pos, ErrTooMany, "more than "+strconv.Itoa(s.Limits.Elements)+" elements")
	}
	s.rootSeen = true
	s.elements++
	s.Open = append(s.Open, Open{written, len(s.Bindings)})
	s.Attrs = s.Attrs[:0]

	declarations := 0
	for {
		spaces := i
		for i < len(doc) && classes[doc[i]]&blank != 0 {
			i++
		}
		if i >= len(doc) {
			return s.Fail(s.Pos, ErrSyntax, "a tag without an end")
		}
		if doc[i] == '>' {
			i++
			break
		}
		if doc[i] == '/' {
			if i+1 >= len(doc) || doc[i+1] != '>' {
				return s.Fail(i, ErrSyntax, "a / in a tag")
			}
			s.SelfClosed = true
			i += 2
			break
		}
		if i == spaces {
			return s.Fail(i, ErrSyntax, "no space before an attribute, or a bad name")
		}
		if declarations+len(s.Attrs) >= s.Limits.Attributes {
			return s.Fail(i, ErrTooMany, "more than "+strconv.Itoa(s.Limits.Attributes)+" attributes")
		}
		at := i
		if i = s.attribute(i); s.Err != nil {
			return EOF
		}
		last := len(s.Attrs) - 1
		switch a := &s.Attrs[last]; {
		case a.Prefix == "xmlns":
			s.bind(at, a.Local, a.Value())
		case a.Prefix == "" && a.Local == "xmlns":
			s.bind(at, "", a.Value())
		default:
			continue
		}
		s.Attrs = s.Attrs[:last]
		declarations++
		if s.Err != nil {
			return EOF
		}
	}

	s.Name = Name{Prefix: prefix, Local: local}
	if !s.resolve(s.Pos, &s.Name, true) {
		return EOF
	}
	for k := range s.Attrs {
		a := &s.Attrs[k]
		if a.Prefix != "" && !s.resolve(s.Pos, &a.Name, false) {
			return EOF
		}
		for j := range k {
			if b := &s.Attrs[j]; b.Local == a.Local && b.Space == a.Space {
				return s.Fail(s.Pos, ErrSyntax, "attribute "+a.Written()+" twice")
			}
		}
	}
	s.Pos = i
	s.Kind = Start
	return Start
}

// attribute reads name="value" at doc[i:] as the last of s.Attrs, and returns the position after it.
func (s *Scanner) attribute(i int) int {
	doc := s.Doc
	at := i
	prefix, local, n := QualifiedName(doc[i:])
	if n == 0 {
		s.Fail(i, ErrSyntax, "an attribute with a bad name")
		return i
	}
	i += n
	for i < len(doc) && classes[doc[i]]&blank != 0 {
		i++
	}
	if i >= len(doc) || doc[i] != '=' {
		s.Fail(i, ErrSyntax, "attribute "+doc[at:at+n]+" without a value")
		return i
	}
	i++
	for i < len(doc) && classes[doc[i]]&blank != 0 {
		i++
	}
	if i >= len(doc) || doc[i] != '"' && doc[i] != '\'' {
		s.Fail(i, ErrSyntax, "the value of attribute "+doc[at:at+n]+" is not quoted")
		return i
	}
	quote := doc[i]
	i++
	value := doc[i:]
	end := strings.IndexByte(value, quote)
	if end < 0 {
		s.Fail(i, ErrSyntax, "the value of attribute "+doc[at:at+n]+" does not end")
		return i
	}
	value = value[:end]
	if j := strings.IndexByte(value, '<'); j >= 0 {
		s.Fail(i+j, ErrSyntax, "a < in the value of attribute "+doc[at:at+n])
		return i
	}
	plain := classesIn(value)&(unplain|unspaced) == 0
	if !plain && !s.checkReferences(i, value) {
		return i
	}
	s.Attrs = append(s.Attrs, Attr{Name: Name{Prefix: prefix, Local: local}, raw: value, plain: plain})
	return i + end + 1
}

// QualifiedName splits the name that s starts with and returns its length, 0 where s starts with none
// (Namespaces in XML 1.0 §4).
func QualifiedName(s string) (prefix, local string, n int) {
	if n = ncNameLen(s); n == 0 || n == len(s) || s[n] != ':' {
		return "", s[:n], n
	}
	m := ncNameLen(s[n+1:])
	if m == 0 {
		return "", "", 0
	}
	return s[:n], s[n+1 : n+1+m], n + 1 + m
}

// The namespaces of the prefixes xml and xmlns.
const (
	NSXML   = "http://www.w3.org/XML/1998/namespace"
	NSXMLNS = "http://www.w3.org/2000/xmlns/"
)

// bind declares a prefix for the element that was opened last (Namespaces in XML 1.0 §3).
func (s *Scanner) bind(offset int, prefix, space string) {
	switch {
	case prefix == "xmlns", space == NSXMLNS, (prefix == "xml") != (space == NSXML):
		s.Fail(offset, ErrSyntax, "a declaration of a reserved prefix or namespace")
		return
	case prefix != "" && space == "":
		s.Fail(offset, ErrSyntax, "prefix "+prefix+" bound to nothing")
		return
	case len(s.Bindings) >= maxBindings && s.Limits.Attributes < NoLimit:
		s.Fail(offset, ErrTooMany, "more than "+strconv.Itoa(maxBindings)+" namespace declarations in scope")
		return
	}
	for _, b := range s.Bindings[s.Open[len(s.Open)-1].Bindings:] {
		if b.Prefix == prefix {
			s.Fail(offset, ErrSyntax, "prefix "+prefix+" declared twice")
			return
		}
	}
	id, misspelt := s.Classify(space)
	if misspelt {
		s.Misspelt = space
	}
	s.Bindings = append(s.Bindings, Binding{Prefix: prefix, Space: space, ID: id})
}

// resolve finds the namespace of a name. An attribute without a prefix has none and is not asked about.
func (s *Scanner) resolve(offset int, e *Name, isElement bool) bool {
	for i := len(s.Bindings) - 1; i >= 0; i-- {
		if b := &s.Bindings[i]; b.Prefix == e.Prefix {
			b.serial = s.serial
			e.Space, e.ID = b.Space, b.ID
			return true
		}
	}
	switch {
	case e.Prefix == "xml":
		e.Space, e.ID = NSXML, XML
	case e.Prefix == "" && isElement:
		s.bare = true
	default:
		s.Fail(offset, ErrSyntax, "unbound prefix "+e.Prefix)
		return false
	}
	return true
}

// HasAttr reports whether a start tag, of which the end is missing, has an attribute.
func HasAttr(tag []byte, written string) bool {
	for {
		i := bytes.IndexByte(tag, '=')
		if i < 0 || i+1 >= len(tag) {
			return false
		}
		name := tag[bytes.LastIndexByte(tag[:i], ' ')+1 : i]
		if string(name) == written {
			return true
		}
		value := tag[i+2:]
		end := bytes.IndexByte(value, tag[i+1])
		if end < 0 {
			return false
		}
		tag = value[end+1:]
	}
}
