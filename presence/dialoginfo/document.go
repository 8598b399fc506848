package dialoginfo

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
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

// parse reads a document, whose size is what bounds it. It is strict about what
// it reads (the namespace, the mandatory attributes, the values of enumerations)
// and passes over everything else.
func parse(data []byte) (*document, error) {
	p := parser{xml: xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))}
	if err := p.run(); err != nil {
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
			err = p.end()
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
		return p.dialog(t.Attr)
	case p.depth == 3 && ours && t.Name.Local == "state" && p.inCall:
		if p.call().state != noState {
			return errors.New("a dialog with two states")
		}
		p.inState = true
		p.state.Reset()
	}
	return nil
}

func (p *parser) end() error {
	switch {
	case p.depth == 3 && p.inState:
		p.inState = false
		text := strings.TrimSpace(p.state.String())
		if p.call().state = parseState(text); p.call().state == noState {
			return fmt.Errorf("state %q", text[:min(len(text), 32)])
		}
	case p.depth == 2 && p.inCall:
		p.inCall = false
		if p.call().state == noState {
			return errors.New("a dialog without state")
		}
	}
	return nil
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

func (p *parser) call() *call { return &p.doc.calls[len(p.doc.calls)-1] }

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

func (p *parser) dialog(attrs []xml.Attr) error {
	c := call{id: attr(attrs, "id")}
	if c.id == "" || len(c.id) > maxID {
		return errors.New("a dialog with a bad id or none")
	}
	switch attr(attrs, "direction") {
	case "":
	case "initiator":
		c.direction = initiator
	case "recipient":
		c.direction = recipient
	default:
		return errors.New("bad direction")
	}
	p.doc.calls = append(p.doc.calls, c)
	p.inCall = true
	return nil
}

func attr(attrs []xml.Attr, name string) string {
	for _, a := range attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return strings.TrimSpace(a.Value)
		}
	}
	return ""
}
