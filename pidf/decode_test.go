package pidf_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/resourcelists"
	"github.com/stretchr/testify/require"
)

const (
	open1  = `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" xmlns:aa="http://www.aastra.com/presence/blustar/2011" entity="sip:a@b">`
	close1 = `</presence>`
)

// body puts children into a document.
func body(children string) []byte { return []byte(open1 + children + close1) }

// text returns the fields of a value.
func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// warnings returns the texts of the warnings of a document.
func warnings(p *pidf.Presence) []string {
	var out []string
	for _, w := range p.Warnings {
		out = append(out, w.Element+": "+w.Text)
	}
	return out
}

// BSP-3-2, BSP-3-4: what Decode tolerates, and what it says about it.
func TestLenient(t *testing.T) {
	noon := time.Date(2024, 1, 1, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		doc  string
		want pidf.Presence
		warn []string
	}{
		"spaces in values": {
			open1 + `<tuple id=" t "><status><basic> open </basic></status><contact priority=" 0.5 "> sip:a@b </contact><timestamp>
			2024-01-01T12:00:00Z </timestamp></tuple><dm:device id="d"><aa:line><aa:DN> 27 </aa:DN><aa:state>busy
			</aa:state><aa:forward type=" immediate "> 28 </aa:forward></aa:line></dm:device>` + close1,
			pidf.Presence{Entity: "sip:a@b", Tuples: []pidf.Tuple{{ID: "t", Basic: pidf.Open, Contact: &pidf.Contact{URI: "sip:a@b", Priority: "0.5"}, Timestamp: noon}},
				Devices: []pidf.Device{{ID: "d", Extra: aa.Extra(&aa.Line{DN: "27", State: aa.LineBusy, Forward: &aa.Forward{Type: "immediate", Destination: "28"}})}}},
			[]string{`basic: basic: " open " read as "open"`, `aa:DN: space around DN removed`, `aa:state: state: "busy\n\t\t\t" read as "busy"`, `aa:forward: type: " immediate " read as "immediate"`},
		},
		"status broken over lines": {
			open1 + "<dm:person id='p'><aa:presence><aa:blustar><aa:status>Do not\r\n  disturb</aa:status></aa:blustar></aa:presence></dm:person>" + close1,
			pidf.Presence{Entity: "sip:a@b", Persons: []pidf.Person{{ID: "p", Extra: aa.Extra(&aa.Presence{BluStar: &aa.BluStar{Status: aa.StatusDoNotDisturb}})}}},
			[]string{`aa:status: status: "Do not\n  disturb" read as "do not disturb"`},
		},
		"any prefix, any order": {
			`<z:presence xmlns:z="urn:ietf:params:xml:ns:pidf" entity='sip:a@b'><y:person xmlns:y="urn:ietf:params:xml:ns:pidf:data-model" id="p"/><z:note>n</z:note><z:tuple id="t"><z:note>m</z:note><z:status/></z:tuple></z:presence>`,
			pidf.Presence{Entity: "sip:a@b", Tuples: []pidf.Tuple{{ID: "t", Notes: []pidf.Note{{Text: "m"}}}}, Notes: []pidf.Note{{Text: "n"}}, Persons: []pidf.Person{{ID: "p"}}},
			nil,
		},
		"other spellings of the namespace": {
			`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@b"><d:device xmlns:d="urn:ietf:params:xml:ns:pidf:data-model" id="1"><line xmlns="http://www.aastracom/presence/blustar/2011"><DN>1</DN><state>idle</state></line></d:device></presence>`,
			pidf.Presence{Entity: "sip:a@b", Devices: []pidf.Device{{ID: "1", Extra: aa.Extra(&aa.Line{DN: "1", State: aa.LineIdle})}}},
			[]string{`line: namespace http://www.aastracom/presence/blustar/2011 taken for the one that it resembles`},
		},
		"missing entity and identifiers": {
			`<presence xmlns="urn:ietf:params:xml:ns:pidf"><tuple/></presence>`,
			pidf.Presence{Tuples: []pidf.Tuple{{}}},
			[]string{"presence: entity missing", "tuple: id missing", "tuple: status missing"},
		},
		"times": {
			open1 + `<tuple id="a"><timestamp>2024-01-01T14:00:00.999999+02:00</timestamp></tuple><tuple id="b"><timestamp>2024-01-01T12:00:00</timestamp></tuple><tuple id="c"><timestamp>2023-12-31T24:00:00-12:00</timestamp></tuple>` + close1,
			pidf.Presence{Entity: "sip:a@b", Tuples: []pidf.Tuple{{ID: "a", Timestamp: noon.Add(999999 * time.Microsecond)}, {ID: "b", Timestamp: noon}, {ID: "c", Timestamp: noon}}},
			[]string{"tuple: status missing", "timestamp: time 2024-01-01T12:00:00 without a zone taken for UTC", "tuple: status missing", "tuple: status missing"},
		},
		"texts": {
			open1 + `<note xml:lang="en">a &lt;b&gt; &#x41;&#66;<![CDATA[<&>]]> cd</note>` + close1,
			pidf.Presence{Entity: "sip:a@b", Notes: []pidf.Note{{Lang: "en", Text: "a <b> AB<&> cd"}}},
			nil,
		},
		"flags": {
			open1 + `<dm:person id="p"><aa:presence><aa:calendar><aa:allday>false</aa:allday><aa:private>true</aa:private><aa:reminder-offset> 15 </aa:reminder-offset></aa:calendar></aa:presence></dm:person>` + close1,
			pidf.Presence{Entity: "sip:a@b", Persons: []pidf.Person{{ID: "p", Extra: aa.Extra(&aa.Presence{Calendar: []aa.Appointment{{Private: true, ReminderOffset: new(15)}}})}}},
			[]string{"aa:allday: allday with content", "aa:private: private with content", "aa:calendar: id missing", "aa:calendar: state missing",
				"aa:calendar: subject missing", "aa:calendar: location missing", "aa:calendar: from missing", "aa:calendar: end missing"},
		},
		"other XML version": {
			`<?xml version='1.1' encoding='us-ascii' standalone="no" ?>` + open1 + close1,
			pidf.Presence{Entity: "sip:a@b"},
			[]string{": XML version 1.1 read as 1.0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := roundTrip(t, []byte(test.doc))
			require.Equal(t, test.warn, warnings(p))
			p.Warnings = nil
			require.JSONEq(t, text(t, &test.want), text(t, p))
		})
	}
}

