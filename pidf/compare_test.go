package pidf_test

import (
	"fmt"
	"slices"
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
			require.Empty(t, pidf.Diff(p, q))
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
	require.Empty(t, pidf.Diff(p, q))
	q, err = aa.Decode(body(`one &amp; three<tuple id="t"><status/>three four&lt;<x xmlns="urn:x"/></tuple><note>n</note>`))
	require.NoError(t, err)
	require.Equal(t, `[presence/text(): "one&two" -> "one&three"]`, fmt.Sprint(pidf.Diff(p, q)))
}

// Each change is a line that a log reader understands.
func TestDiff(t *testing.T) {
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
	for want, change := range map[string]func(p *pidf.Presence){
		`[presence/tuple[audio]/status/basic: "open" -> "closed"]`: func(p *pidf.Presence) { p.Tuples[0].Basic = pidf.Closed },
		`[- presence/tuple[video]/status/basic: "closed"]`:         func(p *pidf.Presence) { p.Tuples = p.Tuples[:1] },
		`[- presence/tuple[audio]/contact/@priority: "1"]`:         func(p *pidf.Presence) { p.Tuples[0].Contact.Priority = "" },
		`[presence/device[tel:1]/line/state: "idle" -> "busy"]`:    func(p *pidf.Presence) { aa.LineOf(&p.Devices[0]).State = aa.LineBusy },
		`[+ presence/device[tel:1]/line/forward: "2" + presence/device[tel:1]/line/forward/@type: "immediate"]`: func(p *pidf.Presence) {
			aa.LineOf(&p.Devices[0]).Forward = &aa.Forward{Destination: "2"}
		},
		`[+ presence/person[sip:a@b]/activities/busy - presence/person[sip:a@b]/activities/other: "available"]`: func(p *pidf.Presence) {
			p.Persons[0].Activities.Values = []pidf.Choice{{Name: "busy"}}
		},
		`[presence/person[sip:a@b]/activities/note[Eng]: "Hi" -> "Ho"]`: func(p *pidf.Presence) { p.Persons[0].Activities.Notes[0].Text = "Ho" },
		`[+ presence/person[sip:a@b]/presence/blustar/note[Eng]]`:       func(p *pidf.Presence) { aa.PresenceOf(&p.Persons[0]).BluStar.Note = &pidf.Note{Lang: "Eng"} },
		`[presence/person[sip:a@b]/presence/calendar[1]/end: "2024-01-01T00:00:00Z" -> "2024-01-01T01:00:00Z"]`: func(p *pidf.Presence) {
			aa.PresenceOf(&p.Persons[0]).Calendar[0].End = now.Add(time.Hour)
		},
		`[presence/@entity: "sip:a@b" -> "tel:1"]`: func(p *pidf.Presence) { p.Entity = "tel:1" },
		`[]`: func(p *pidf.Presence) {
			p.Tuples[0].Timestamp = now
			aa.PresenceOf(&p.Persons[0]).BluStar.Timestamp = now.Add(1)
		},
	} {
		t.Run(want, func(t *testing.T) {
			p, q := before(), before()
			change(q)
			require.Equal(t, want, fmt.Sprint(pidf.Diff(p, q)))
			require.Equal(t, want == "[]", pidf.Equal(p, q))
		})
	}
}

// Documents built alike are equal in any order, and different where Diff says so, both ways.
func TestDiffProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q := model(t), model(t)
		forth, back := pidf.Diff(p, q), pidf.Diff(q, p)
		require.Len(t, back, len(forth))
		require.Equal(t, len(forth) == 0, pidf.Equal(p, q))
		require.Empty(t, pidf.Diff(p, p))

		r, err := aa.Decode(p.Append(nil, pidf.BluStarDialect))
		require.NoError(t, err)
		slices.Reverse(r.Tuples)
		slices.Reverse(r.Persons)
		slices.Reverse(r.Notes)
		require.True(t, pidf.Equal(p, r), "%v", pidf.Diff(p, r))
	})
}
