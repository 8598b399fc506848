package pidf_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// BSP-2.5-2: documents that differ in what says nothing are equal.
func TestEqual(t *testing.T) {
	base := `<tuple id="a"><status><basic>open</basic></status><note>1</note><note xml:lang="en">2</note><timestamp>2024-01-01T00:00:00Z</timestamp></tuple><tuple id="b"><status><basic>closed</basic></status></tuple>` +
		`<dm:device id="d"><aa:line><aa:DN>1</aa:DN><aa:state>idle</aa:state></aa:line><dm:timestamp>2024-01-01T00:00:00Z</dm:timestamp></dm:device>` +
		`<dm:person id="p"><rpid:activities><rpid:busy/><rpid:away/></rpid:activities><x:y xmlns:x="urn:x" a="1" b="2"><x:z/></x:y></dm:person>`
	equal := map[string]string{
		"itself":          base,
		"order":           `<dm:person id="p"><x:y xmlns:x="urn:x" a="1" b="2"><x:z/></x:y><rpid:activities><rpid:away/><rpid:busy/></rpid:activities></dm:person><tuple id="b"><status><basic>closed</basic></status></tuple><tuple id="a"><note xml:lang="en">2</note><note>1</note><status><basic>open</basic></status></tuple><dm:device id="d"><aa:line><aa:state>idle</aa:state><aa:DN>1</aa:DN></aa:line></dm:device>`,
		"times of change": `<tuple id="a"><status><basic>open</basic></status><note>1</note><note xml:lang="en">2</note></tuple><tuple id="b"><status><basic>closed</basic></status><timestamp>2025-01-01T00:00:00Z</timestamp></tuple><dm:device id="d"><aa:line><aa:DN>1</aa:DN><aa:state>idle</aa:state></aa:line></dm:device><dm:person id="p"><rpid:activities><rpid:busy/><rpid:away/></rpid:activities><x:y xmlns:x="urn:x" a="1" b="2"><x:z/></x:y></dm:person>`,
		"extensions":      `<!-- a --><tuple id="a"><status><basic>open</basic></status><note>1</note><note xml:lang="en">2</note></tuple><tuple id="b"><status><basic>closed</basic></status></tuple><dm:device id="d"><aa:line><aa:DN>1</aa:DN><aa:state>idle</aa:state></aa:line></dm:device><dm:person id="p"><rpid:activities><rpid:busy/><rpid:away/></rpid:activities><y xmlns="urn:x" b='2' a='1'> <z></z> <!-- b --></y></dm:person>`,
	}
	p, err := aa.Decode(body(base))
	require.NoError(t, err)
	for name, children := range equal {
		t.Run(name, func(t *testing.T) {
			q, err := aa.Decode(body(children))
			require.NoError(t, err)
			require.Equal(t, pidf.Canonical(p), pidf.Canonical(q))
			require.True(t, pidf.Equal(p, q))
		})
	}
}

// Text between elements is compared as a whole: where it stands says nothing, and it may run together once elements
// have found their places.
func TestEqualStrayText(t *testing.T) {
	p := roundTrip(t, body(`one &amp;<note>n</note>two<tuple id="t"><x xmlns="urn:x"/>three<status/>four<![CDATA[<]]></tuple>`))
	q, err := aa.Decode(body("one\r\n&#38;two<tuple id=\"t\"><status/>three four&lt;<x xmlns=\"urn:x\"/></tuple><note>n</note>"))
	require.NoError(t, err)
	require.Equal(t, pidf.Canonical(p), pidf.Canonical(q))
	q, err = aa.Decode(body(`one &amp; three<tuple id="t"><status/>three four&lt;<x xmlns="urn:x"/></tuple><note>n</note>`))
	require.NoError(t, err)
	require.False(t, pidf.Equal(p, q))
}