// What does not fit the model stays, behind what does.
func TestKeptValues(t *testing.T) {
	p := roundTrip(t, body(`<tuple id="t"><timestamp>2024-02-30T12:00:00Z</timestamp><status><basic>open</basic><basic>closed</basic></status><contact>sip:1</contact><contact>sip:2</contact></tuple>`))
	require.Equal(t, pidf.Open, p.Tuples[0].Basic)
	require.Equal(t, "sip:1", p.Tuples[0].Contact.URI)
	require.True(t, p.Tuples[0].Timestamp.IsZero())
	kept, ok := p.Tuples[0].Find(pidf.Name{Space: pidf.NSPIDF, Local: "timestamp"})
	require.True(t, ok)
	require.Equal(t, "2024-02-30T12:00:00Z", kept.Text())
	require.Equal(t, []string{"timestamp: no time: kept as an extension", "basic: a second one kept as an extension", "contact: a second one kept as an extension"}, warnings(p))
	require.ErrorContains(t, p.Validate(pidf.BluStarDialect), "presence/tuple[t]/timestamp: unreadable value")
}

// A value of a list that is none of its values is kept with its capitals; space around it is no part of it.
func TestUnknownValues(t *testing.T) {
	p := roundTrip(t, body(`<tuple id="t"><status><basic> Not Available </basic></status></tuple><tuple id="u"><status><basic>OPEN</basic></status></tuple>`+
		`<dm:person id="p"><rpid:user-input>Perhaps</rpid:user-input><aa:presence><aa:blustar><aa:status>At Lunch</aa:status></aa:blustar>`+
		`<aa:externalUC><aa:status>Do Not Disturb</aa:status></aa:externalUC></aa:presence></dm:person>`))
	require.Equal(t, []pidf.Basic{"Not Available", pidf.Open}, []pidf.Basic{p.Tuples[0].Basic, p.Tuples[1].Basic})
	require.Equal(t, "Perhaps", p.Persons[0].UserInput.State)
	require.Equal(t, aa.Status("At Lunch"), aa.PresenceOf(&p.Persons[0]).BluStar.Status)
	require.Equal(t, aa.StatusDoNotDisturb, aa.PresenceOf(&p.Persons[0]).ExternalUC.Status)
	require.ErrorContains(t, p.Validate(pidf.BluStarDialect), `presence/tuple[t]/status/basic: "Not Available" is not one of open, closed`)
}

