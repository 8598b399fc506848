package dialoginfo

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	mediaType = "application/dialog-info+xml"
	namespace = "urn:ietf:params:xml:ns:dialog-info"

	maxDepth = 16
	maxID    = 256 // bytes of a dialog's id
)

// A document is what this package needs of a dialog-info document (RFC 4235
// §4.1).
type document struct {
	version uint32
	full    bool
	calls   []call
	// unread are the dialogs of a state that is none of RFC 4235, and missed those of
	// a partial document that changed something which is not known.
	unread, missed int
}

// A call is one dialog element: "dialog" is the subscription's own here.
type call struct {
	id        string
	direction direction
	state     callState
}

type direction uint8

const (
	directionUnknown direction = iota
	initiator                  // the device began it
	recipient
)

type callState uint8

const (
	noState callState = iota
	trying
	proceeding
	early
	confirmed
	terminated
)

var errUnread = errors.New("no dialog with a state of RFC 4235")

// parse reads a document, whose size is what bounds it. It is strict about the
// document as a whole (XML, the namespace, version and state). A dialog that cannot be
// used is left out, so that it does not hide the others, and everything else is passed
// over.
func parse(data []byte) (*document, error) {
	data, wide := decode(data)
	p := parser{xml: xml.NewDecoder(bytes.NewReader(data))}
	p.xml.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if name := strings.ToLower(label); !wide && (strings.HasPrefix(name, "utf-") || strings.HasPrefix(name, "ucs-")) {
			return nil, fmt.Errorf("encoding %.32q", label)
		}
		return in, nil
	}
	err := p.run()
	if d := &p.doc; err == nil && d.full && d.unread > 0 && len(d.calls) == 0 {
		err = errUnread // somebody is there, and nobody knows what they do
	}
	if err != nil {
		line, _ := p.xml.InputPos()
		return nil, fmt.Errorf("dialoginfo: document, line %d: %w", line, err)
	}
	return &p.doc, nil
}

type parser struct {
	xml   *xml.Decoder
	doc   document
	depth int
	root  bool // the root element has begun

	inCall, inState bool
	call            call // the dialog that has begun
	unread          bool // its state is none of RFC 4235
	state           strings.Builder
}

func (p *parser) run() error {
	for {
		token, err := p.xml.Token()
		if err == io.EOF && p.root {
			return nil
		} else if err == io.EOF {
			return errors.New("empty")
		} else if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			p.depth++
			err = p.start(t)
		case xml.EndElement:
			p.end()
			p.depth--
		case xml.CharData:
			if p.depth == 0 && len(bytes.TrimSpace(t)) > 0 {
				return errors.New("text outside the root element")
			}
			if p.inState && p.depth == 3 {
				p.state.Write(t)
			}
		case xml.Directive:
			return errors.New("DTDs are not read")
		}
		if err != nil {
			return err
		}
	}
}

func (p *parser) start(t xml.StartElement) error {
	ours := t.Name.Space == namespace
	switch {
	case p.depth > maxDepth:
		return errors.New("too deep")
	case p.depth == 1 && (p.root || !ours || t.Name.Local != "dialog-info"):
		return errors.New("no single dialog-info element")
	case p.depth == 1:
		p.root = true
		return p.dialogInfo(t.Attr)
	case p.depth == 2 && ours && t.Name.Local == "dialog":
		p.dialog(t.Attr)
	case p.depth == 3 && ours && t.Name.Local == "state" && p.inCall:
		p.inState = true
		p.state.Reset()
	}
	return nil
}

func (p *parser) end() {
	switch {
	case p.depth == 3 && p.inState:
		p.inState = false
		if text := strings.TrimSpace(p.state.String()); p.call.state == noState && text != "" {
			p.call.state = parseState(text)
			p.unread = p.call.state == noState
		}
	case p.depth == 2 && p.inCall:
		p.inCall = false
		p.add()
	}
}

// add takes a dialog that has ended. One without a state says nothing. Without an id
// it cannot be told from others, which only a partial document has to do.
func (p *parser) add() {
	switch usable := p.call.state != noState; {
	case usable && (p.doc.full || p.call.id != ""):
		p.doc.calls = append(p.doc.calls, p.call)
	case !p.doc.full:
		p.doc.missed++
	}
	if p.unread {
		p.doc.unread++
	}
}

// parseState reads a state of the machine in RFC 4235 §3.7.1.
func parseState(s string) callState {
	switch s {
	case "trying":
		return trying
	case "proceeding":
		return proceeding
	case "early":
		return early
	case "confirmed":
		return confirmed
	case "terminated":
		return terminated
	}
	return noState
}

func (p *parser) dialogInfo(attrs []xml.Attr) error {
	version, err := strconv.ParseUint(attr(attrs, "version"), 10, 32)
	if err != nil {
		return errors.New("bad or missing version")
	}
	p.doc.version = uint32(version)
	switch attr(attrs, "state") {
	case "full":
		p.doc.full = true
	case "partial":
	default:
		return errors.New("neither full nor partial")
	}
	return nil
}

func (p *parser) dialog(attrs []xml.Attr) {
	p.inCall, p.unread = true, false
	p.call = call{id: attr(attrs, "id")}
	if len(p.call.id) > maxID {
		p.call.id = ""
	}
	switch attr(attrs, "direction") {
	case "initiator":
		p.call.direction = initiator
	case "recipient":
		p.call.direction = recipient
	}
}

func attr(attrs []xml.Attr, name string) string {
	for _, a := range attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return strings.TrimSpace(a.Value)
		}
	}
	return ""
}

// decode returns a document as UTF-8, and whether it was UTF-16. All that is read of it
// is ASCII, in whatever charset the names of people are (XML 1.0 §4.3.3): a document
// that is no UTF-8 is read byte by byte, as ISO 8859-1.
func decode(data []byte) (_ []byte, wide bool) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte("\xFF\xFE")), bytes.HasPrefix(data, []byte("<\x00")):
		order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte("\xFE\xFF")), bytes.HasPrefix(data, []byte("\x00<")):
		order = binary.BigEndian
	case utf8.Valid(data):
		return bytes.TrimPrefix(data, []byte("\uFEFF")), false
	default:
		text := make([]rune, len(data))
		for i, b := range data {
			text[i] = rune(b)
		}
		return []byte(string(text)), false
	}
	units := make([]uint16, 0, len(data)/2)
	for pair := range slices.Chunk(data[:len(data)&^1], 2) {
		units = append(units, order.Uint16(pair))
	}
	return []byte(strings.TrimPrefix(string(utf16.Decode(units)), "\uFEFF")), true
}
