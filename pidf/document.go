package pidf

// presence reads a whole document.
func (d *decoder) presence(p *Presence, data []byte) {
	if !d.load(data) {
		return
	}
	d.allowDrafts = true
	p.prolog = d.skipMisc()
	switch {
	case d.err != nil:
		return
	case d.kind != tokStart:
		d.fail(d.from, ErrSyntax, "no root element")
		return
	case d.name.id == idPartial:
		d.fail(d.from, ErrRoot, d.name.local+" is partial presence (RFC 5262), of which only whole documents are read")
		return
	case d.name.local != "presence" || d.name.id != idPIDF && d.name.id != idNone:
		d.wrongRoot("presence", NSPIDF)
		return
	}
	if d.doctype != "" {
		d.warn("document type declaration of " + d.doctype + " ignored")
	}
	if d.name.id == idNone {
		d.unqualified = true
		if d.isXPIDF() {
			d.fail(d.from, ErrRoot, "presence without a namespace is xpidf, which package pidf/xpidf reads")
			return
		}
		d.warn("presence without a namespace read as PIDF")
	}
	d.warnMisspelt()
	d.fields.ns = idPIDF
	d.fields.read(&p.Extra, p.Fields)
	p.epilog = d.finish()
}
