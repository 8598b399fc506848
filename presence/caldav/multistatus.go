package caldav

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/openblustar/blustar/internal/calendar"
)

// The requests. No library of CalDAV is used for them: those that there are keep
// sync-collection and ctag to themselves, take one calendar home of several, and let
// one broken response spoil a whole answer.
const (
	xmlNames = `xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:S="http://calendarserver.org/ns/"`

	askState = xml.Header + `<propfind ` + xmlNames + `><prop><sync-token/><S:getctag/><C:calendar-timezone/>` +
		`<C:schedule-calendar-transp/></prop></propfind>`
	askCTag      = xml.Header + `<propfind ` + xmlNames + `><prop><S:getctag/></prop></propfind>`
	askPrincipal = xml.Header + `<propfind ` + xmlNames + `><prop><current-user-principal/></prop></propfind>`
	askHomes     = xml.Header + `<propfind ` + xmlNames +
		`><prop><C:calendar-home-set/><C:calendar-user-address-set/></prop></propfind>`
	askCalendars = xml.Header + `<propfind ` + xmlNames +
		`><prop><resourcetype/><C:supported-calendar-component-set/></prop></propfind>`
)

// askRange asks for the entity tags of the events in a range (RFC 4791 §7.8).
func askRange(r calendar.Window) string {
	const layout = "20060102T150405Z"
	return xml.Header + `<C:calendar-query ` + xmlNames + `><prop><getetag/></prop>` +
		`<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="` +
		r.From.UTC().Format(layout) + `" end="` + r.To.UTC().Format(layout) +
		`"/></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`
}

// askObjects asks for objects by name (RFC 4791 §7.9).
func askObjects(hrefs []string) string {
	var b strings.Builder
	b.WriteString(xml.Header + `<C:calendar-multiget ` + xmlNames + `><prop><getetag/><C:calendar-data/></prop>`)
	for _, href := range hrefs {
		b.WriteString(`<href>`)
		_ = xml.EscapeText(&b, []byte(href)) // a strings.Builder does not fail
		b.WriteString(`</href>`)
	}
	b.WriteString(`</C:calendar-multiget>`)
	return b.String()
}

// askChanges asks for what has changed since a token (RFC 6578 §3.2).
func askChanges(token string) string {
	var b strings.Builder
	b.WriteString(xml.Header + `<sync-collection ` + xmlNames + `><sync-token>`)
	_ = xml.EscapeText(&b, []byte(token)) // a strings.Builder does not fail
	b.WriteString(`</sync-token><sync-level>1</sync-level><prop><getetag/></prop></sync-collection>`)
	return b.String()
}

// response is one response of a multi-status (RFC 4918 §14.24).
type response struct {
	Href      string     `xml:"DAV: href"`
	Status    string     `xml:"DAV: status"`
	PropStats []propstat `xml:"DAV: propstat"`
}

type propstat struct {
	Status string     `xml:"DAV: status"`
	Prop   properties `xml:"DAV: prop"`
}

type properties struct {
	ETag        string    `xml:"DAV: getetag"`
	SyncToken   string    `xml:"DAV: sync-token"`
	CTag        string    `xml:"http://calendarserver.org/ns/ getctag"`
	Data        string    `xml:"urn:ietf:params:xml:ns:caldav calendar-data"`
	Timezone    string    `xml:"urn:ietf:params:xml:ns:caldav calendar-timezone"`
	Transparent *struct{} `xml:"urn:ietf:params:xml:ns:caldav schedule-calendar-transp>transparent"`

	// For discovery.
	Principal  one     `xml:"DAV: current-user-principal"`
	Homes      hrefs   `xml:"urn:ietf:params:xml:ns:caldav calendar-home-set"`
	Addresses  hrefs   `xml:"urn:ietf:params:xml:ns:caldav calendar-user-address-set"`
	Type       types   `xml:"DAV: resourcetype"`
	Components []holds `xml:"urn:ietf:params:xml:ns:caldav supported-calendar-component-set>comp"`
}

type (
	one struct {
		Href string `xml:"DAV: href"`
	}
	hrefs struct {
		Hrefs []string `xml:"DAV: href"`
	}
	types struct {
		Calendar *struct{} `xml:"urn:ietf:params:xml:ns:caldav calendar"`
	}
	holds struct {
		Name string `xml:"name,attr"`
	}
)

// found returns the properties that the server has.
func (r *response) found() properties {
	for _, p := range r.PropStats {
		if statusCode(p.Status) == "200" {
			return p.Prop
		}
	}
	return properties{}
}

// code returns the status of the resource itself, or "".
func (r *response) code() string { return statusCode(r.Status) }

// failed reports whether the server could not tell, though it may later.
func (r *response) failed() bool {
	failed := strings.HasPrefix(r.code(), "5")
	for _, p := range r.PropStats {
		failed = failed || strings.HasPrefix(statusCode(p.Status), "5")
	}
	return failed
}

// statusCode returns the code of "HTTP/1.1 200 OK".
func statusCode(line string) string {
	if fields := strings.Fields(line); len(fields) > 1 {
		return fields[1]
	}
	return ""
}

// readMultiStatus calls each with each response, at most max, and returns the
// sync-token. It reads one response at a time: a whole multi-status of tiny
// ones would take many times its size.
func readMultiStatus(body io.ReadCloser, max int, each func(*response) error) (token string, err error) {
	defer body.Close()
	d := xml.NewDecoder(body)
	d.CharsetReader = charsetReader
	if _, ok := body.(decoded); ok {
		d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	}
	if err := openMultiStatus(d); err != nil {
		return "", err
	}
	for n := 0; ; {
		t, err := d.Token()
		if err != nil {
			return "", xmlError(err)
		}
		switch t := t.(type) {
		case xml.EndElement:
			return token, nil
		case xml.StartElement:
			switch t.Name {
			case xml.Name{Space: "DAV:", Local: "response"}:
				if n++; n > max {
					return "", fmt.Errorf("%w: more than %d responses", ErrLimit, max)
				}
				var r response
				if err := d.DecodeElement(&r, &t); err != nil {
					return "", xmlError(err)
				}
				if err := each(&r); err != nil {
					return "", err
				}
			case xml.Name{Space: "DAV:", Local: "sync-token"}:
				err = d.DecodeElement(&token, &t)
			default:
				err = d.Skip()
			}
			if err != nil {
				return "", xmlError(err)
			}
		}
	}
}

func openMultiStatus(d *xml.Decoder) error {
	for {
		t, err := d.Token()
		if err != nil {
			return xmlError(err)
		}
		if start, ok := t.(xml.StartElement); ok {
			if start.Name != (xml.Name{Space: "DAV:", Local: "multistatus"}) {
				return fmt.Errorf("%w: it is something else", errMultiStatus)
			}
			return nil
		}
	}
}

// errMultiStatus says that an answer is not a multi-status, or not a whole one.
var errMultiStatus = errors.New("caldav: reading the multi-status")

func xmlError(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", errMultiStatus, err)
}

// hrefIn returns the path of an href of an answer, and the href to ask for it
// again, where it is an object and not the collection itself; else "". The path
// need not begin with the collection's: servers have several names for one.
func hrefIn(collection *url.URL, href string) (path, again string) {
	u := hrefOn(collection, href)
	if u == nil || strings.HasSuffix(u.Path, "/") {
		return "", ""
	}
	if u.Path == strings.TrimSuffix(collection.Path, "/") {
		return "", ""
	}
	return u.Path, u.EscapedPath()
}