// BSP-3-3: what stands inside a text, and is no part of it, moves behind its element and stays there.
func TestCommentsInTexts(t *testing.T) {
	p := roundTrip(t, body(`<tuple id="t"><status><basic><!-- 1 -->open</basic></status><contact priority="0.8">sip:<?two?>a@b</contact><note>one<!-- 3 --> two</note>`+
		`<timestamp>2024-01-01T12:00:00Z<!-- 4 --></timestamp><timestamp>ne<!-- 5 -->ver</timestamp></tuple>`+
		`<dm:person id="p"><rpid:place-is><rpid:audio><rpid:noisy><!-- 6 --></rpid:noisy><!-- 7 --></rpid:audio></rpid:place-is></dm:person>`))
	tuple := p.Tuples[0]
	require.Equal(t, pidf.Open, tuple.Basic)
	require.Equal(t, "sip:a@b", tuple.Contact.URI)
	require.Equal(t, "one two", tuple.Notes[0].Text)
	out := string(p.Append(nil, pidf.BluStarDialect))
	for _, kept := range []string{`<status><basic>open</basic><!-- 1 --></status>`, `</contact><?two?>`, `one two</note><!-- 3 -->`, `</timestamp><!-- 4 -->`,
		`>ne<!-- 5 -->ver</timestamp>`, `<rpid:audio><rpid:noisy/><!-- 6 --><!-- 7 --></rpid:audio>`} {
		require.Equal(t, 1, strings.Count(out, kept), "%s in %s", kept, out)
	}
}

// BSP-3-3: an empty value is not the same as none. A value that a field could not take leaves nothing behind in it.
func TestEmptyValues(t *testing.T) {
	p := roundTrip(t, body(`<tuple id="t"><status><basic/></status><rpid:class x="1"/></tuple><dm:device id="d"><rpid:class> </rpid:class><rpid:class>a</rpid:class></dm:device>`+
		`<dm:person id="p"><aa:presence><aa:calendar><aa:reminder-offset x="1">soon</aa:reminder-offset><aa:reminder-offset>5</aa:reminder-offset></aa:calendar></aa:presence></dm:person>`))
	require.Empty(t, p.Tuples[0].Class)
	require.Contains(t, string(p.Append(nil, pidf.BluStarDialect)), `<status><basic/></status><rpid:class x="1"/>`)
	require.Equal(t, "a", p.Devices[0].Class)
	require.Contains(t, string(p.Append(nil, pidf.BluStarDialect)), `<aa:reminder-offset>5</aa:reminder-offset>`)
}

