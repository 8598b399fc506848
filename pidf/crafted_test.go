package pidf_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/resourcelists"
	"github.com/openblustar/blustar/pidf/rlmi"
	"github.com/openblustar/blustar/pidf/watcherinfo"
	"github.com/stretchr/testify/require"
)

// appender is what all documents have in common.
type appender interface{ AppendXML(dst []byte) []byte }

// blustar is a presence document that is written in the BluStar dialect.
type blustar struct{ *pidf.Presence }

func (b blustar) AppendXML(dst []byte) []byte { return b.Append(dst, pidf.BluStarDialect) }

// crafted reads a document by the prefix of its name, and returns what is written for the Standard dialect, too.
func crafted(name string, doc []byte) (d appender, warnings []pidf.Warning, standard []byte, err error) {
	kind, _, _ := strings.Cut(name, "-")
	switch kind {
	case "rl":
		r, err := resourcelists.Decode(pidf.Decoder{}, doc)
		if err != nil {
			return nil, nil, nil, err
		}
		return r, r.Warnings, r.AppendXML(nil), nil
	case "rlmi":
		l, err := rlmi.Decode(pidf.Decoder{}, doc)
		if err != nil {
			return nil, nil, nil, err
		}
		return l, l.Warnings, l.AppendXML(nil), nil
	case "wi":
		i, err := watcherinfo.Decode(pidf.Decoder{}, doc)
		if err != nil {
			return nil, nil, nil, err
		}
		return i, i.Warnings, i.AppendXML(nil), nil
	}
	p, err := pidf.Decode(doc)
	if err != nil {
		return nil, nil, nil, err
	}
	return blustar{p}, p.Warnings, p.Append(nil, pidf.StandardDialect), nil
}

// craftedDocuments returns the documents of testdata/crafted.txt.
func craftedDocuments(t testing.TB) (names []string, documents map[string][]byte) {
	t.Helper()
	documents = map[string][]byte{}
	unescape := strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t")
	for line := range strings.Lines(string(read(t, "crafted.txt"))) {
		name, doc, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if ok && name != "#" {
			names = append(names, name)
			documents[name] = []byte(unescape.Replace(doc))
		}
	}
	require.NotEmpty(t, names)
	return names, documents
}

// BSP-3-3, BSP-3-4, BSP-5.1-1: what becomes of odd documents, each of them reviewed: what is written in both dialects, the
// warnings, and what Validate finds. Nothing is lost, nothing is invented.
func TestCrafted(t *testing.T) {
	short := strings.NewReplacer(pidf.NSPIDF, "PIDF", `<?xml version="1.0" encoding="UTF-8"?>`+"\n", "")
	names, documents := craftedDocuments(t)
	var report bytes.Buffer
	for _, name := range names {
		doc := documents[name]
		d, warnings, standard, err := crafted(name, doc)
		fmt.Fprintf(&report, "%s\n", name)
		if err != nil {
			fmt.Fprintf(&report, "  refused: %v\n", err)
			continue
		}
		out := d.AppendXML(nil)
		written(t, doc, out, standard)
		fmt.Fprintf(&report, "  %s\n", short.Replace(string(out)))
		if !bytes.Equal(out, standard) {
			fmt.Fprintf(&report, "  standard: %s\n", short.Replace(string(standard)))
		}
		for _, w := range warnings {
			fmt.Fprintf(&report, "  warning: %v\n", w)
		}
		if p, ok := d.(blustar); ok {
			if err := p.Validate(pidf.StandardDialect); err != nil {
				fmt.Fprintf(&report, "  %v\n", err)
			}
		}
		require.LessOrEqual(t, max(len(out), len(standard)), 3*len(doc), name)
		again, _, _, err := crafted(name, out)
		require.NoError(t, err, name)
		require.Equal(t, string(out), string(again.AppendXML(nil)), name)
	}
	golden(t, "crafted.txt", report.Bytes())
}

