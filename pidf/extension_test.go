package pidf_test

import (
	"strings"
	"testing"

	"github.com/openblustar/blustar/pidf"
	"github.com/stretchr/testify/require"
)

// Extensions can be reached, read as text, changed and added.
func TestExtensions(t *testing.T) {
	p, err := pidf.Decode(read(t, "products", "kamailio-two-devices.xml"))
	require.NoError(t, err)
	icon, ok := p.Persons[0].Find(pidf.Name{Space: pidf.NSCIPID, Local: "icon"})
	require.True(t, ok)
	require.Equal(t, "http://example.com/bob.png?a=1&b=2", icon.Text())
	require.Equal(t, pidf.Name{Space: pidf.NSCIPID, Local: "icon"}, icon.Name())
	_, ok = p.Persons[0].Find(pidf.Name{Local: "icon"})
	require.False(t, ok)

	edited, err := pidf.ParseExtension(strings.Replace(icon.XML(), "bob", "new", 1))
	require.NoError(t, err)
	p.Persons[0].Extensions = []pidf.Extension{edited}
	q := roundTrip(t, p.Append(nil, pidf.BluStarDialect))
	icon, ok = q.Persons[0].Find(pidf.Name{Space: pidf.NSCIPID, Local: "icon"})
	require.True(t, ok)
	require.Equal(t, "http://example.com/new.png?a=1&b=2", icon.Text())
}

// An extension carries the declarations that it needs, so that it can stand alone: of the names in it, and of names
// that its values mention.
func TestExtensionStandsAlone(t *testing.T) {
	p, err := pidf.Decode([]byte(`<q:presence xmlns:q="urn:ietf:params:xml:ns:pidf" xmlns:a="urn:a" xmlns:b="urn:b" xmlns:c="urn:c" xmlns="urn:default" xmlns:unused="urn:u" entity="sip:a@b">` +
		`<a:x b:y="c:value"><z/></a:x><z xmlns=""/></q:presence>`))
	require.NoError(t, err)
	require.Equal(t, `<a:x xmlns="urn:default" xmlns:c="urn:c" xmlns:b="urn:b" xmlns:a="urn:a" b:y="c:value"><z/></a:x>`, p.Extensions[0].XML())
	require.Equal(t, `<z xmlns=""/>`, p.Extensions[1].XML())
	for _, e := range p.Extensions {
		again, err := pidf.ParseExtension(e.XML())
		require.NoError(t, err)
		require.Equal(t, e.XML(), again.XML())
	}
}

func TestParseExtension(t *testing.T) {
	for _, bad := range []string{"", "text", "<a/><b/>", "<a>", "<x:a/>", "<a/>text", "<!-- none -->", `<!DOCTYPE a><a/>`, "<a>\x00</a>"} {
		_, err := pidf.ParseExtension(bad)
		require.Error(t, err, bad)
	}
	e, err := pidf.ParseExtension(` <!-- dropped --> <a xmlns="urn:a">b<c>d</c></a> `)
	require.NoError(t, err)
	require.Equal(t, `<a xmlns="urn:a">b<c>d</c></a>`, e.XML())
	require.Equal(t, "bd", e.Text())
}

// Where a schema has a place for extensions, that is where they go, added ones behind the others; comments stay put.
func TestExtensionPlaces(t *testing.T) {
	p, err := pidf.Decode(body(`<tuple id="t"><x:1st xmlns:x="urn:x"/></tuple>`))
	require.Nil(t, p)
	require.Error(t, err, "no name starts with a digit")

	p, err = pidf.Decode(body(`<x xmlns="urn:1"/><tuple id="t"><!-- a --><x xmlns="urn:2"/><status/><!-- b --><contact>c</contact><x xmlns="urn:3"/></tuple>`))
	require.NoError(t, err)
	e, err := pidf.ParseExtension(`<x xmlns="urn:4"/>`)
	require.NoError(t, err)
	p.Tuples[0].Extensions = append(p.Tuples[0].Extensions, e)
	require.Contains(t, string(p.Append(nil, pidf.BluStarDialect)), `><tuple id="t"><!-- a --><status/><x xmlns="urn:2"/><!-- b --><x xmlns="urn:3"/><x xmlns="urn:4"/><contact>c</contact></tuple><x xmlns="urn:1"/></presence>`)
}
