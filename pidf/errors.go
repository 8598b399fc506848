package pidf

import (
	"errors"
	"strconv"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// The kinds of a SyntaxError, for errors.Is.
var (
	ErrSyntax   = markup.ErrSyntax
	ErrDTD      = markup.ErrDTD
	ErrEncoding = markup.ErrEncoding
	ErrRoot     = errors.New("unexpected root element")
	ErrTooLarge = markup.ErrTooLarge
	ErrTooDeep  = markup.ErrTooDeep
	ErrTooMany  = markup.ErrTooMany
)

// SyntaxError says why and where a document cannot be read. It wraps one of the Err values of this package.
type SyntaxError struct {
	Place
	Kind   error // one of ErrSyntax, ErrDTD, ErrEncoding, ErrRoot, ErrTooLarge, ErrTooDeep, ErrTooMany
	Detail string
}

// Place is where something was found in a document.
type Place struct {
	Line, Column int    // both from 1; Column counts characters
	Element      string // as the document writes its name; empty outside the root
}

// String returns something like "line 3, column 7, in <tuple>".
func (p Place) String() string {
	s := "line " + strconv.Itoa(p.Line) + ", column " + strconv.Itoa(p.Column)
	if p.Element != "" {
		s += ", in <" + p.Element + ">"
	}
	return s
}

// Error returns something like "pidf: line 3, column 7, in <tuple>: not well-formed: unbound prefix dm".
func (e *SyntaxError) Error() string {
	s := "pidf: " + e.Place.String() + ": " + e.Kind.Error()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Unwrap returns the kind.
func (e *SyntaxError) Unwrap() error { return e.Kind }

// Warning is one thing that Decode tolerated.
type Warning struct {
	Place
	Text string // what was found and how it was read
}

// String returns something like "line 3, column 7, in <dm:person>: duplicate timestamp kept as an extension".
func (w Warning) String() string { return w.Place.String() + ": " + w.Text }

func syntaxError(e *markup.Error) error {
	return &SyntaxError{Place{e.Line, e.Column, e.Element}, e.Kind, e.Detail}
}