// BSP-5.1-1: Validate does not refuse a document that is valid.
func TestCraftedSchema(t *testing.T) {
	v := newValidator(t)
	names, documents := craftedDocuments(t)
	var all [][]byte
	for _, name := range names {
		all = append(all, documents[name])
	}
	valid, _, err := v.verdicts("strict.xsd", all)
	require.NoError(t, err)
	for i, name := range names {
		d, _, _, err := crafted(name, documents[name])
		if p, ok := d.(blustar); ok && err == nil && valid[i] && name != "gml-id-clash" && name != "rpid-id-clash" {
			require.NoError(t, p.Validate(pidf.StandardDialect), name)
		}
	}
}

const (
	open2  = `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:a@b"><dm:person id="p">`
	close2 = `</dm:person></presence>`
)

// The right namespace always wins a field, wherever it stands; the other element is kept, valid as before.
func TestRightNamespaceWins(t *testing.T) {
	for name, inner := range map[string]string{
		"timestamp":   `<timestamp>2024-01-01T00:00:00Z</timestamp><dm:timestamp>2024-01-02T00:00:00Z</dm:timestamp>`,
		"class":       `<class>wrong</class><rpid:class>right</rpid:class>`,
		"activities":  `<activities><busy/></activities><rpid:activities><rpid:away/></rpid:activities>`,
		"mood":        `<mood><happy/></mood><rpid:mood><rpid:sad/></rpid:mood>`,
		"user-input":  `<user-input>active</user-input><rpid:user-input>idle</rpid:user-input>`,
		"status-icon": `<status-icon>http://wrong</status-icon><rpid:status-icon>http://right</rpid:status-icon>`,
		"place-is":    `<place-is><audio><noisy/></audio></place-is><rpid:place-is><rpid:audio><rpid:ok/></rpid:audio></rpid:place-is>`,
		"time-offset": `<time-offset>1</time-offset><rpid:time-offset>2</rpid:time-offset>`,
	} {
		t.Run(name, func(t *testing.T) {
			p := roundTrip(t, []byte(open2+inner+close2))
			person := p.Persons[0]
			switch name {
			case "timestamp":
				require.Equal(t, 2, person.Timestamp.Day())
			case "class":
				require.Equal(t, "right", person.Class)
			case "activities":
				require.Equal(t, []pidf.Choice{{Name: "away"}}, person.Activities.Values)
			case "mood":
				require.Equal(t, []pidf.Choice{{Name: "sad"}}, person.Mood.Values)
			case "user-input":
				require.Equal(t, "idle", person.UserInput.State)
			case "status-icon":
				require.Equal(t, "http://right", person.StatusIcon.URI)
			case "place-is":
				require.Equal(t, []pidf.Choice{{Name: "ok"}}, person.PlaceIs.Audio.Values)
			case "time-offset":
				require.Equal(t, 2, person.TimeOffset.Minutes)
			}
			require.Len(t, person.Extensions, 1)
			require.NoError(t, p.Validate(pidf.StandardDialect))
		})
	}
}

// A field keeps the form of its text until it is changed. The BluStar dialect has its own form of times (BSP-3-4).
func TestLexicalForm(t *testing.T) {
	p := roundTrip(t, []byte(open2+`<rpid:user-input idle-threshold="+5" last-input="2024-01-01T12:00:00.250+02:00">idle</rpid:user-input>`+close2))
	require.Contains(t, string(p.Append(nil, pidf.StandardDialect)), `<rpid:user-input idle-threshold="+5" last-input="2024-01-01T12:00:00.250+02:00">`)
	require.Contains(t, string(p.Append(nil, pidf.BluStarDialect)), `<rpid:user-input idle-threshold="+5" last-input="2024-01-01T10:00:00Z">`)
	u := p.Persons[0].UserInput
	require.Equal(t, 5, u.IdleThreshold)
	u.IdleThreshold, u.LastInput = 6, u.LastInput.Add(1e9)
	require.Contains(t, string(p.Append(nil, pidf.StandardDialect)), `<rpid:user-input idle-threshold="6" last-input="2024-01-01T10:00:01Z">`)
}

