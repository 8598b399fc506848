package ews

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Namespaces of EWS.
const (
	nsSOAP     = "http://schemas.xmlsoap.org/soap/envelope/"
	nsMessages = "http://schemas.microsoft.com/exchange/services/2006/messages"
	nsTypes    = "http://schemas.microsoft.com/exchange/services/2006/types"
)

// request is one operation of EWS.
type request struct {
	operation string
	body      string    // content of the SOAP body
	mailbox   string    // that it is about, for errors; "": several
	as        string    // mailbox to impersonate; "": none
	anchor    string    // X-AnchorMailbox; "": none
	affinity  *affinity // of a group of subscriptions; nil: none
}

// envelope returns the request as it is sent.
func (r *request) envelope() string {
	header := `<t:RequestServerVersion Version="Exchange2013_SP1"/>`
	if r.as != "" {
		header += `<t:ExchangeImpersonation><t:ConnectingSID><t:SmtpAddress>` + escape(r.as) +
			`</t:SmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>`
	}
	return `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="` + nsSOAP + `" xmlns:m="` + nsMessages +
		`" xmlns:t="` + nsTypes + `">` +
		`<s:Header>` + header + `</s:Header><s:Body>` + r.body + `</s:Body></s:Envelope>`
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}

// answer is an envelope that came back. Prefixes differ within one envelope, and
// some elements come in another namespace than in the schema: what is inside the
// root counts by its local name.
type answer struct {
	XMLName xml.Name
	Body    *struct {
		Fault    *fault    `xml:"Fault"`
		Response *response `xml:",any"`
	} `xml:"Body"`
}

// response is that of any operation: what each of them has, and the rest is empty.
type response struct {
	XMLName xml.Name
	Several struct {
		Messages []message `xml:",any"`
	} `xml:"ResponseMessages"`
	Message  *message           `xml:"ResponseMessage"`
	Oof      *oofSettings       `xml:"OofSettings"`
	FreeBusy []freeBusyResponse `xml:"FreeBusyResponseArray>FreeBusyResponse"`
}

// message is a response message of any operation.
type message struct {
	Class string     `xml:"ResponseClass,attr"`
	Text  string     `xml:"MessageText"`
	Code  string     `xml:"ResponseCode"`
	XML   messageXML `xml:"MessageXml"`

	Folder *rootFolder `xml:"RootFolder"` // FindItem

	SubscriptionID string `xml:"SubscriptionId"` // Subscribe

	Notifications []notification `xml:"Notifications>Notification"` // GetStreamingEvents
	Gone          []string       `xml:"ErrorSubscriptionIds>SubscriptionId"`
	Connection    string         `xml:"ConnectionStatus"`
}

// messageXML is what an error tells beside its code.
type messageXML struct {
	Line     string  `xml:"LineNumber"`
	Position string  `xml:"LinePosition"`
	Values   []value `xml:"Value"`
}

type value struct {
	Name string `xml:"Name,attr"`
	Text string `xml:",chardata"`
}

type fault struct {
	Code   string `xml:"faultcode"`
	Text   string `xml:"faultstring"`
	Detail struct {
		Code string     `xml:"ResponseCode"`
		XML  messageXML `xml:"MessageXml"`
	} `xml:"detail"`
}

// decodeAnswer reads one envelope and returns the response in it. A fault is an
// [*Error] without operation and mailbox.
func decodeAnswer(d *xml.Decoder) (*response, error) {
	var a answer
	if err := d.Decode(&a); err != nil {
		switch {
		case err == io.EOF, errors.Is(err, ErrLimit):
			return nil, err
		default:
			return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
	}
	switch {
	case a.XMLName.Space != nsSOAP || a.XMLName.Local != "Envelope":
		return nil, fmt.Errorf("%w: root element %.100q", ErrAnswer, a.XMLName.Local)
	case a.Body == nil:
		return nil, fmt.Errorf("%w: envelope without a body", ErrAnswer)
	case a.Body.Fault != nil:
		return nil, a.Body.Fault.err()
	case a.Body.Response == nil:
		return nil, fmt.Errorf("%w: empty body", ErrAnswer)
	}
	return a.Body.Response, nil
}

// newDecoder returns a decoder for what a server sends, which may be several
// envelopes one after another.
func newDecoder(r io.Reader) *xml.Decoder {
	d := xml.NewDecoder(&cleaner{from: r})
	d.CharsetReader = func(label string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("encoding %.40q", label)
	}
	return d
}

func (f *fault) err() *Error {
	code := strings.TrimSpace(f.Detail.Code)
	if code == "" {
		code = strings.TrimSpace(f.Code)
		code = code[strings.LastIndexByte(code, ':')+1:]
	}
	return newError(code, f.Text, f.Detail.XML)
}

// err returns the error that m is, or nil.
func (m *message) err() error {
	if m.Class != "Error" {
		return nil
	}
	e := newError(m.Code, m.Text, m.XML)
	for _, id := range m.Gone {
		e.subscriptions = append(e.subscriptions, strings.TrimSpace(id))
	}
	return e
}

// newError returns the error of a code. Only what looks like a code is taken as
// one: the rest of the program prints it.
func newError(code, text string, x messageXML) *Error {
	e := &Error{Code: cut(strings.TrimSpace(code), 64), Text: cut(strings.Join(strings.Fields(text), " "), 256)}
	if x.Line != "" {
		e.Text = cut(fmt.Sprintf("line %s, position %s: %s", strings.TrimSpace(x.Line), strings.TrimSpace(x.Position),
			e.Text), 256)
	}
	for _, v := range x.Values {
		text := strings.TrimSpace(v.Text)
		switch v.Name {
		case "BackOffMilliseconds":
			if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms > 0 {
				e.BackOff = time.Duration(min(ms, maxBackOff.Milliseconds())) * time.Millisecond
			}
		case "InnerErrorResponseCode":
			if _, ok := codes[text]; ok { // as a throttled call within an internal error
				e.Code = text
			}
		}
	}
	return e
}

// maxBackOff bounds what a server can ask for.
const maxBackOff = 24 * time.Hour

// cut returns at most n bytes of s, cut at a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