// BSP-3-5: each limit is met with an error of its kind that says where.
func TestLimits(t *testing.T) {
	limits := pidf.Decoder{Limits: pidf.Limits{Bytes: 4000, Depth: 4, Elements: 20, Attributes: 8}}
	nested := func(n int) string { return strings.Repeat("<x>", n) + strings.Repeat("</x>", n) }
	attributes := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(" a" + string(rune('a'+i)) + `="1"`)
		}
		return b.String()
	}
	for name, test := range map[string]struct {
		within, beyond string
		kind           error
		text           string
	}{
		"bytes":      {strings.Repeat(" ", 3000), strings.Repeat(" ", 4000), pidf.ErrTooLarge, "pidf: line 1, column 1: too large: more bytes than the limit"},
		"depth":      {nested(3), nested(4), pidf.ErrTooDeep, "pidf: line 1, column 224, in <x>: too deep: elements nest more than 4 deep"},
		"elements":   {strings.Repeat("<tuple/>", 19), strings.Repeat("<tuple/>", 20), pidf.ErrTooMany, "pidf: line 1, column 367, in <presence>: too many: more than 20 elements"},
		"attributes": {"<x" + attributes(8) + "/>", "<x" + attributes(9) + "/>", pidf.ErrTooMany, "pidf: line 1, column 274, in <x>: too many: more than 8 attributes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := limits.Decode(body(test.within))
			require.NoError(t, err)
			_, err = limits.Decode(body(test.beyond))
			require.ErrorIs(t, err, test.kind)
			require.EqualError(t, err, test.text)
			_, err = aa.Decode(body(test.beyond))
			require.NoError(t, err, "the defaults are wider")
		})
	}
	t.Run("defaults", func(t *testing.T) {
		_, err := aa.Decode(body(nested(40)))
		require.ErrorIs(t, err, pidf.ErrTooDeep)
		_, err = aa.Decode(make([]byte, 1<<20+1))
		require.ErrorIs(t, err, pidf.ErrTooLarge)
		_, err = aa.Decode(body(strings.Repeat("<tuple/>", 50_001)))
		require.ErrorIs(t, err, pidf.ErrTooMany)
	})
	t.Run("none", func(t *testing.T) {
		_, err := pidf.Decoder{Limits: pidf.Limits{Depth: -1}}.Decode(body(nested(10_000)))
		require.NoError(t, err)
	})
	t.Run("declarations in scope", func(t *testing.T) {
		var b strings.Builder
		for range 20 {
			b.WriteString("<x")
			for i := range 10 {
				b.WriteString(" xmlns:p" + string(rune('a'+i)) + `="urn:x"`)
			}
			b.WriteString(">")
		}
		_, err := aa.Decode(body(b.String()))
		require.ErrorIs(t, err, pidf.ErrTooMany)
	})
	t.Run("warnings", func(t *testing.T) {
		p, err := aa.Decode(body(strings.Repeat("<tuple/>", 1000)))
		require.NoError(t, err)
		require.Len(t, p.Warnings, 100)
	})
}

