package markup

import (
	"strings"
)

// Scanner reads one XML document piece by piece and checks that it is well-formed and that its prefixes are bound
// (XML 1.0, Namespaces in XML 1.0). It expects UTF-8 without illegal characters, which Load sees to.
//
// It is written by hand because package pidf needs neither a tree nor the copies of encoding/xml: all that it hands out
// are parts of Doc.
type Scanner struct {
	Doc    string
	Limits Limits

	// Classify returns the number of a namespace, and whether it is a spelling that is not its own.
	Classify func(space string) (id ID, misspelt bool)
	Warn     func(text string) // what Load put up with

	// AllowDrafts takes the document type declarations of drafts; Doctype is which of them there was, PIDF or XPIDF.
	AllowDrafts bool
	Doctype     string

	Pos  int // next byte to read
	Kind Kind
	From int // where the current token starts
	// Of a start or end tag:
	Name Name
	// Of a start tag. Values are as written: Value resolves their references.
	Attrs []Attr
	// Of a text: its characters as written. CDATA says that references are none, Blank that there is but white space,
	// Plain that the characters are the text.
	Chars               string
	CDATA, Blank, Plain bool

	SelfClosed bool // the start tag was <name/>: its end comes next
	Open       []Open
	Bindings   []Binding
	Misspelt   string // a namespace declared in a spelling that is not its own, since that was last asked
	Err        *Error

	serial    int32 // number of the fragment that Fragment is reading, 0 outside
	fragments int32 // read so far
	bare      bool  // that fragment holds unprefixed elements outside any default namespace
	declared  *[]Binding
	elements  int
	rootSeen  bool
	place     place
}

// Kind is the kind of a token.
type Kind uint8

// The kinds of tokens.
const (
	EOF Kind = iota
	Start
	End
	Text
	Comment
	Instruction
)

// ID is the number of a namespace. Those from 3 on are the user's.
type ID uint8

// The numbers that Scanner knows itself.
const (
	None  ID = iota // no namespace
	Other           // one that the user has no number for
	XML             // that of the prefix xml
)

// Name is the name of an element or attribute.
type Name struct {
	Prefix, Local string
	Space         string
	ID            ID
}

// Written returns the name as the document writes it.
func (e *Name) Written() string {
	if e.Prefix == "" {
		return e.Local
	}
	return e.Prefix + ":" + e.Local
}

// Attr is an attribute.
type Attr struct {
	Name
	raw   string // between the quotes
	plain bool   // holds no references and no white space but spaces
	Taken bool   // for the user to note
}

// Open is an element that has not ended.
type Open struct {
	Written  string // name as the start tag writes it
	Bindings int    // how many were in scope outside
}

// Binding is the declaration of a prefix.
type Binding struct {
	Prefix, Space string
	ID            ID
	serial        int32 // the last fragment that used it
}

// Fail makes Next return EOF from now on, and Err say why.
func (s *Scanner) Fail(offset int, kind error, detail string) Kind {
	if s.Err == nil {
		e := &Error{Kind: kind, Detail: detail}
		e.Line, e.Column = new(place).at(s.Doc, offset)
		if len(s.Open) > 0 {
			e.Element = s.Open[len(s.Open)-1].Written
		}
		s.Err = e
	}
	s.Kind = EOF
	return EOF
}

// Where returns the line, the column and the element of the current token.
func (s *Scanner) Where() (line, column int, element string) {
	line, column = s.place.at(s.Doc, s.From)
	if tag, ok := strings.CutPrefix(s.Doc[s.From:], "<"); ok {
		tag = strings.TrimPrefix(tag, "/")
		_, _, n := QualifiedName(tag)
		element = tag[:n]
	}
	if element == "" && len(s.Open) > 0 {
		element = s.Open[len(s.Open)-1].Written
	}
	return line, column, element
}

// Mark is a start tag to move back to.
type Mark struct {
	From, Depth        int
	bindings, elements int
}

// Mark returns the start tag that was just read.
func (s *Scanner) Mark() Mark {
	last := len(s.Open) - 1
	return Mark{s.From, last, s.Open[last].Bindings, s.elements}
}

// Rewind reads the marked start tag again.
func (s *Scanner) Rewind(m Mark) {
	s.Pos, s.Open, s.Bindings, s.SelfClosed = m.From, s.Open[:m.Depth], s.Bindings[:m.bindings], false
	s.elements = m.elements - 1
	s.Next()
}

// Next reads one token. After an error it returns EOF for ever.
func (s *Scanner) Next() Kind {
	if s.Err != nil {
		return EOF
	}
	if s.SelfClosed {
		return s.pop()
	}
	s.From = s.Pos
	switch rest := s.Doc[s.Pos:]; {
	case rest == "":
		if len(s.Open) > 0 {
			return s.Fail(s.Pos, ErrSyntax, "the document ends inside <"+s.Open[len(s.Open)-1].Written+">")
		}
		s.Kind = EOF
		return EOF
	case rest[0] != '<':
		return s.text()
	case len(rest) == 1:
		return s.Fail(s.Pos, ErrSyntax, "the document ends in a tag")
	case rest[1] == '/':
		return s.endTag()
	case rest[1] == '?':
		return s.instruction()
	case rest[1] == '!':
		return s.declaration(rest[2:])
	}
	return s.startTag()
}

// pop ends the innermost element. Its bindings stay in scope until the next token, so that the end can be named.
func (s *Scanner) pop() Kind {
	last := len(s.Open) - 1
	s.Bindings = s.Bindings[:s.Open[last].Bindings]
	s.Open = s.Open[:last]
	s.SelfClosed = false
	s.Kind = End
	return End
}

