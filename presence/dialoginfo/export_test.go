package dialoginfo

import (
	"fmt"
	"strings"

	"github.com/openblustar/blustar/pidf/aa"
)

// MediaType is that of the documents.
const MediaType = mediaType

// Read reads documents, each newer than the one before, and returns the line
// state that they make, and whether full state is needed.
func Read(maxDialogs int, documents ...string) (state aa.LineState, stale bool, err error) {
	var table calls
	for _, text := range documents {
		doc, err := parse([]byte(text))
		if err != nil {
			return "", false, err
		}
		if stale, err = table.apply(doc, maxDialogs); err != nil {
			return table.line(), stale, err
		}
	}
	return table.line(), stale, nil
}

// Rewrite reads a document and writes what was understood of it.
func Rewrite(document []byte) (string, error) {
	doc, err := parse(document)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<dialog-info xmlns=%q version='%d' state=%q>", namespace, doc.version, map[bool]string{true: "full", false: "partial"}[doc.full])
	for _, c := range doc.calls {
		fmt.Fprintf(&b, "<dialog id='%s'", escape(c.id))
		switch c.direction {
		case initiator:
			b.WriteString(" direction='initiator'")
		case recipient:
			b.WriteString(" direction='recipient'")
		}
		state := [...]string{noState: "?", trying: "trying", proceeding: "proceeding", early: "early",
			confirmed: "confirmed", terminated: "terminated"}[c.state]
		fmt.Fprintf(&b, "><state>%s</state></dialog>", state)
	}
	b.WriteString("</dialog-info>")
	return b.String(), nil
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", "'", "&#39;", "\n", "&#10;", "\t", "&#9;", "\r", "&#13;").Replace(s)
}

// Dialogs returns how many dialogs a monitor has NOTIFYs of.
func Dialogs(m *Monitor) int {
	return len(m.routes.All())
}
