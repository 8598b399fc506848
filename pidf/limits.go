package pidf

import "github.com/openblustar/blustar/pidf/internal/markup"

// Limits bound what a decoder takes from the network. The zero value means the defaults; a negative field means
// no limit, for documents from a trusted source.
type Limits struct {
	Bytes      int // size of the document; 1 MiB by default
	Depth      int // nesting of elements; 32 by default
	Elements   int // elements in the document, its root included; 50,000 by default
	Attributes int // attributes of one element, namespace declarations included; 64 by default. 128 declarations in scope with any limit
}

const (
	defaultBytes      = 1 << 20
	defaultDepth      = 32
	defaultElements   = 50_000
	defaultAttributes = 64

	maxWarnings = 100

	noLimit = markup.NoLimit
)

func (l Limits) withDefaults() Limits {
	field := func(v, otherwise int) int {
		switch {
		case v < 0:
			return noLimit
		case v == 0:
			return otherwise
		}
		return v
	}
	return Limits{
		Bytes:      field(l.Bytes, defaultBytes),
		Depth:      field(l.Depth, defaultDepth),
		Elements:   field(l.Elements, defaultElements),
		Attributes: field(l.Attributes, defaultAttributes),
	}
}