// What is not well-formed is refused (XML 1.0, Namespaces in XML 1.0).
func TestNotWellFormed(t *testing.T) {
	for name, doc := range map[string]string{
		"attribute twice":               open1 + `<tuple id="a" id="b"/>` + close1,
		"attribute twice by prefix":     open1 + `<x xmlns:a="urn:x" xmlns:b="urn:x" a:c="1" b:c="2"/>` + close1,
		"attribute without space":       open1 + `<tuple id="a"class="b"/>` + close1,
		"attribute without value":       open1 + `<tuple id/>` + close1,
		"less-than in attribute":        open1 + `<tuple id="<"/>` + close1,
		"reference in attribute":        open1 + `<tuple id="&nothing;"/>` + close1,
		"unbound attribute prefix":      open1 + `<tuple x:id="a"/>` + close1,
		"prefix bound to nothing":       open1 + `<tuple xmlns:x=""/>` + close1,
		"prefix xmlns":                  open1 + `<tuple xmlns:xmlns="urn:x"/>` + close1,
		"prefix xml elsewhere":          open1 + `<tuple xmlns:xml="urn:x"/>` + close1,
		"declaration twice":             open1 + `<tuple xmlns:x="urn:x" xmlns:x="urn:y"/>` + close1,
		"two colons":                    open1 + `<dm:person:x/>` + close1,
		"colon first":                   open1 + `<:x/>` + close1,
		"digit first":                   open1 + `<1x/>` + close1,
		"space first":                   open1 + `< x/>` + close1,
		"end tag with attribute":        open1 + `<tuple></tuple id="a">` + close1,
		"end tag too many":              open1 + close1 + close1,
		"end tag in disorder":           open1 + `<tuple><status></tuple></status>` + close1,
		"comment with hyphens":          open1 + `<!-- a -- b -->` + close1,
		"comment without end":           open1 + `<!-- a`,
		"CDATA without end":             open1 + `<note><![CDATA[ a</note>` + close1,
		"CDATA outside":                 open1 + close1 + `<![CDATA[]]>`,
		"end of CDATA in text":          open1 + `<note>a ]]> b</note>` + close1,
		"bare ampersand":                open1 + `<note>a & b</note>` + close1,
		"reference to no character":     open1 + `<note>&#0;</note>` + close1,
		"reference to a surrogate":      open1 + `<note>&#xD800;</note>` + close1,
		"reference beyond Unicode":      open1 + `<note>&#x110000;</note>` + close1,
		"reference without digits":      open1 + `<note>&#;</note>` + close1,
		"reference in capitals":         open1 + `<note>&AMP;</note>` + close1,
		"control character":             open1 + "<note>\x01</note>" + close1,
		"U+FFFF":                        open1 + "<note>\uFFFF</note>" + close1,
		"instruction called xml":        open1 + `<?xml version="1.0"?>` + close1,
		"instruction without name":      open1 + `<? ?>` + close1,
		"instruction without end":       open1 + `<?x `,
		"XML declaration without end":   `<?xml version="1.0">` + open1 + close1,
		"XML declaration in disorder":   `<?xml encoding="UTF-8" version="1.0"?>` + open1 + close1,
		"XML declaration with nonsense": `<?xml version="1.0" colour="red"?>` + open1 + close1,
		"unknown declaration":           open1 + `<!ELEMENT a ANY>` + close1,
		"tag without end":               open1 + `<tuple id="a"`,
		"document type inside":          open1 + `<!DOCTYPE presence PUBLIC "xpidf" "xpidf">` + close1,
		"only a comment":                `<!-- nothing -->`,
		"extension broken":              open1 + `<x xmlns="urn:x"><y></x></y>` + close1,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := aa.Decode([]byte(doc))
			var syntax *pidf.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.True(t, syntax.Kind == pidf.ErrSyntax || syntax.Kind == pidf.ErrDTD, "%v", err)
		})
	}
}

// Bytes in other encodings.
func TestEncodings(t *testing.T) {
	wide := func(order string, s string) []byte {
		b := []byte{0xFE, 0xFF}
		if order == "little" {
			b = []byte{0xFF, 0xFE}
		}
		for _, r := range s {
			hi, lo := byte(r>>8), byte(r)
			if order == "little" {
				hi, lo = lo, hi
			}
			b = append(b, hi, lo)
		}
		return b
	}
	const doc = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:é@b"/>`
	for name, data := range map[string][]byte{
		"UTF-8":                      []byte(doc),
		"UTF-8 with mark":            []byte("\xEF\xBB\xBF" + doc),
		"UTF-16 big":                 wide("big", doc),
		"UTF-16 little":              wide("little", doc),
		"UTF-16 without mark":        wide("big", doc)[2:],
		"UTF-16 with zeros behind":   append(wide("little", doc), 0, 0, 0, 0),
		"UTF-16 little without mark": wide("little", doc)[2:],
		"ISO 8859-1":                 []byte(`<?xml version="1.0" encoding="ISO-8859-1"?>` + strings.ReplaceAll(doc, "é", "\xE9")),
		"label wrong":                []byte(`<?xml version="1.0" encoding="ISO-8859-1"?>` + doc),
		"label unknown":              []byte(`<?xml version="1.0" encoding="KOI8-R"?>` + doc),
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, "sip:é@b", roundTrip(t, data).Entity)
		})
	}
	t.Run("windows-1252", func(t *testing.T) {
		p := roundTrip(t, []byte(`<?xml version="1.0" encoding="windows-1252"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@b"><note>`+"\x80\x99\xFF"+`</note></presence>`))
		require.Equal(t, "€™ÿ", p.Notes[0].Text)
	})
	for name, data := range map[string][]byte{
		"UTF-16 odd":        append(wide("big", doc), 'x'),
		"UTF-16 half":       {0xFE, 0xFF, 0xD8, 0x00},
		"UTF-16 other half": {0xFE, 0xFF, 0xDC, 0x00, 0xD8, 0x00},
		"neither":           []byte(`<?xml version="1.0" encoding="KOI8-R"?><presence entity="` + "\xE9" + `"/>`),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := aa.Decode(data)
			require.ErrorIs(t, err, pidf.ErrEncoding)
		})
	}
}