// A number that does not fit is no value: the field is zero and the text is kept, until a value is set.
func TestValueReplacesUnreadable(t *testing.T) {
	p := roundTrip(t, []byte(open2+`<rpid:time-offset>99999999999999999999</rpid:time-offset><rpid:user-input idle-threshold="99999999999999999999">idle</rpid:user-input><dm:timestamp>soon</dm:timestamp>`+close2))
	person := &p.Persons[0]
	require.Zero(t, person.UserInput.IdleThreshold)
	require.Nil(t, person.TimeOffset)
	require.Len(t, p.Warnings, 3)
	person.UserInput.IdleThreshold = 7
	person.TimeOffset = &pidf.TimeOffset{Minutes: 60}
	person.Timestamp = person.Timestamp.AddDate(2023, 0, 0)
	require.Contains(t, string(p.Append(nil, pidf.BluStarDialect)), `<dm:person id="p"><rpid:time-offset>60</rpid:time-offset><rpid:user-input idle-threshold="7">idle</rpid:user-input><dm:timestamp>2024-01-01T00:00:00Z</dm:timestamp></dm:person>`)
}

// Attributes of repeated fields belong to their item.
func TestItemsKeepAttributes(t *testing.T) {
	p := roundTrip(t, body(`<tuple id="t"><status/><dm:deviceID x="1">urn:a</dm:deviceID><dm:deviceID y="2">urn:b</dm:deviceID><dm:deviceID>urn:c</dm:deviceID></tuple>`))
	p.Tuples[0].DeviceIDs = p.Tuples[0].DeviceIDs[1:]
	require.Contains(t, string(p.Append(nil, pidf.BluStarDialect)), `<status/><dm:deviceID y="2">urn:b</dm:deviceID><dm:deviceID>urn:c</dm:deviceID></tuple>`)
}

// A Standard document has no two equal identifiers, those of extensions included.
func TestIdentifiersOfExtensions(t *testing.T) {
	p := roundTrip(t, body(`<tuple id="a"><status/><x:e xmlns:x="urn:x" xml:id="b"/></tuple><dm:person id="b"/><dm:device id="c"><rpid:activities id="a"/><dm:deviceID>urn:d</dm:deviceID></dm:device>`))
	standard := string(p.Append(nil, pidf.StandardDialect))
	require.Contains(t, standard, `<tuple id="a-2">`)
	require.Contains(t, standard, `<dm:person id="b-2"/>`)
}

// Extensions share the declarations of the root element; a document does not grow by them.
func TestDeclaredOnce(t *testing.T) {
	doc := `<p:presence xmlns:p="urn:ietf:params:xml:ns:pidf" xmlns:x="urn:x:with-a-long-name" entity="sip:a@b">` + strings.Repeat(`<x:y/>`, 1000) + `</p:presence>`
	p := roundTrip(t, []byte(doc))
	require.Equal(t, 1, strings.Count(string(p.Append(nil, pidf.BluStarDialect)), "xmlns:x="))
	require.LessOrEqual(t, len(p.Append(nil, pidf.BluStarDialect)), 3*len(doc))
	require.Equal(t, `<x:y xmlns:x="urn:x:with-a-long-name"/>`, p.Extensions[0].XML())
}

// What is written is at most three times as large as what was read, whatever had to be escaped.
func TestSize(t *testing.T) {
	for name, inner := range map[string]string{
		"CDATA":         `<note><![CDATA[` + strings.Repeat("<&", 1000) + `]]></note>`,
		"CDATA, closed": `<note><![CDATA[` + strings.Repeat("<&", 1000) + `]]]]><![CDATA[>` + strings.Repeat("&", 1000) + `]]></note>`,
		"leaves":        strings.Repeat(`<tuple id="a"><status/><dm:deviceID><![CDATA[&&&&&&]]></dm:deviceID></tuple>`, 50),
		"quotes":        `<note xml:lang="en" x='` + strings.Repeat(`"`, 1000) + `' y="1">n</note><tuple id='` + strings.Repeat(`"`, 1000) + `'><status/></tuple>`,
		"both quotes":   `<note x='` + strings.Repeat(`"&#39;`, 1000) + `'>n</note>`,
		"greater":       `<note>` + strings.Repeat(">", 1000) + `</note>`,
	} {
		doc := body(inner)
		p := roundTrip(t, doc)
		require.LessOrEqual(t, len(p.Append(nil, pidf.BluStarDialect)), 3*len(doc), name)
		require.LessOrEqual(t, len(p.Append(nil, pidf.StandardDialect)), 3*len(doc), name)
	}
}

