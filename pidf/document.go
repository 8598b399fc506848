package pidf

import "strings"

import "github.com/openblustar/blustar/pidf/internal/markup"

// presence reads a whole document.
func (d *decoder) presence(p *Presence, data []byte, charset string) {
	if !d.Load(data, charset) {
		return
	}
	d.AllowDrafts = true
	p.prolog = d.skipMisc()
	switch {
	case d.Err != nil:
		return
	case d.Kind != markup.Start:
		d.Fail(d.From, ErrSyntax, "no root element")
		return
	case d.Name.ID == idPartial:
		d.Fail(d.From, ErrRoot, d.Name.Local+" is partial presence (RFC 5262), of which only whole documents are read")
		return
	case d.Name.Local != "presence" || d.Name.ID != idPIDF && d.Name.ID != idNone:
		d.wrongRoot("presence", NSPIDF)
		return
	}
	if d.Doctype != "" {
		d.warn("document type declaration of " + d.Doctype + " ignored")
	}
	if d.Name.ID == idNone {
		d.unqualified = true
		if d.isXPIDF() {
			d.Fail(d.From, ErrRoot, "presence without a namespace is xpidf, which package pidf/xpidf reads")
			return
		}
		d.warn("presence without a namespace read as PIDF")
	}
	d.warnMisspelt()
	d.fields.ns = idPIDF
	d.fields.read(&p.Extra, p.Fields)
	p.epilog = d.finish()
}

// isXPIDF reports whether a document without a namespace, whose root was just opened, is xpidf.
func (d *decoder) isXPIDF() bool {
	body := d.Doc[d.Pos:]
	return d.Doctype == "XPIDF" || (strings.Contains(body, "<presentity") || strings.Contains(body, "<atom")) && !strings.Contains(body, "<tuple")
}