// SkipBlank moves over white space between elements, which says nothing.
func (s *Scanner) SkipBlank() {
	if s.SelfClosed {
		return
	}
	doc, i := s.Doc, s.Pos
	for i < len(doc) && classes[doc[i]]&blank != 0 {
		i++
	}
	if i < len(doc) && doc[i] == '<' {
		s.Pos = i
	}
}

func (s *Scanner) text() Kind {
	rest := s.Doc[s.Pos:]
	end := strings.IndexByte(rest, '<')
	if end < 0 {
		end = len(rest)
	}
	all := classesIn(rest[:end])
	s.Chars, s.CDATA, s.Blank, s.Plain = rest[:end], false, all&ink == 0, all&unplain == 0
	if len(s.Open) == 0 {
		if !s.Blank {
			return s.Fail(s.Pos+end-len(trimLeft(s.Chars)), ErrSyntax, "text outside the root element")
		}
	} else if all&bracket != 0 && !s.checkEnd(s.Pos, s.Chars) || !s.Plain && !s.checkReferences(s.Pos, s.Chars) {
		return EOF
	}
	s.Pos += end
	s.Kind = Text
	return Text
}

// Leaf reads the text of an element and its end tag, where that is all and each character of the text stands for
// itself. Where there may be more to it, it returns false and has not moved.
func (s *Scanner) Leaf() (text string, ok bool) {
	switch rest := s.Doc[s.Pos:]; {
	case s.Err != nil:
		return "", false
	case !s.SelfClosed:
		n, written := strings.IndexByte(rest, '<'), s.Open[len(s.Open)-1].Written
		end := n + len("</") + len(written)
		if n < 0 || end >= len(rest) || rest[end] != '>' || rest[n+1] != '/' || rest[n+2:end] != written ||
			classesIn(rest[:n])&(unplain|bracket) != 0 {
			return "", false
		}
		text = rest[:n]
		s.From = s.Pos + n
		s.Pos += end + 1
	}
	s.pop()
	return text, true
}

// checkEnd checks that a text does not hold "]]>" (XML 1.0 §2.4).
func (s *Scanner) checkEnd(offset int, text string) bool {
	if i := strings.Index(text, "]]>"); i >= 0 {
		s.Fail(offset+i, ErrSyntax, "]]> in text")
		return false
	}
	return true
}

func (s *Scanner) checkReferences(offset int, text string) bool {
	for i := 0; ; {
		j := strings.IndexByte(text[i:], '&')
		if j < 0 {
			return true
		}
		i += j
		_, n := reference(text[i:])
		if n == 0 {
			s.Fail(offset+i, ErrSyntax, "a reference other than to a character, or an unescaped &")
			return false
		}
		i += n
	}
}

func (s *Scanner) declaration(rest string) Kind {
	switch {
	case strings.HasPrefix(rest, "--"):
		body := rest[2:]
		end := strings.Index(body, "--")
		if end < 0 {
			return s.Fail(s.Pos, ErrSyntax, "comment without an end")
		}
		if !strings.HasPrefix(body[end+2:], ">") {
			return s.Fail(s.Pos+4+end, ErrSyntax, "-- in a comment")
		}
		s.Pos += len("<!--") + end + len("-->")
		s.Kind = Comment
		return Comment
	case strings.HasPrefix(rest, "[CDATA["):
		if len(s.Open) == 0 {
			return s.Fail(s.Pos, ErrSyntax, "text outside the root element")
		}
		body := rest[len("[CDATA["):]
		end := strings.Index(body, "]]>")
		if end < 0 {
			return s.Fail(s.Pos, ErrSyntax, "CDATA section without an end")
		}
		s.Chars, s.CDATA, s.Blank, s.Plain = body[:end], true, false, !strings.Contains(body[:end], "\r")
		s.Pos += len("<![CDATA[") + end + len("]]>")
		s.Kind = Text
		return Text
	case strings.HasPrefix(rest, "DOCTYPE"):
		return s.documentType()
	}
	return s.Fail(s.Pos, ErrSyntax, "a declaration that is none")
}

func (s *Scanner) instruction() Kind {
	body := s.Doc[s.Pos+2:]
	n := ncNameLen(body)
	end := strings.Index(body, "?>")
	switch {
	case n == 0:
		return s.Fail(s.Pos, ErrSyntax, "processing instruction without a name")
	case end < 0:
		return s.Fail(s.Pos, ErrSyntax, "processing instruction without an end")
	case strings.EqualFold(body[:n], "xml"):
		return s.Fail(s.Pos, ErrSyntax, "XML declaration inside the document")
	case end != n && !isSpace(body[n]):
		return s.Fail(s.Pos+2+n, ErrSyntax, "processing instruction with a bad name")
	}
	s.Pos += len("<?") + end + len("?>")
	s.Kind = Instruction
	return Instruction
}

func (s *Scanner) endTag() Kind {
	if len(s.Open) == 0 {
		return s.Fail(s.Pos, ErrSyntax, "an end tag without its start")
	}
	want := s.Open[len(s.Open)-1].Written
	rest := s.Doc[s.Pos+2:]
	if !strings.HasPrefix(rest, want) {
		return s.Fail(s.Pos, ErrSyntax, "an end tag that does not match <"+want+">")
	}
	i := len(want)
	for i < len(rest) && classes[rest[i]]&blank != 0 {
		i++
	}
	if i == len(rest) || rest[i] != '>' {
		return s.Fail(s.Pos, ErrSyntax, "an end tag that does not match <"+want+">")
	}
	s.Pos += 2 + i + 1
	return s.pop()
}
