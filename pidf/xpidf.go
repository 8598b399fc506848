package pidf

func (d *decoder) isXPIDF() bool     { return false }
func (d *decoder) xpidf(p *Presence) {}

// documentType refuses a document type declaration, the one of xpidf apart: every such document has it, it declares
// nothing itself, and what it points to is never fetched.
func (s *scanner) documentType() tokenKind {
	return s.fail(s.pos, ErrDTD, "")
}
