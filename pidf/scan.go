package pidf

import (
	"strings"
)

// scanner reads one XML document piece by piece and checks that it is well-formed and that its prefixes are bound
// (XML 1.0, Namespaces in XML 1.0). It expects UTF-8 without illegal characters, which charset.go sees to.
//
// It is written by hand because the typed path needs neither a tree nor the copies of encoding/xml: all that it
// hands out are parts of doc.
type scanner struct {
	doc    string
	limits Limits
	types  []*Type // whose spellings of namespaces are known

	pos  int // next byte to read
	kind tokenKind
	from int // where the current token starts
	// Of a start or end tag:
	name element
	// Of a start tag. Values are as written: value resolves their references.
	attrs []rawAttr
	// Of a text: its characters as written. cdata says that references are none.
	chars string
	cdata bool

	selfClosed  bool // the start tag was <name/>: its end comes next
	open        []openElement
	bindings    []binding
	serial      int32 // number of the fragment that keep is reading, 0 outside
	bare        bool  // that fragment holds unprefixed elements outside any default namespace
	elements    int
	misspelt    string // a namespace declared in a spelling that is not its own, since that was last asked
	rootSeen    bool
	allowDrafts bool   // take the document type declarations of drafts
	doctype     string // which of them there was: PIDF or XPIDF
	err         *SyntaxError
}

type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokStart
	tokEnd
	tokText
	tokComment
	tokInstruction
)

// element is the name of an element or attribute.
type element struct {
	prefix, local string
	space         string
	id            nsID
}

// written returns the name as the document writes it.
func (e *element) written() string {
	if e.prefix == "" {
		return e.local
	}
	return e.prefix + ":" + e.local
}

type rawAttr struct {
	element
	raw   string // between the quotes
	plain bool   // holds no references and no white space but spaces
	taken bool
}

type openElement struct {
	written  string // name as the start tag writes it
	bindings int    // how many were in scope outside
}

type binding struct {
	prefix, space string
	id            nsID
	serial        int32 // the last fragment that used it
}

func (s *scanner) fail(offset int, kind error, detail string) tokenKind {
	if s.err == nil {
		e := &SyntaxError{Kind: kind, Detail: detail}
		e.Line, e.Column = new(place).at(s.doc, offset)
		if len(s.open) > 0 {
			e.Element = s.open[len(s.open)-1].written
		}
		s.err = e
	}
	s.kind = tokEOF
	return tokEOF
}

// next reads one token. After an error it returns tokEOF for ever.
func (s *scanner) next() tokenKind {
	if s.err != nil {
		return tokEOF
	}
	if s.selfClosed {
		return s.pop()
	}
	s.from = s.pos
	if s.pos >= len(s.doc) {
		if len(s.open) > 0 {
			return s.fail(s.pos, ErrSyntax, "the document ends inside <"+s.open[len(s.open)-1].written+">")
		}
		s.kind = tokEOF
		return tokEOF
	}
	if s.doc[s.pos] != '<' {
		return s.text()
	}
	rest := s.doc[s.pos+1:]
	switch {
	case rest == "":
		return s.fail(s.pos, ErrSyntax, "the document ends in a tag")
	case rest[0] == '/':
		return s.endTag()
	case rest[0] == '?':
		return s.instruction()
	case rest[0] == '!':
		return s.declaration(rest[1:])
	}
	return s.startTag()
}

// pop ends the innermost element. Its bindings stay in scope until the next token, so that the end can be named.
func (s *scanner) pop() tokenKind {
	last := len(s.open) - 1
	s.bindings = s.bindings[:s.open[last].bindings]
	s.open = s.open[:last]
	s.selfClosed = false
	s.kind = tokEnd
	return tokEnd
}

