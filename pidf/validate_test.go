package pidf_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/stretchr/testify/require"
)

// BSP-4.3-2, BSP-5.1-1: Validate names the offender and the rule.
func TestValidate(t *testing.T) {
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	person := func(v pidf.Person) *pidf.Presence {
		v.ID = "p"
		return &pidf.Presence{Entity: "sip:a@b", Persons: []pidf.Person{v}}
	}
	blustar := func(v aa.Presence) *pidf.Presence { return person(pidf.Person{Extra: aa.Extra(&v)}) }
	tuple := func(v pidf.Tuple) *pidf.Presence {
		return &pidf.Presence{Entity: "sip:a@b", Tuples: []pidf.Tuple{v}}
	}
	for name, test := range map[string]struct {
		doc  *pidf.Presence
		want string // empty where the document is fine
	}{
		"fine":             {tuple(pidf.Tuple{ID: "global service", Basic: pidf.Open}), ""},
		"entity":           {&pidf.Presence{}, "presence/@entity: missing"},
		"tuple id":         {tuple(pidf.Tuple{}), "presence/tuple/@id: missing"},
		"basic":            {tuple(pidf.Tuple{ID: "a", Basic: "ajar"}), `presence/tuple[a]/status/basic: "ajar" is not one of open, closed`},
		"priority":         {tuple(pidf.Tuple{ID: "a", Contact: &pidf.Contact{Priority: "high"}}), `presence/tuple[a]/contact/@priority: "high" is not from 0 to 1 with at most three decimals`},
		"language":         {tuple(pidf.Tuple{ID: "a", Notes: []pidf.Note{{Lang: "not a language"}}}), `presence/tuple[a]/note/@xml:lang: "not a language" is no language`},
		"device id":        {&pidf.Presence{Entity: "sip:a@b", Devices: []pidf.Device{{}}}, "presence/device/@id: missing"},
		"line state":       {&pidf.Presence{Entity: "sip:a@b", Devices: []pidf.Device{{ID: "d", Extra: aa.Extra(&aa.Line{DN: "1", State: "off"})}}}, `presence/device[d]/line/state: "off" is not one of idle, ringing, busy, unknown`},
		"forward":          {&pidf.Presence{Entity: "sip:a@b", Devices: []pidf.Device{{ID: "d", Extra: aa.Extra(&aa.Line{DN: "1", State: "idle", Forward: &aa.Forward{Type: "later"}})}}}, `presence/device[d]/line/forward/@type: "later" is not one of immediate`},
		"status missing":   {blustar(aa.Presence{BluStar: &aa.BluStar{}}), "presence/person[p]/presence/blustar/status: missing"},
		"status":           {blustar(aa.Presence{BluStar: &aa.BluStar{Status: "gone"}}), `presence/person[p]/presence/blustar/status: "gone" is not one of other, available, busy, away, do not disturb, signed out, inactive, be right back, unknown`},
		"status other":     {blustar(aa.Presence{BluStar: &aa.BluStar{Status: aa.StatusOther}}), ""},
		"external other":   {blustar(aa.Presence{ExternalUC: &aa.ExternalUC{Status: aa.StatusOther}}), `presence/person[p]/presence/externalUC/status: "other" is not one of available, busy, away, do not disturb, signed out, inactive, be right back, unknown`},
		"A400":             {blustar(aa.Presence{A400: &aa.A400{}}), "presence/person[p]/presence/A400/activities: missing"},
		"appointment":      {blustar(aa.Presence{Calendar: []aa.Appointment{{ID: "7", State: "maybe", From: now}}}), `presence/person[p]/presence/calendar[7]/state: "maybe" is not one of free, tentative, busy, out of office, unknown; presence/person[p]/presence/calendar[7]/end: missing`},
		"activity":         {person(pidf.Person{Activities: &pidf.Activities{Values: []pidf.Choice{{Name: "napping"}}}}), "presence/person[p]/activities/napping: unknown value"},
		"activity content": {person(pidf.Person{Activities: &pidf.Activities{Values: []pidf.Choice{{Name: "busy", Text: "very"}}}}), "presence/person[p]/activities/busy: has content"},
		"unknown and more": {person(pidf.Person{Mood: &pidf.Mood{Values: []pidf.Choice{{Name: "unknown"}, {Name: "sad"}}}}), "presence/person[p]/mood/unknown: not alone"},
		"place-is":         {person(pidf.Person{PlaceIs: &pidf.PlaceIs{Audio: &pidf.AudioPlace{Values: []pidf.Choice{{Name: "loud"}}}}}), `presence/person[p]/place-is/audio/loud: unknown value`},
		"user-input":       {person(pidf.Person{UserInput: &pidf.UserInput{State: "typing", IdleThreshold: -1}}), `presence/person[p]/user-input/@idle-threshold: -1 is not positive; presence/person[p]/user-input: "typing" is not one of active, idle`},
		"sphere":           {person(pidf.Person{Sphere: &pidf.Sphere{Values: []pidf.Choice{{Name: "golf"}}}}), "presence/person[p]/sphere/golf: unknown value"},
		"many":             {&pidf.Presence{Tuples: make([]pidf.Tuple, 6)}, "presence/@entity: missing; presence/tuple/@id: missing; presence/tuple/@id: missing; presence/tuple/@id: missing; presence/tuple/@id: missing; and 2 more"},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.doc.Validate(pidf.BluStarDialect)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, "pidf: invalid document: "+test.want)
			var violations pidf.Violations
			require.ErrorAs(t, err, &violations)
			require.NotEmpty(t, violations[0].Path)
		})
	}
}

