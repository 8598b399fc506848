package pidf_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/resourcelists"
	"github.com/stretchr/testify/require"
)

// BSP-3-1, BSP-1.3-1: each document of the interface description decodes as printed and is written as shown.
func TestSpecDocuments(t *testing.T) {
	for _, name := range []string{"3-presence", "3-presence-printed", "4.3-publish", "4.4-notify-publish", "4.4-notify-calendar", "4.4-notify-line"} {
		t.Run(name, func(t *testing.T) {
			p := roundTrip(t, read(t, "spec", name+".xml"))
			golden(t, name+".blustar.xml", p.Append(nil, pidf.BluStarDialect))
			golden(t, name+".standard.xml", p.Append(nil, pidf.StandardDialect))
			require.NoError(t, p.Validate(pidf.BluStarDialect))
		})
	}
}

// BSP-3-1: the resource lists of §2.10 and §4.2.
func TestSpecResourceLists(t *testing.T) {
	for _, name := range []string{"2.10-subscribe-1", "2.10-subscribe-2", "4.2-subscribe"} {
		t.Run(name, func(t *testing.T) {
			r, err := resourcelists.Decode(pidf.Decoder{}, read(t, "spec", name+".xml"))
			require.NoError(t, err)
			require.Empty(t, r.Warnings)
			golden(t, name+".xml", r.AppendXML(nil))
			require.Len(t, slices.Collect(r.All()), 3)
		})
	}
}

// inDocument puts a fragment of the interface description where it belongs, with its prefixes declared.
func inDocument(fragment []byte, outer ...string) []byte {
	var b strings.Builder
	b.WriteString(`<presence xmlns="` + pidf.NSPIDF + `" xmlns:dm="` + pidf.NSDataModel + `" xmlns:rpid="` + pidf.NSRPID +
		`" xmlns:aa="` + aa.Namespace + `" entity="sip:a@example.com">`)
	for _, tag := range outer {
		b.WriteString("<" + tag + ">")
	}
	b.Write(fragment)
	for _, tag := range slices.Backward(outer) {
		name, _, _ := strings.Cut(tag, " ")
		b.WriteString("</" + name + ">")
	}
	b.WriteString("</presence>")
	return []byte(b.String())
}

// BSP-3-1: the fragments of §1.3, §3.1 and §3.2.
func TestSpecFragments(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		require.NoError(t, err)
		return v
	}
	person := `dm:person id="p"`
	blustar := func(p *pidf.Presence) *aa.Presence {
		b := aa.PresenceOf(&p.Persons[0])
		for i := range b.Calendar {
			b.Calendar[i].Extra = pidf.Extra{} // comments
		}
		if b.BluStar != nil {
			b.BluStar.Extra = pidf.Extra{}
		}
		if b.ExternalUC != nil {
			b.ExternalUC.Extra = pidf.Extra{}
		}
		return b
	}

	p := roundTrip(t, inDocument(read(t, "spec", "1.3-presence.fragment"), person))
	require.Equal(t, &aa.Presence{
		BluStar: &aa.BluStar{Status: aa.StatusAvailable, Note: &pidf.Note{Lang: "Eng", Text: "I'm here"}, Timestamp: at("2013-07-11T11:49:29Z")},
		Calendar: []aa.Appointment{{ID: "123456789", State: aa.CalendarBusy, Subject: "Blustar Study", AllDay: true, Private: true,
			From: at("2013-07-11T10:00:00Z"), End: at("2013-07-11T12:00:00Z"), Timestamp: at("2013-07-11T10:10:00Z")}},
	}, blustar(p))

	p = roundTrip(t, inDocument(read(t, "spec", "3.1-device.fragment")))
	aa.LineOf(&p.Devices[0]).Extra = pidf.Extra{}
	require.Equal(t, "tel:7895", p.Devices[0].ID)
	require.Equal(t, &aa.Line{DN: "7895", State: aa.LineIdle, Forward: &aa.Forward{Type: "immediate", Destination: "6894"}}, aa.LineOf(&p.Devices[0]))

	p = roundTrip(t, inDocument(read(t, "spec", "3.2-blustar.fragment"), person, "aa:presence"))
	require.Equal(t, &aa.BluStar{Status: aa.StatusAvailable, Note: &pidf.Note{Lang: "ENG"}, Timestamp: at("2011-04-04T16:49:29Z")}, blustar(p).BluStar)

	p = roundTrip(t, inDocument(read(t, "spec", "3.2-calendar.fragment"), person, "aa:presence"))
	require.Equal(t, "Blustar Study", blustar(p).Calendar[0].Subject)

	p = roundTrip(t, inDocument(read(t, "spec", "3.2-externaluc.fragment"), person, "aa:presence"))
	require.Equal(t, &aa.ExternalUC{Status: aa.StatusAvailable, FreeText: "Working on BluStar 3.2", FwdDestination: "sip:someoneelse@example.com",
		TelephoneEvent: "on-the-phone", Timestamp: at("2011-04-04T16:27:14Z")}, blustar(p).ExternalUC)
}

// §4.4: what the typed model says about a NOTIFY.
func TestSpecNotify(t *testing.T) {
	p, err := aa.Decode(read(t, "spec", "4.4-notify-calendar.xml"))
	require.NoError(t, err)
	require.Equal(t, "sip:tom.hanks@astra.com", p.Entity)
	require.Equal(t, []string{"global service", "audio", "video", "message"}, []string{p.Tuples[0].ID, p.Tuples[1].ID, p.Tuples[2].ID, p.Tuples[3].ID})
	require.Equal(t, pidf.Closed, p.Tuples[2].Basic)
	require.Equal(t, "tel:2719", p.Devices[0].ID)
	require.Equal(t, aa.Line{DN: "2719", State: aa.LineIdle}, *aa.LineOf(&p.Devices[0]))
	require.Equal(t, time.Date(2012, 12, 10, 13, 30, 8, 0, time.UTC), p.Devices[0].Timestamp) // BSP-3-4: "… 08Z " as printed
	require.Equal(t, pidf.Activities{Notes: []pidf.Note{{Lang: "Eng", Text: "In a meeting"}}, Values: []pidf.Choice{{Name: "busy"}}}, *p.Persons[0].Activities)
	require.Equal(t, pidf.Note{Lang: "Eng"}, *aa.PresenceOf(&p.Persons[0]).BluStar.Note)
	require.Equal(t, "AQYAAAADYRyhCAAAAAVZvhcAAAAA", aa.PresenceOf(&p.Persons[0]).Calendar[0].ID)
	// BSP-3-2: §4.4 spells the namespace in its own way.
	require.Len(t, p.Warnings, 1)
	require.Equal(t, `line 2, column 1, in <presence>: namespace http://www.astra.com/presence/blustar/2011 taken for the one that it resembles`, p.Warnings[0].String())
}