// The root binds no more prefixes than a decoder takes by default.
func TestManyPrefixes(t *testing.T) {
	var b strings.Builder
	b.WriteString(`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@b">`)
	for i := range 100 {
		fmt.Fprintf(&b, `<note xmlns:p%d="urn:p:%d" p%d:a="1">n</note>`, i, i, i)
	}
	b.WriteString(`</presence>`)
	p := roundTrip(t, []byte(b.String()))
	require.Len(t, p.Notes, 100)
	require.Equal(t, "1", p.Notes[99].Extra.Attrs[0].Value)
}

// The misspelt namespace of a well-known stack is read.
func TestMisspeltRLMI(t *testing.T) {
	l, err := rlmi.Decode(pidf.Decoder{}, []byte(`<list xmlns="urn:ietf:params:xml:ns:rmli" uri="sip:l@b" version="1" fullState="true"><resource uri="sip:a"/></list>`))
	require.NoError(t, err)
	require.Equal(t, "sip:a", l.Resources[0].URI)
	require.Contains(t, string(l.AppendXML(nil)), rlmi.Namespace)
	require.Len(t, l.Warnings, 1)
}

// A limit of -1 lifts what it names.
func TestNoLimits(t *testing.T) {
	var b strings.Builder
	b.WriteString(`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@b"`)
	for i := range 300 {
		fmt.Fprintf(&b, ` xmlns:p%d="urn:p:%d"`, i, i)
	}
	b.WriteString(`><p299:x/></presence>`)
	_, err := pidf.Decode([]byte(b.String()))
	require.ErrorIs(t, err, pidf.ErrTooMany)
	p, err := pidf.Decoder{Limits: pidf.Limits{Attributes: -1}}.Decode([]byte(b.String()))
	require.NoError(t, err)
	require.Equal(t, "urn:p:299", p.Extensions[0].Name().Space)
}

// A prefix that an attribute value mentions is not declared again where typed elements are written with it.
func TestMentionedPrefixIsTaken(t *testing.T) {
	const space = "http://www.aastra.com/presence/blustar/2011"
	doc := body(`<dm:person id="p"><b:presence xmlns:b="` + space + `"><b:blustar xmlns:aa="urn:x:1" aa:extra="aa:y"><b:status>busy</b:status></b:blustar>` +
		`<b:blustar xmlns:aa="urn:x:1" aa:extra="aa:y"><b:status>away</b:status></b:blustar></b:presence></dm:person>`)
	p, err := aa.Decode(doc)
	require.NoError(t, err)
	out := p.Append(nil, pidf.BluStarDialect)
	q, err := aa.Decode(out)
	require.NoError(t, err)
	require.Equal(t, aa.StatusBusy, aa.PresenceOf(&q.Persons[0]).BluStar.Status, "%s", out)
	require.Equal(t, pidf.Attr{Name: pidf.Name{Space: "urn:x:1", Local: "extra"}, Value: "aa:y"}, withoutPrefix(aa.PresenceOf(&q.Persons[0]).BluStar.Attrs[0]))
	require.Equal(t, string(out), string(q.Append(nil, pidf.BluStarDialect)))
	require.Equal(t, pidf.Canonical(p), pidf.Canonical(q))
}

func withoutPrefix(a pidf.Attr) pidf.Attr { return pidf.Attr{Name: a.Name, Value: a.Value} }