func (s *scanner) text() tokenKind {
	rest := s.doc[s.pos:]
	end := strings.IndexByte(rest, '<')
	if end < 0 {
		end = len(rest)
	}
	s.chars, s.cdata = rest[:end], false
	if len(s.open) == 0 {
		if junk := trimLeft(s.chars); junk != "" {
			return s.fail(s.pos+len(s.chars)-len(junk), ErrSyntax, "text outside the root element")
		}
	} else if !s.checkText(s.pos, s.chars) {
		return tokEOF
	}
	s.pos += end
	s.kind = tokText
	return tokText
}

// checkText checks the references in a text and that it does not hold "]]>" (XML 1.0 §2.4).
func (s *scanner) checkText(offset int, text string) bool {
	if i := strings.Index(text, "]]>"); i >= 0 {
		s.fail(offset+i, ErrSyntax, "]]> in text")
		return false
	}
	return s.checkReferences(offset, text)
}

func (s *scanner) checkReferences(offset int, text string) bool {
	for i := 0; ; {
		j := strings.IndexByte(text[i:], '&')
		if j < 0 {
			return true
		}
		i += j
		_, n := reference(text[i:])
		if n == 0 {
			s.fail(offset+i, ErrSyntax, "a reference other than to a character, or an unescaped &")
			return false
		}
		i += n
	}
}

func (s *scanner) declaration(rest string) tokenKind {
	switch {
	case strings.HasPrefix(rest, "--"):
		body := rest[2:]
		end := strings.Index(body, "--")
		if end < 0 {
			return s.fail(s.pos, ErrSyntax, "comment without an end")
		}
		if !strings.HasPrefix(body[end+2:], ">") {
			return s.fail(s.pos+4+end, ErrSyntax, "-- in a comment")
		}
		s.pos += len("<!--") + end + len("-->")
		s.kind = tokComment
		return tokComment
	case strings.HasPrefix(rest, "[CDATA["):
		if len(s.open) == 0 {
			return s.fail(s.pos, ErrSyntax, "text outside the root element")
		}
		body := rest[len("[CDATA["):]
		end := strings.Index(body, "]]>")
		if end < 0 {
			return s.fail(s.pos, ErrSyntax, "CDATA section without an end")
		}
		s.chars, s.cdata = body[:end], true
		s.pos += len("<![CDATA[") + end + len("]]>")
		s.kind = tokText
		return tokText
	case strings.HasPrefix(rest, "DOCTYPE"):
		return s.documentType()
	}
	return s.fail(s.pos, ErrSyntax, "a declaration that is none")
}

func (s *scanner) instruction() tokenKind {
	body := s.doc[s.pos+2:]
	n := ncNameLen(body)
	end := strings.Index(body, "?>")
	switch {
	case n == 0:
		return s.fail(s.pos, ErrSyntax, "processing instruction without a name")
	case end < 0:
		return s.fail(s.pos, ErrSyntax, "processing instruction without an end")
	case strings.EqualFold(body[:n], "xml"):
		return s.fail(s.pos, ErrSyntax, "XML declaration inside the document")
	case end != n && !isSpace(body[n]):
		return s.fail(s.pos+2+n, ErrSyntax, "processing instruction with a bad name")
	}
	s.pos += len("<?") + end + len("?>")
	s.kind = tokInstruction
	return tokInstruction
}

func (s *scanner) endTag() tokenKind {
	if len(s.open) == 0 {
		return s.fail(s.pos, ErrSyntax, "an end tag without its start")
	}
	want := s.open[len(s.open)-1].written
	rest := s.doc[s.pos+2:]
	if !strings.HasPrefix(rest, want) {
		return s.fail(s.pos, ErrSyntax, "an end tag that does not match <"+want+">")
	}
	i := len(want)
	for i < len(rest) && isSpace(rest[i]) {
		i++
	}
	if i == len(rest) || rest[i] != '>' {
		return s.fail(s.pos, ErrSyntax, "an end tag that does not match <"+want+">")
	}
	s.pos += 2 + i + 1
	return s.pop()
}
