package pidf

// Canonical is what Equal compares.
func Canonical(p *Presence) string {
	w := newWriter(nil, BluStarDialect)
	defer w.done()
	w.sketch(p)
	return string(w.canonical())
}