// Each of these changes counts, and a time of last change does not.
func TestNotEqual(t *testing.T) {
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	before := func() *pidf.Presence {
		return &pidf.Presence{
			Entity:  "sip:a@b",
			Tuples:  []pidf.Tuple{{ID: "audio", Basic: pidf.Open, Contact: &pidf.Contact{URI: "sip:1", Priority: "1"}}, {ID: "video", Basic: pidf.Closed}},
			Devices: []pidf.Device{{ID: "tel:1", Extra: aa.Extra(&aa.Line{DN: "1", State: aa.LineIdle})}},
			Persons: []pidf.Person{{ID: "sip:a@b", Activities: &pidf.Activities{Notes: []pidf.Note{{Lang: "Eng", Text: "Hi"}}, Values: []pidf.Choice{{Name: "other", Text: "available"}}},
				Extra: aa.Extra(&aa.Presence{BluStar: &aa.BluStar{Status: aa.StatusAvailable, Timestamp: now}, Calendar: []aa.Appointment{{ID: "1", State: aa.CalendarBusy, From: now, End: now}}})}},
		}
	}
	for name, change := range map[string]func(p *pidf.Presence){
		"tuple[audio]/status/basic":      func(p *pidf.Presence) { p.Tuples[0].Basic = pidf.Closed },
		"tuple[video]/status/basic":      func(p *pidf.Presence) { p.Tuples = p.Tuples[:1] },
		"tuple[audio]/contact/@priority": func(p *pidf.Presence) { p.Tuples[0].Contact.Priority = "" },
		"device[tel:1]/line/state":       func(p *pidf.Presence) { aa.LineOf(&p.Devices[0]).State = aa.LineBusy },
		"device[tel:1]/line/forward": func(p *pidf.Presence) {
			aa.LineOf(&p.Devices[0]).Forward = &aa.Forward{Destination: "2"}
		},
		"person[sip:a@b]/activities": func(p *pidf.Presence) {
			p.Persons[0].Activities.Values = []pidf.Choice{{Name: "busy"}}
		},
		"person[sip:a@b]/activities/note[Eng]":       func(p *pidf.Presence) { p.Persons[0].Activities.Notes[0].Text = "Ho" },
		"person[sip:a@b]/presence/blustar/note[Eng]": func(p *pidf.Presence) { aa.PresenceOf(&p.Persons[0]).BluStar.Note = &pidf.Note{Lang: "Eng"} },
		"person[sip:a@b]/presence/calendar[1]/end": func(p *pidf.Presence) {
			aa.PresenceOf(&p.Persons[0]).Calendar[0].End = now.Add(time.Hour)
		},
		"@entity": func(p *pidf.Presence) { p.Entity = "tel:1" },
		"nothing": func(p *pidf.Presence) {
			p.Tuples[0].Timestamp = now
			aa.PresenceOf(&p.Persons[0]).BluStar.Timestamp = now.Add(1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, q := before(), before()
			change(q)
			require.Equal(t, name == "nothing", pidf.Equal(p, q))
			require.Equal(t, name == "nothing", pidf.Equal(q, p))
		})
	}
}

// Extensions are equal if they differ in prefixes, order of attributes, comments and space alone.
func TestEqualExtensions(t *testing.T) {
	with := func(xml string) *pidf.Presence {
		e, err := pidf.ParseExtension(xml)
		require.NoError(t, err)
		return &pidf.Presence{Root: pidf.Root{Extra: pidf.Extra{Extensions: []pidf.Extension{e}}}}
	}
	p := with(`<p:a xmlns:p="urn:x" b="1" c="2"><p:d>&lt; x</p:d><p:e/></p:a>`)
	require.True(t, pidf.Equal(p, with("<a xmlns='urn:x' c='2' b='1'>\n<!-- - --><d><![CDATA[< x]]></d> <e/></a>")))
	for _, other := range []string{`<a xmlns="urn:x" b="1" c="2"><d>&lt;x</d><e/></a>`, `<a xmlns="urn:x" c="1" b="2"><d>&lt; x</d><e/></a>`,
		`<a b="1" c="2"><d>&lt; x</d><e/></a>`, `<a xmlns="urn:x" b="1" c="2"><e/><d>&lt; x</d></a>`} {
		require.False(t, pidf.Equal(p, with(other)), other)
	}
}

