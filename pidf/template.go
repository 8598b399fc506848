package pidf

// Template is a document that was written once and is the same for all of its watchers but for the entity that each
// of them subscribed to. Make one with [Presence.Template]. It is immutable and may be used by several goroutines.
type Template struct {
	xml  []byte
	cuts []int // where the entity goes
}

// Template returns the document in a dialect, with the entity left open. It shares no memory with p.
func (p *Presence) Template(d Dialect) *Template {
	w := newWriter(nil, d)
	w.cutting = true
	w.presence(p)
	cuts := w.cuts
	return &Template{w.done(), cuts}
}

// AppendXML appends the document for an entity: what Append writes once p.Entity, and the ID of each person that
// equals it, is replaced.
func (t *Template) AppendXML(dst []byte, entity string) []byte {
	from := 0
	for _, cut := range t.cuts {
		dst = append(dst, t.xml[from:cut]...)
		dst = appendAttr(dst, entity)
		from = cut
	}
	return append(dst, t.xml[from:]...)
}

// cut notes that the entity goes here.
func (w *writer) cut() { w.cuts = append(w.cuts, len(w.b)) }
