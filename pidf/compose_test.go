package pidf_test

import (
	"encoding/xml"
	"os"
	"testing"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/resourcelists"
	"github.com/openblustar/blustar/pidf/rlmi"
	"github.com/openblustar/blustar/pidf/watcherinfo"
	"github.com/stretchr/testify/require"
)

// response is what somebody else's document looks like, that of HELD (RFC 5985 §6).
type response struct {
	XMLName  xml.Name      `xml:"urn:ietf:params:xml:ns:geopriv:held locationResponse"`
	Code     string        `xml:"code,attr,omitempty"`
	Presence pidf.Presence `xml:"urn:ietf:params:xml:ns:pidf presence"`
}

// A document stands inside one of encoding/xml, both ways, whatever product wrote it.
func TestInsideEncodingXML(t *testing.T) {
	for _, path := range files(t, "products/*.xml") {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		p, err := pidf.Decode(data)
		require.NoError(t, err)
		out, err := xml.Marshal(response{Code: "1", Presence: *p})
		require.NoError(t, err)
		var back response
		require.NoError(t, xml.Unmarshal(out, &back), "%s: %s", path, out)
		require.Equal(t, "1", back.Code)
		want, err := pidf.Decode(p.Append(nil, pidf.StandardDialect))
		require.NoError(t, err)
		require.Equal(t, pidf.Canonical(want), pidf.Canonical(&back.Presence), "%s: %s", path, out)
	}
}

// Prefixes that are declared outside are bound inside, and what does not end is an error.
func TestUnmarshalOutside(t *testing.T) {
	const doc = `<h:locationResponse xmlns:h="urn:ietf:params:xml:ns:geopriv:held" xmlns:p="urn:ietf:params:xml:ns:pidf" xmlns:x="urn:x">`
	type lower struct {
		Presence pidf.Presence `xml:"presence"`
	}
	var l lower
	require.NoError(t, xml.Unmarshal([]byte(doc+`<p:presence entity="sip:a@b"><p:tuple id="t" x:y="z"><p:status/><x:e>1<!-- c --></x:e></p:tuple></p:presence></h:locationResponse>`), &l))
	require.Equal(t, "sip:a@b", l.Presence.Entity)
	e, ok := l.Presence.Tuples[0].Find(pidf.Name{Space: "urn:x", Local: "e"})
	require.True(t, ok)
	require.Equal(t, "1", e.Text())
	v, _ := l.Presence.Tuples[0].Attr(pidf.Name{Space: "urn:x", Local: "y"})
	require.Equal(t, "z", v)
	require.Error(t, xml.Unmarshal([]byte(doc+`<p:presence entity="sip:a@b">`), &l))
}

// A copy shares nothing that can be changed.
func TestClone(t *testing.T) {
	for _, path := range append(files(t, "products/*.xml"), files(t, "spec/4*notify*.xml")...) {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		p, err := aa.Decode(data)
		require.NoError(t, err)
		before := string(p.Append(nil, pidf.BluStarDialect))
		c := p.Clone()
		require.Equal(t, before, string(c.Append(nil, pidf.BluStarDialect)))
		for i := range c.Tuples {
			c.Tuples[i].Basic = "changed"
			c.Tuples[i].Remove(pidf.Name{})
			if c.Tuples[i].Contact != nil {
				c.Tuples[i].Contact.URI = "changed"
			}
		}
		for i := range c.Devices {
			if line := aa.LineOf(&c.Devices[i]); line != nil {
				line.State = "changed"
			}
		}
		for i := range c.Persons {
			v := &c.Persons[i]
			if v.Activities != nil {
				for k := range v.Activities.Values {
					v.Activities.Values[k].Name = "changed"
				}
				for k := range v.Activities.Notes {
					v.Activities.Notes[k].Text = "changed"
				}
			}
			if a := aa.PresenceOf(v); a != nil && a.BluStar != nil {
				a.BluStar.Status = "changed"
			}
			v.Extensions = nil
		}
		require.Equal(t, before, string(p.Append(nil, pidf.BluStarDialect)), path)
	}
}

// Extensions can be found, replaced in place and removed.
func TestEditExtensions(t *testing.T) {
	p := roundTrip(t, body(`<tuple id="t"><status/><x:a xmlns:x="urn:x">1</x:a><x:b xmlns:x="urn:x"/><x:a xmlns:x="urn:x">2</x:a><contact>sip:a@b</contact></tuple>`))
	tuple := &p.Tuples[0]
	name := pidf.Name{Space: "urn:x", Local: "a"}
	var texts []string
	for e := range tuple.FindAll(name) {
		texts = append(texts, e.Text())
	}
	require.Equal(t, []string{"1", "2"}, texts)

	type a struct {
		XMLName xml.Name `xml:"urn:x a"`
		Value   int      `xml:",chardata"`
	}
	e, err := pidf.NewExtension(a{Value: 3})
	require.NoError(t, err)
	tuple.Replace(e)
	require.Contains(t, string(p.Append(nil, pidf.StandardDialect)), `<status/><a xmlns="urn:x">3</a><x:b xmlns:x="urn:x"/><contact>`)
	found, ok := tuple.Find(name)
	require.True(t, ok)
	var back a
	require.NoError(t, found.Unmarshal(&back))
	require.Equal(t, 3, back.Value)
	require.Equal(t, 1, tuple.Remove(name))
	require.Zero(t, tuple.Remove(name))
	require.Contains(t, string(p.Append(nil, pidf.StandardDialect)), `<status/><x:b xmlns:x="urn:x"/><contact>`)
}

// One reader tells documents apart.
func TestRead(t *testing.T) {
	all := []*pidf.Type{pidf.PresenceType(), resourcelists.Type(), rlmi.Type(), watcherinfo.Type()}
	for doc, want := range map[string]pidf.Document{
		`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@b"/>`:                                new(pidf.Presence),
		`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>`:                                 new(resourcelists.Document),
		`<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:l" version="1" fullState="true"/>`:            new(rlmi.List),
		`<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="0" state="full"></watcherinfo>`: new(watcherinfo.Document),
	} {
		got, err := pidf.Decoder{}.Read([]byte(doc), all...)
		require.NoError(t, err)
		require.IsType(t, want, got)
	}
	for _, bad := range []string{"", "<x/>", `<list xmlns="urn:x"/>`} {
		got, err := pidf.Decoder{}.Read([]byte(bad), all...)
		require.Error(t, err)
		require.Nil(t, got)
	}
}

// BSP-3-6: the charset parameter of the Content-Type counts, before what the document declares.
func TestCharset(t *testing.T) {
	latin1 := []byte("<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:a@b\"><note>caf\xE9</note></presence>")
	_, err := pidf.Decode(latin1)
	require.ErrorIs(t, err, pidf.ErrEncoding)
	p, err := pidf.Decoder{Charset: "ISO-8859-1"}.Decode(latin1)
	require.NoError(t, err)
	require.Equal(t, "café", p.Notes[0].Text)
	_, err = pidf.Decoder{Charset: "utf-8"}.Decode(append([]byte(`<?xml version="1.0" encoding="ISO-8859-1"?>`), latin1...))
	require.ErrorIs(t, err, pidf.ErrEncoding)

	text, err := pidf.UTF8(append([]byte(`<?xml version="1.0" encoding="iso-8859-1"?>`), latin1...), "")
	require.NoError(t, err)
	require.Contains(t, string(text), "<note>café</note>")
	require.NotContains(t, string(text), "<?xml")
	_, err = pidf.UTF8([]byte("<a>\xE9</a>"), "us-ascii")
	require.ErrorIs(t, err, pidf.ErrEncoding)
}