// What the typed model has no place for keeps its order, even if its name is that of a field: of several values the first
// one counts.
func TestNotEqualDisplaced(t *testing.T) {
	for _, pair := range [][2]string{
		{`<tuple id="t"><status><basic>open</basic><basic>closed</basic></status></tuple>`, `<tuple id="t"><status><basic>closed</basic><basic>open</basic></status></tuple>`},
		{`<tuple id="t"><status/><contact>sip:a</contact><contact>sip:b</contact></tuple>`, `<tuple id="t"><status/><contact>sip:b</contact><contact>sip:a</contact></tuple>`},
		{`<note>not <b>open</b></note>`, `<note><b>open</b>not </note>`},
		{`<note>a b<x xmlns="urn:x"/></note>`, `<note>ab<x xmlns="urn:x"/></note>`},
		{`<tuple id="t"><status><rpid:mood><rpid:sad/><rpid:calm/></rpid:mood></status></tuple>`, `<tuple id="t"><status><rpid:mood><rpid:calm/><rpid:sad/></rpid:mood></status></tuple>`},
	} {
		p, err := aa.Decode(body(pair[0]))
		require.NoError(t, err)
		q, err := aa.Decode(body(pair[1]))
		require.NoError(t, err)
		require.False(t, pidf.Equal(p, q), pair[0])
		require.False(t, pidf.Equal(q, p), pair[0])
	}
}

// Documents built alike are equal in any order, and different both ways or not at all.
func TestEqualProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q := model(t), model(t)
		require.Equal(t, pidf.Equal(p, q), pidf.Equal(q, p))
		require.True(t, pidf.Equal(p, p))

		r, err := aa.Decode(p.Append(nil, pidf.BluStarDialect))
		require.NoError(t, err)
		slices.Reverse(r.Tuples)
		slices.Reverse(r.Persons)
		slices.Reverse(r.Notes)
		require.True(t, pidf.Equal(p, r), "%s\n%s", pidf.Canonical(p), pidf.Canonical(r))
	})
}

// No change of a text or an attribute is overlooked, nor that an element goes or comes twice, but for times of last change
// and identifiers of RPID.
func TestNothingOverlooked(t *testing.T) {
	values := regexp.MustCompile(`>[^<>]*[^<>\s][^<>]*<|[a-zA-Z:-]+="[^"]*"|<[^/<>]+/>`)
	for _, path := range slices.Concat(files(t, "golden/*.blustar.xml"), files(t, "products/*.xml")) {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		p, err := aa.Decode(data)
		if err != nil {
			continue
		}
		doc := string(p.Append(nil, pidf.BluStarDialect))
		p, err = aa.Decode([]byte(doc))
		require.NoError(t, err)
		for _, at := range values.FindAllStringIndex(doc, -1) {
			text := doc[at[0]:at[1]]
			before := doc[:at[0]]
			tag := before[strings.LastIndexByte(before, '<')+1:]
			if strings.HasPrefix(text, "xmlns") || strings.HasPrefix(text, ` encoding`) || strings.HasPrefix(tag, "?") || strings.HasPrefix(tag, "!") ||
				strings.Contains(tag, "timestamp") && text[0] == '>' || strings.HasPrefix(tag, "rpid:") && strings.HasPrefix(text, "id=") {
				continue
			}
			var changes []string
			switch {
			case text[0] == '>':
				changes = []string{">x" + text[1:], "><"}
			case text[0] == '<':
				changes = []string{"", text + text}
			default:
				changes = []string{strings.TrimSuffix(text, `"`) + `x"`, ""}
			}
			for _, change := range changes {
				changed := before + change + doc[at[1]:]
				q, err := aa.Decode([]byte(changed))
				if err != nil {
					continue
				}
				require.False(t, pidf.Equal(p, q), "%s: %q becomes %q in %s", path, text, change, tag)
			}
		}
	}
}
