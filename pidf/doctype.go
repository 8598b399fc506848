package pidf

import (
	"slices"
	"strings"
)

// documentType refuses a document type declaration, but for those that products have from the time of drafts: they
// declare nothing themselves, and what they point to is never fetched.
func (s *scanner) documentType() tokenKind {
	start := s.pos
	rest := s.doc[s.pos+len("<!DOCTYPE"):]
	end := strings.IndexAny(rest, "[>")
	if !s.allowDrafts || s.rootSeen || s.doctype != "" || end < 0 || rest[end] != '>' {
		return s.fail(start, ErrDTD, "")
	}
	if s.doctype = draftType(rest[:end]); s.doctype == "" {
		return s.fail(start, ErrDTD, "")
	}
	s.pos += len("<!DOCTYPE") + end + 1
	s.chars = ""
	s.kind = tokText
	return tokText
}

// draftType returns what a document type declaration without an internal subset stands for, PIDF or XPIDF; empty for
// any other than those of the drafts, and of Windows Messenger, after which telephones of its time wrote theirs.
func draftType(declaration string) string {
	fields := strings.Fields(declaration)
	switch {
	case slices.Equal(fields, []string{"presence", "SYSTEM", `"http://schemas.microsoft.com/2002/09/sip/presence"`}):
		return "XPIDF"
	case len(fields) != 7 || fields[0] != "presence" || fields[1] != "PUBLIC" || fields[2] != `"-//IETF//DTD` && fields[2] != `"//IETF//DTD` ||
		fields[3] != "RFCxxxx" || fields[4] != "XPIDF" && fields[4] != "PIDF" || fields[5] != `1.0//EN"` || strings.Count(fields[6], `"`) != 2:
		return ""
	}
	return fields[4]
}

// isXPIDF reports whether a document without a namespace, whose root was just opened, is xpidf.
func (d *decoder) isXPIDF() bool {
	body := d.doc[d.pos:]
	return d.doctype == "XPIDF" || (strings.Contains(body, "<presentity") || strings.Contains(body, "<atom")) && !strings.Contains(body, "<tuple")
}
