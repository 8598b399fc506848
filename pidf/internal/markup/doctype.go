package markup

import (
	"slices"
	"strings"
)

// documentType refuses a document type declaration, but for those that products have from the time of drafts: they
// declare nothing themselves, and what they point to is never fetched.
func (s *Scanner) documentType() Kind {
	start := s.Pos
	rest := s.Doc[s.Pos+len("<!DOCTYPE"):]
	end := strings.IndexAny(rest, "[>")
	if !s.AllowDrafts || s.rootSeen || s.Doctype != "" || end < 0 || rest[end] != '>' {
		return s.Fail(start, ErrDTD, "")
	}
	if s.Doctype = draftType(rest[:end]); s.Doctype == "" {
		return s.Fail(start, ErrDTD, "")
	}
	s.Pos += len("<!DOCTYPE") + end + 1
	s.Chars, s.Blank = "", true
	s.Kind = Text
	return Text
}

// draftType returns what a document type declaration without an internal subset stands for, PIDF or XPIDF; empty for
// any other than those of the drafts, and of Windows Messenger, after which telephones of its time wrote theirs.
func draftType(declaration string) string {
	fields := strings.Fields(declaration)
	switch {
	case slices.Equal(fields, []string{"presence", "SYSTEM", `"http://schemas.microsoft.com/2002/09/sip/presence"`}):
		return "XPIDF"
	case len(fields) != 7 || fields[0] != "presence" || fields[1] != "PUBLIC" ||
		fields[2] != `"-//IETF//DTD` && fields[2] != `"//IETF//DTD` ||
		fields[3] != "RFCxxxx" || fields[4] != "XPIDF" && fields[4] != "PIDF" || fields[5] != `1.0//EN"` ||
		strings.Count(fields[6], `"`) != 2:
		return ""
	}
	return fields[4]
}
