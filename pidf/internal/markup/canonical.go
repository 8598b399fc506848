package markup

import (
	"cmp"
	"slices"
	"strings"
)

// Canonical writes an element so that it does not depend on prefixes, the order of attributes, comments and white
// space between elements.
func Canonical(s Scanner) string {
	var b []byte
	for s.Next() != EOF {
		switch s.Kind {
		case Start:
			b = append(b, '<')
			b = append(b, s.Name.expanded()...)
			slices.SortFunc(s.Attrs, func(x, y Attr) int {
				return cmp.Or(strings.Compare(x.Space, y.Space), strings.Compare(x.Local, y.Local))
			})
			for i := range s.Attrs {
				a := &s.Attrs[i]
				b = append(b, ' ')
				b = append(b, a.expanded()...)
				b = append(b, '=', '"')
				b = AppendAttr(b, a.Value())
				b = append(b, '"')
			}
			b = append(b, '>')
		case End:
			b = append(b, "</>"...)
		case Text:
			if !s.Blank {
				b = AppendEscaped(b, string(AppendText(nil, s.Chars, s.CDATA)))
			}
		}
	}
	return string(b)
}

// expanded returns the name as "{namespace}local".
func (e *Name) expanded() string {
	if e.Space == "" {
		return e.Local
	}
	return "{" + e.Space + "}" + e.Local
}

// Compact returns a text between elements without its white space.
func Compact(xml string) string {
	xml, cdata := strings.CutPrefix(xml, "<![CDATA[")
	if cdata {
		xml = strings.TrimSuffix(xml, "]]>")
	}
	return strings.Join(strings.Fields(string(AppendText(nil, xml, cdata))), "")
}
