package blackbox_test

import (
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// document is a presence document as a watcher reads it. The namespaces are
// those of §3 (BSP-1.3-1, BSP-3-2): with any other spelling the fields are empty.
type document struct {
	XMLName xml.Name `xml:"urn:ietf:params:xml:ns:pidf presence"`
	Entity  string   `xml:"entity,attr"`
	Tuples  []struct {
		ID    string `xml:"id,attr"`
		Basic string `xml:"urn:ietf:params:xml:ns:pidf status>basic"`
	} `xml:"urn:ietf:params:xml:ns:pidf tuple"`
	Devices []struct {
		ID   string `xml:"id,attr"`
		Line struct {
			DN      string `xml:"http://www.aastra.com/presence/blustar/2011 DN"`
			State   string `xml:"http://www.aastra.com/presence/blustar/2011 state"`
			Forward *struct {
				Type string `xml:"type,attr"`
				To   string `xml:",chardata"`
			} `xml:"http://www.aastra.com/presence/blustar/2011 forward"`
		} `xml:"http://www.aastra.com/presence/blustar/2011 line"`
		Timestamp time.Time `xml:"urn:ietf:params:xml:ns:pidf:data-model timestamp"`
	} `xml:"urn:ietf:params:xml:ns:pidf:data-model device"`
	Person struct {
		ID         string `xml:"id,attr"`
		Activities struct {
			Note string  `xml:"urn:ietf:params:xml:ns:pidf:rpid note"`
			Any  []plain `xml:",any"`
		} `xml:"urn:ietf:params:xml:ns:pidf:rpid activities"`
		Presence struct {
			BluStar *struct {
				Status    string    `xml:"http://www.aastra.com/presence/blustar/2011 status"`
				Note      *string   `xml:"http://www.aastra.com/presence/blustar/2011 note"`
				Timestamp time.Time `xml:"http://www.aastra.com/presence/blustar/2011 timestamp"`
			} `xml:"http://www.aastra.com/presence/blustar/2011 blustar"`
			External *struct {
				Status         string    `xml:"http://www.aastra.com/presence/blustar/2011 status"`
				FreeText       string    `xml:"http://www.aastra.com/presence/blustar/2011 freeText"`
				FwdDestination string    `xml:"http://www.aastra.com/presence/blustar/2011 fwdDestination"`
				TelephoneEvent string    `xml:"http://www.aastra.com/presence/blustar/2011 telephoneEvent"`
				Timestamp      time.Time `xml:"http://www.aastra.com/presence/blustar/2011 timestamp"`
			} `xml:"http://www.aastra.com/presence/blustar/2011 externalUC"`
			Calendar []struct {
				ID        string    `xml:"http://www.aastra.com/presence/blustar/2011 id"`
				State     string    `xml:"http://www.aastra.com/presence/blustar/2011 state"`
				Subject   string    `xml:"http://www.aastra.com/presence/blustar/2011 subject"`
				Location  string    `xml:"http://www.aastra.com/presence/blustar/2011 location"`
				From      time.Time `xml:"http://www.aastra.com/presence/blustar/2011 from"`
				End       time.Time `xml:"http://www.aastra.com/presence/blustar/2011 end"`
				AllDay    *struct{} `xml:"http://www.aastra.com/presence/blustar/2011 allday"`
				Private   *struct{} `xml:"http://www.aastra.com/presence/blustar/2011 private"`
				Timestamp time.Time `xml:"http://www.aastra.com/presence/blustar/2011 timestamp"`
			} `xml:"http://www.aastra.com/presence/blustar/2011 calendar"`
		} `xml:"http://www.aastra.com/presence/blustar/2011 presence"`
	} `xml:"urn:ietf:params:xml:ns:pidf:data-model person"`

	raw string
}

type plain struct {
	XMLName xml.Name
	Text    string `xml:",chardata"`
}

func parseDocument(t *testing.T, body string) *document {
	t.Helper()
	d := &document{raw: body}
	require.NoError(t, xml.Unmarshal([]byte(body), d), "document:\n%s", body)
	return d
}

// status is the consolidated status in the words of the control API: the text
// of rpid:other, or the name of the only activity.
func (d *document) status() string {
	var values []string
	for _, a := range d.Person.Activities.Any {
		if a.XMLName.Space != "urn:ietf:params:xml:ns:pidf:rpid" {
			continue
		}
		switch a.XMLName.Local {
		case "note":
		case "other":
			values = append(values, a.Text)
		default:
			values = append(values, a.XMLName.Local)
		}
	}
	return strings.Join(values, "+")
}

func (d *document) note() string { return d.Person.Activities.Note }

func (d *document) service(id string) string {
	for _, tuple := range d.Tuples {
		if tuple.ID == id {
			return tuple.Basic
		}
	}
	return ""
}

func (d *document) line(dn string) string {
	for _, device := range d.Devices {
		if device.Line.DN == dn {
			return device.Line.State
		}
	}
	return ""
}

// forward is where the line is forwarded to.
func (d *document) forward(dn string) string {
	for _, device := range d.Devices {
		if device.Line.DN == dn && device.Line.Forward != nil {
			return device.Line.Forward.To
		}
	}
	return ""
}

// own is the BluStar status that the document repeats.
func (d *document) own() string {
	if d.Person.Presence.BluStar == nil {
		return ""
	}
	return d.Person.Presence.BluStar.Status
}

// ownNote is the free text of the BluStar status.
func (d *document) ownNote() string {
	if d.Person.Presence.BluStar == nil || d.Person.Presence.BluStar.Note == nil {
		return ""
	}
	return *d.Person.Presence.BluStar.Note
}

// status is the body by which a BluStar client publishes a status and a note,
// as §4.3 prints it.
func statusBody(status, note string) string {
	n := `<aa:note xml:lang="Eng" />`
	if note != "" {
		n = `<aa:note xml:lang="Eng">` + escape(note) + `</aa:note>`
	}
	return tuplesBody(status, n, "open", "closed", "open")
}

func tuplesBody(status, note, audio, video, message string) string {
	var tuples strings.Builder
	for _, s := range [][2]string{{"audio", audio}, {"video", video}, {"message", message}} {
		if s[1] != "" {
			tuples.WriteString(`<tuple id="` + s[0] + `"><status><basic>` + s[1] + `</basic></status></tuple>`)
		}
	}
	return `<?xml version="1.0" encoding="utf-8"?>
<presence xmlns:aa="http://www.aastra.com/presence/blustar/2011" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" entity="sip:bill@example.com" xmlns="urn:ietf:params:xml:ns:pidf">` +
		tuples.String() + `<dm:person id="sip:bill@example.com"><aa:presence><aa:blustar><aa:status>` + status + `</aa:status>` + note +
		`<aa:timestamp>2012-12-19T16:49:08Z</aa:timestamp></aa:blustar></aa:presence></dm:person></presence>`
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// listBody is a request-contained list.
func listBody(uris ...string) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><list>`)
	for _, u := range uris {
		b.WriteString(`<entry uri="` + escape(u) + `" />`)
	}
	b.WriteString(`</list></resource-lists>`)
	return b.String()
}
