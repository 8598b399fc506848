// Package markup reads and writes XML by the character: it knows well-formedness, namespaces and encodings, and nothing
// of the documents of package pidf.
package markup

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// The kinds of an Error.
var (
	ErrSyntax   = errors.New("not well-formed")
	ErrDTD      = errors.New("document type declaration refused")
	ErrEncoding = errors.New("character encoding")
	ErrTooLarge = errors.New("too large")
	ErrTooDeep  = errors.New("too deep")
	ErrTooMany  = errors.New("too many")
)

// Error says why and where a document cannot be read.
type Error struct {
	Line, Column int
	Element      string
	Kind         error
	Detail       string
}

// Error returns the kind and the detail; package pidf adds the place.
func (e *Error) Error() string { return e.Kind.Error() + ": " + e.Detail }

// Limits bound what a Scanner takes; NoLimit is for none.
type Limits struct{ Bytes, Depth, Elements, Attributes int }

// NoLimit is no limit.
const NoLimit = int(^uint(0) >> 1)

// maxBindings bounds the namespace declarations in scope at one place, unless attributes have no limit: each name that
// is looked up passes them.
const maxBindings = 128

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
