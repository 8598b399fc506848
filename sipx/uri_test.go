package sipx_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
)

func TestParseURI(t *testing.T) {
	for in, want := range map[string]sipx.URI{
		"sip:10.10.10.10:5060":           {Scheme: "sip", Host: "10.10.10.10", Port: 5060},
		"SIP:bill@Aastra.com":            {Scheme: "sip", User: "bill", Host: "Aastra.com"},
		"sips:a:pw@example.com":          {Scheme: "sips", User: "a:pw", Host: "example.com"},
		"sip:a;b=c?d@example.com;lr?e=f": {Scheme: "sip", User: "a;b=c?d", Host: "example.com", Params: ";lr", Headers: "?e=f"},
		"sip:u@[2001:db8::1]:5070;transport=tcp": {Scheme: "sip", User: "u", Host: "[2001:db8::1]", Port: 5070,
			Params: ";transport=tcp"},
		"sip:[::1]":                  {Scheme: "sip", Host: "[::1]"},
		"tel:200;phone-context=x":    {Scheme: "tel", User: "200", Params: ";phone-context=x"},
		"tel:+49-30-200":             {Scheme: "tel", User: "+49-30-200"},
		"urn:service:sos":            {Scheme: "urn", User: "service:sos"},
		"http://www.example.com/a?b": {Scheme: "http", User: "//www.example.com/a?b"},
	} {
		got, err := sipx.ParseURI(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got)
		require.True(t, strings.EqualFold(in, got.String()), "%s is written %s", in, got)
	}
	for _, in := range []string{
		"", "sip", "sip:", ":x", "tel:", "tel:;a", "1 2:x", "sip:@example.com", "sip:a@b@c", "sip:a@", "sip:a@;lr",
		"sip:a@b:0", "sip:a@b:65536", "sip:a@b:x", "sip:a@b:", "sip:[::1", "sip:[::1]x", "sip:a b@c", "<sip:a@b>",
		"sip:a@b/c", "sip:a\"b@c", "sip:a@b\r\nX: y", "sip:a@b\x00", "sip:" + strings.Repeat("a", 1025),
	} {
		_, err := sipx.ParseURI(in)
		require.Error(t, err, in)
	}
	require.Empty(t, sipx.URI{}.String())
	require.True(t, sipx.URI{}.IsZero())
}

func TestURIParam(t *testing.T) {
	u, err := sipx.ParseURI("sip:a@b;Transport=TCP;lr;y=z")
	require.NoError(t, err)
	for name, want := range map[string]string{"transport": "TCP", "lr": "", "y": "z"} {
		got, ok := u.Param(name)
		require.True(t, ok, name)
		require.Equal(t, want, got)
	}
	_, ok := u.Param("z")
	require.False(t, ok)
}

func TestParseAddress(t *testing.T) {
	uri := func(s string) sipx.URI {
		u, err := sipx.ParseURI(s)
		require.NoError(t, err)
		return u
	}
	for in, want := range map[string]sipx.Address{
		"<sip:67251@aastra.com:5060>;tag=1ec207a9de": {URI: uri("sip:67251@aastra.com:5060"), Params: ";tag=1ec207a9de"},
		// RFC 3261 §20: without brackets the parameters are the field's.
		"sip:a@example.com;tag=1":         {URI: uri("sip:a@example.com"), Params: ";tag=1"},
		"sip:a;b@example.com ; tag = 1":   {URI: uri("sip:a;b@example.com"), Params: "; tag = 1"},
		"sip:example.com;lr":              {URI: uri("sip:example.com"), Params: ";lr"},
		"<sip:a@example.com;lr>":          {URI: uri("sip:a@example.com;lr")},
		`"A \"B\" \\C" <sip:a@b>;x="y;z"`: {Display: `A "B" \C`, URI: uri("sip:a@b"), Params: `;x="y;z"`},
		"Alice B <sip:a@b>":               {Display: "Alice B", URI: uri("sip:a@b")},
		`"<sip:fake@b>" <sip:a@b>`:        {Display: "<sip:fake@b>", URI: uri("sip:a@b")},
		" <tel:200> ":                     {URI: uri("tel:200")},
	} {
		got, err := sipx.ParseAddress(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
		again, err := sipx.ParseAddress(got.String())
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	for _, in := range []string{"", "<>", "<sip:a@b", "<sip:a@b>x", `"A <sip:a@b>`, "Alice", "<sip:a b@c>"} {
		_, err := sipx.ParseAddress(in)
		require.Error(t, err, in)
	}
}

func TestAddressTag(t *testing.T) {
	a, err := sipx.ParseAddress(`<sip:a@b>;x;Tag=1;tag=2`)
	require.NoError(t, err)
	require.Equal(t, "1", a.Tag())
	require.Equal(t, "<sip:a@b>;tag=3", a.WithTag("3").String())
	require.Equal(t, "1", a.Tag(), "the original is not changed")
	_, ok := a.Param("y")
	require.False(t, ok)
}

func TestParseAddresses(t *testing.T) {
	list, err := sipx.ParseAddresses(`"a, b" <sip:a@b;x=1,2>, sip:c@d;lr,,<sip:e@f>`, 3)
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Equal(t, "a, b", list[0].Display)
	_, err = sipx.ParseAddresses("<sip:a@b>,<sip:a@b>", 1)
	require.Error(t, err)
	_, err = sipx.ParseAddresses("<sip:a@b>,<x>", 2)
	require.Error(t, err)
}

// What may be a password gets neither into a log nor into an error (BSP-2.10-7).
func TestPasswordsOfURIs(t *testing.T) {
	u, err := sipx.ParseURI("sip:tom:secret@example.com:5060;lr")
	require.NoError(t, err)
	require.Equal(t, "sip:tom@example.com:5060;lr", u.LogValue().String())
	require.Equal(t, "sip:tom:secret@example.com:5060;lr", u.String())
	for _, bad := range []string{"sip:tom:secret@example.com:0", "sip:tom:secret@", "sip:tom:secret@a b", "sip:tom:secret@x@y"} {
		_, err := sipx.ParseURI(bad)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err = sipx.ParseAddress("<sip:tom:secret@example.com")
	require.NotContains(t, err.Error(), "secret")
}

// RFC 3261 §25.1: in quoted strings and comments control characters may stand
// behind a backslash; elsewhere they may not.
func TestControlCharacters(t *testing.T) {
	message := func(field string) []byte {
		return []byte("OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nFrom: <sip:a>\r\nTo: <sip:a>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n" + field + "\r\n\r\n")
	}
	for _, good := range []string{"A: \"\\\x01\"", "A: (\\\x01 (\\\x7f))", "A: \"\\\"\\\x00\" b"} {
		_, err := sipx.ParseRequest(message(good))
		require.NoError(t, err, "%q", good)
	}
	for _, bad := range []string{"A: \x01", "A: \"\x01\"", "A: \\\x01", "A: \"a\" \\\x01", "A: (a) \\\x01", "A: \"\\\\\x01\"", "A: \"\\\r\""} {
		_, err := sipx.ParseRequest(message(bad))
		require.Error(t, err, "%q", bad)
	}
}