// Strings of a document share one copy of it, which is not the caller's.
func TestDecodeCopies(t *testing.T) {
	data := body(`<note>text</note><x xmlns="urn:x">kept</x>`)
	p, err := aa.Decode(data)
	require.NoError(t, err)
	want := string(p.Append(nil, pidf.BluStarDialect))
	clear(data)
	require.Equal(t, want, string(p.Append(nil, pidf.BluStarDialect)))
}

// What drafts had inside status becomes the tuple's, whatever is there already; the order stays for good.
func TestStatusDrafts(t *testing.T) {
	p := roundTrip(t, body(`<tuple id="t"><contact>sip:1</contact><status><contact>sip:2</contact><note>n</note><note><b/></note><timestamp>2024-01-01T00:00:00Z</timestamp><timestamp>never</timestamp></status></tuple>`))
	require.Equal(t, "sip:1", p.Tuples[0].Contact.URI)
	require.Equal(t, []pidf.Note{{Text: "n"}}, p.Tuples[0].Notes)
	require.False(t, p.Tuples[0].Timestamp.IsZero())
	require.Len(t, p.Tuples[0].Extensions, 3)
	require.Empty(t, p.Tuples[0].Status.Extensions)
}

// The two document type declarations of drafts are passed over, for a presence document alone.
func TestDocumentTypes(t *testing.T) {
	const root = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@b"/>`
	for _, good := range []string{
		`<!DOCTYPE presence PUBLIC "-//IETF//DTD RFCxxxx XPIDF 1.0//EN" "xpidf.dtd">`,
		`<!DOCTYPE presence SYSTEM "http://schemas.microsoft.com/2002/09/sip/presence">`,
		"<!DOCTYPE presence\r\nPUBLIC \"//IETF//DTD RFCxxxx PIDF 1.0//EN\" \"pidf.dtd\" >",
	} {
		p, err := aa.Decode([]byte(good + root))
		require.NoError(t, err)
		require.Contains(t, p.Warnings[0].Text, "ignored")
		_, err = resourcelists.Decode(pidf.Decoder{}, []byte(good+`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>`))
		require.ErrorIs(t, err, pidf.ErrDTD)
	}
	for _, bad := range []string{
		`<!DOCTYPE presence PUBLIC "-//IETF//DTD RFCxxxx XPIDF 1.0//EN" "xpidf.dtd" []>`,
		`<!DOCTYPE presence PUBLIC "-//IETF//DTD RFCxxxx XPIDF 1.0//EN" "xpidf.dtd"><!DOCTYPE presence PUBLIC "-//IETF//DTD RFCxxxx XPIDF 1.0//EN" "xpidf.dtd">`,
		`<!DOCTYPE presence PUBLIC "-//EVIL//DTD RFCxxxx XPIDF 1.0//EN" "http://192.0.2.1/xpidf.dtd">`,
		`<!DOCTYPE presence SYSTEM "xpidf.dtd">`,
		`<!DOCTYPE presence>`,
		`<!DOCTYPE presence PUBLIC "-//IETF//DTD RFCxxxx XPIDF 1.0//EN"`,
	} {
		_, err := aa.Decode([]byte(bad + root))
		require.ErrorIs(t, err, pidf.ErrDTD, bad)
	}
}