// What the Standard dialect demands beyond that; encoding in that dialect mends the first three.
func TestValidateStandard(t *testing.T) {
	p, err := aa.Decode(body(`<tuple id="global service"><status/></tuple><tuple id="a"><status/></tuple><tuple id="a"><status/></tuple><dm:device id="d"/><own/>stray<x xmlns=""/>`))
	require.NoError(t, err)
	require.NoError(t, p.Validate(pidf.BluStarDialect))
	var violations pidf.Violations
	require.ErrorAs(t, p.Validate(pidf.StandardDialect), &violations)
	require.Equal(t, pidf.Violations{
		{Path: "presence/tuple[global service]/@id", Rule: `"global service" is no NCName`},
		{Path: "presence/tuple[a]/@id", Rule: `"a" is not unique`},
		{Path: "presence/device[d]/deviceID", Rule: "missing"},
		{Path: "presence/own", Rule: "unknown element"},
		{Path: "presence/text()", Rule: "text between elements"},
		{Path: "presence/x", Rule: "element without a namespace"},
	}, violations)
	q, err := aa.Decode(p.Append(nil, pidf.StandardDialect))
	require.NoError(t, err)
	require.ErrorAs(t, q.Validate(pidf.StandardDialect), &violations)
	require.Len(t, violations, 3)
}

// Validate agrees with the schemas about documents that were read.
func TestValidateRead(t *testing.T) {
	cases := map[string]struct{ inner, want string }{
		"unknown attribute":            {`<tuple id="t" x="1"><status/></tuple>`, "presence/tuple[t]/@x: unknown attribute"},
		"of a leaf":                    {`<tuple id="t"><status><basic x="1">open</basic></status></tuple>`, "presence/tuple[t]/status/basic/@x: unknown attribute"},
		"second status":                {`<tuple id="t"><status/><status/></tuple>`, "presence/tuple[t]/status: one too many"},
		"second contact":               {`<tuple id="t"><status/><contact>sip:a</contact><contact>sip:b</contact></tuple>`, "presence/tuple[t]/contact: one too many"},
		"from":                         {`<dm:person id="p"><rpid:mood from="soon"><rpid:sad/></rpid:mood></dm:person>`, `presence/person[p]/mood/@from: "soon" is not allowed`},
		"until":                        {`<dm:person id="p"><rpid:mood until=""><rpid:sad/></rpid:mood></dm:person>`, `presence/person[p]/mood/@until: "" is not allowed`},
		"no integer":                   {`<dm:person id="p"><rpid:time-offset>1.5</rpid:time-offset></dm:person>`, "presence/person[p]/time-offset: unreadable value"},
		"an integer that is too large": {`<dm:person id="p"><rpid:time-offset>99999999999999999999</rpid:time-offset></dm:person>`, ""},
		"an element in a text":         {`<dm:person id="p"><rpid:status-icon>http://a<x xmlns="urn:x"/></rpid:status-icon></dm:person>`, "presence/person[p]/status-icon: unreadable value"},
		"zero threshold":               {`<dm:person id="p"><rpid:user-input idle-threshold="0">idle</rpid:user-input></dm:person>`, `presence/person[p]/user-input/@idle-threshold: "0" is not allowed`},
		"a large threshold":            {`<dm:person id="p"><rpid:user-input idle-threshold="99999999999999999999">idle</rpid:user-input></dm:person>`, ""},
		"a time of long ago":           {`<tuple id="t"><status/><timestamp>-0044-03-15T00:00:00Z</timestamp></tuple>`, ""},
		"language with spaces":         {`<note xml:lang=" en ">n</note>`, ""},
		"attribute of XML Schema":      {`<dm:person id="p" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:x x.xsd"/>`, ""},
	}
	for name, test := range cases {
		p, err := aa.Decode(body(test.inner))
		require.NoError(t, err)
		err = p.Validate(pidf.StandardDialect)
		if test.want == "" {
			require.NoError(t, err, name)
		} else {
			require.EqualError(t, err, "pidf: invalid document: "+test.want, name)
		}
	}
	empty, err := aa.Decode([]byte(`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity=""/>`))
	require.NoError(t, err)
	require.NoError(t, empty.Validate(pidf.StandardDialect))

	v := newValidator(t)
	names, documents := slices.Sorted(maps.Keys(cases)), [][]byte(nil)
	for _, name := range names {
		documents = append(documents, body(cases[name].inner))
	}
	valid, _, err := v.verdicts("strict.xsd", documents)
	require.NoError(t, err)
	for i, name := range names {
		require.Equal(t, cases[name].want == "", valid[i], name)
	}
}
