package pidf_test

import (
	"testing"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/stretchr/testify/require"
)

// The Standard dialect: unique NCNames, and a deviceID for each device.
func TestStandardDialect(t *testing.T) {
	p := &pidf.Presence{
		Entity:  "sip:a@b",
		Tuples:  []pidf.Tuple{{ID: "global service"}, {ID: "global-service"}, {ID: "200"}, {ID: ""}, {ID: ""}, {ID: "a:b"}, {ID: "été"}, {ID: "-"}},
		Devices: []pidf.Device{{ID: "tel:2719"}, {ID: "tel-2719", DeviceID: "urn:x:1"}, {}},
		Persons: []pidf.Person{{ID: "sip:a@b"}, {ID: "person", Activities: &pidf.Activities{ID: "200"}}},
	}
	q, err := aa.Decode(p.Append(nil, pidf.StandardDialect))
	require.NoError(t, err)
	var ids []string
	for _, t := range q.Tuples {
		ids = append(ids, t.ID)
	}
	for _, d := range q.Devices {
		ids = append(ids, d.ID, d.DeviceID)
	}
	for _, v := range q.Persons {
		ids = append(ids, v.ID)
	}
	require.Equal(t, []string{"global-service", "global-service-2", "_200", "tuple", "tuple-2", "a-b", "été", "_-",
		"tel-2719", "tel:2719", "tel-2719-2", "urn:x:1", "device", "urn:device:unknown", "person", "person-2"}, ids)
	require.Equal(t, "_200-2", q.Persons[1].Activities.ID)
	require.NoError(t, q.Validate(pidf.StandardDialect))
	require.Equal(t, "blustar standard", pidf.BluStarDialect.String()+" "+pidf.StandardDialect.String())
}

// BSP-3-4: times go out in UTC with seconds, whatever went in.
func TestTimesOut(t *testing.T) {
	at := time.Date(2024, 6, 1, 14, 0, 0, 999_999_999, time.FixedZone("", 2*3600))
	p := &pidf.Presence{Tuples: []pidf.Tuple{{ID: "a", Timestamp: at}}}
	require.Contains(t, string(p.Append(nil, pidf.BluStarDialect)), "<timestamp>2024-06-01T12:00:00Z</timestamp>")
}

// Mandatory elements of aa.xsd are written even where a host leaves them empty.
func TestMandatory(t *testing.T) {
	p := &pidf.Presence{Persons: []pidf.Person{{ID: "p", Extra: aa.Extra(&aa.Presence{
		BluStar: new(aa.BluStar), A400: new(aa.A400), ExternalUC: new(aa.ExternalUC), Calendar: make([]aa.Appointment, 1)})}},
		Devices: []pidf.Device{{ID: "d", Extra: aa.Extra(&aa.Line{Forward: new(aa.Forward)})}}}
	out := string(p.Append(nil, pidf.BluStarDialect))
	for _, want := range []string{
		`<aa:blustar><aa:status>unknown</aa:status></aa:blustar>`,
		`<aa:A400><rpid:activities/></aa:A400>`,
		`<aa:externalUC><aa:status>unknown</aa:status><aa:freeText/><aa:fwdDestination/><aa:telephoneEvent/></aa:externalUC>`,
		`<aa:calendar><aa:id/><aa:state>unknown</aa:state><aa:subject/><aa:location/></aa:calendar>`,
		`<aa:line><aa:DN/><aa:state>unknown</aa:state><aa:forward type="immediate"/></aa:line>`,
	} {
		require.Contains(t, out, want)
	}
}

// Attributes of a host find a prefix, or are left out where they would make the document ill-formed.
func TestHostAttributes(t *testing.T) {
	attr := func(space, local string) pidf.Attr {
		return pidf.Attr{Name: pidf.Name{Space: space, Local: local}, Value: "v"}
	}
	p := &pidf.Presence{Tuples: []pidf.Tuple{{ID: "a", Extra: pidf.Extra{Attrs: []pidf.Attr{
		attr("urn:x", "a"), attr("urn:x", "b"), attr("urn:y", "a"), attr(pidf.NSRPID, "c"), attr("http://www.w3.org/XML/1998/namespace", "space"), attr("", "plain"), attr("", "no name"),
		attr("http://www.w3.org/2000/xmlns/", "dm"), attr("", "xmlns"), attr("", "id"), attr("", "plain"), attr("urn:x", "a")}}}}}
	q, err := aa.Decode(p.Append(nil, pidf.BluStarDialect))
	require.NoError(t, err)
	var names []string
	for _, a := range q.Tuples[0].Attrs {
		names = append(names, a.Name.String())
	}
	require.Equal(t, []string{"{urn:x}a", "{urn:x}b", "{urn:y}a", "{urn:ietf:params:xml:ns:pidf:rpid}c", "{http://www.w3.org/XML/1998/namespace}space", "plain"}, names)
}

// BSP-4.3-3: the empty note, which deletes, is not the same as none.
func TestEmptyNote(t *testing.T) {
	p := &pidf.Presence{Persons: []pidf.Person{{ID: "p", Extra: aa.Extra(&aa.Presence{BluStar: &aa.BluStar{Status: aa.StatusBusy}})}}}
	require.NotContains(t, string(p.Append(nil, pidf.BluStarDialect)), "note")
	aa.PresenceOf(&p.Persons[0]).BluStar.Note = &pidf.Note{Lang: "Eng"}
	out := p.Append(nil, pidf.BluStarDialect)
	require.Contains(t, string(out), `<aa:note xml:lang="Eng"/>`)
	q, err := aa.Decode(out)
	require.NoError(t, err)
	require.Equal(t, &pidf.Note{Lang: "Eng"}, aa.PresenceOf(&q.Persons[0]).BluStar.Note)
}
