package pidf

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The kinds of a SyntaxError, for errors.Is.
var (
	ErrSyntax   = errors.New("not well-formed")
	ErrDTD      = errors.New("document type declaration refused")
	ErrEncoding = errors.New("character encoding")
	ErrRoot     = errors.New("unexpected root element")
	ErrTooLarge = errors.New("too large")
	ErrTooDeep  = errors.New("too deep")
	ErrTooMany  = errors.New("too many")
)

// SyntaxError says why and where a document cannot be read. It wraps one of the Err values of this package.
type SyntaxError struct {
	Line, Column int    // both from 1; Column counts characters
	Element      string // the element it happened in, as the document writes its name; empty outside the root
	Kind         error  // one of ErrSyntax, ErrDTD, ErrEncoding, ErrRoot, ErrTooLarge, ErrTooDeep, ErrTooMany
	Detail       string
}

// Error returns something like "pidf: line 3, column 7, in <tuple>: not well-formed: unbound prefix dm".
func (e *SyntaxError) Error() string {
	b := []byte("pidf: ")
	b = appendPlace(b, e.Line, e.Column, e.Element)
	b = append(b, e.Kind.Error()...)
	if e.Detail != "" {
		b = append(b, ": "...)
		b = append(b, e.Detail...)
	}
	return string(b)
}

// Unwrap returns the kind.
func (e *SyntaxError) Unwrap() error { return e.Kind }

// Warning is one thing that Decode tolerated.
type Warning struct {
	Line, Column int    // both from 1; Column counts characters
	Element      string // as the document writes its name; empty outside the root
	Text         string // what was found and how it was read
}

// String returns something like "line 3, column 7, in <dm:person>: duplicate timestamp kept as an extension".
func (w Warning) String() string {
	return string(append(appendPlace(nil, w.Line, w.Column, w.Element), w.Text...))
}

func appendPlace(b []byte, line, column int, element string) []byte {
	b = append(b, "line "...)
	b = strconv.AppendInt(b, int64(line), 10)
	b = append(b, ", column "...)
	b = strconv.AppendInt(b, int64(column), 10)
	if element != "" {
		b = append(b, ", in <"...)
		b = append(b, element...)
		b = append(b, '>')
	}
	return append(b, ": "...)
}

// place translates offsets into lines and columns. It remembers the last one, so that a rising sequence of offsets
// costs one pass over the document.
type place struct {
	offset    int // start of the line that was found last
	line      int // its number, from 0
	lineStart int
}

func (p *place) at(doc string, offset int) (line, column int) {
	offset = min(offset, len(doc))
	if offset < p.offset {
		*p = place{}
	}
	for {
		i := strings.IndexByte(doc[p.offset:offset], '\n')
		if i < 0 {
			break
		}
		p.line++
		p.offset += i + 1
		p.lineStart = p.offset
	}
	return p.line + 1, utf8.RuneCountInString(doc[p.lineStart:offset]) + 1
}
