package pidf

import (
	"bytes"
	"slices"

	"github.com/openblustar/blustar/pidf/internal/markup"
)

// Equal reports whether two documents say the same. Times of last change do not count, nor do identifiers of RPID
// elements, prefixes, comments, white space in extensions, and Warnings; nor does the order of what typed elements
// hold, such as tuples, notes and activities.
func Equal(a, b *Presence) bool {
	// Most pairs that are equal are equal in each byte; only the others need a closer look.
	wa, wb := newWriter(nil, BluStarDialect), newWriter(nil, BluStarDialect)
	defer wa.done()
	defer wb.done()
	wa.sketch(a)
	wb.sketch(b)
	return bytes.Equal(wa.scratch, wb.scratch) || bytes.Equal(wa.canonical(), wb.canonical())
}

// sketch writes what Equal compares of a document to scratch.
func (w *writer) sketch(p *Presence) {
	w.b, w.timeless, w.verbatim = w.scratch[:0], true, false
	w.presence(p)
	w.scratch = w.b
}

// canonical returns the sketch in the form that equal documents have in common.
func (w *writer) canonical() []byte {
	s := trusted(string(w.scratch[len(xmlDeclaration):]))
	for s.Next() != markup.Start && s.Err == nil {
	}
	return markup.Canonical(&s, func(e *markup.Name) bool {
		return e.ID == idPIDF || e.ID == idDataModel || e.ID == idRPID || slices.Contains(w.f.uris, e.Space)
	})
}
