package directory_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
)

func TestParseAddress(t *testing.T) {
	sip := func(v string) directory.Address { return directory.Address{Scheme: "sip", Value: v} }
	tel := func(v string) directory.Address { return directory.Address{Scheme: "tel", Value: v} }
	tests := []struct {
		uri  string
		want directory.Address
	}{
		// BSP-2.1-1: the document's own example.
		{"sip:peter.test@aastra.com:5060", sip("peter.test@aastra.com")},
		// BSP-2.1-2: the requirement's example.
		{"tel:200;phone-context=x", tel("200")},

		// BSP-2.1-9: case, port, parameters, headers, escapes.
		{"sip:Peter.Test@AASTRA.com", sip("peter.test@aastra.com")},
		{"SIPS:a@b", sip("a@b")},
		{"sip:a@b;transport=tcp", sip("a@b")},
		{"sip:a@b:5061;lr?subject=x", sip("a@b")},
		{"sip:a@b?subject=x", sip("a@b")},
		{"sip:a:secret@b", sip("a@b")},
		{"sip:%61lice@b", sip("alice@b")},
		{"sip:tom%20hanks@b", sip("tom hanks@b")},
		{"sip:a%40corp@b", sip("a@corp@b")},
		{"sip:%C3%89rin@b", sip("érin@b")},
		{"sip:Érin@b", sip("érin@b")},
		{"sip:judy*(ops)@b", sip("judy*(ops)@b")},
		{"sip:+14255550101;ext=101@b;user=phone", sip("+14255550101;ext=101@b")},
		{"sip:a@b.", sip("a@b")},
		{"sip:a@[2001:DB8::0:1]:5060", sip("a@[2001:db8::1]")},
		{"sip:a@192.0.2.1", sip("a@192.0.2.1")},
		{"Tom@Example.com", sip("tom@example.com")},

		// RFC 3966 §3: visual separators are "-", ".", "(" and ")".
		{"tel:+1-(425)-555.0102", tel("+14255550102")},
		{"TEL:200", tel("200")},
		{"tel:%2B1425", tel("+1425")},
		{"tel:*21#;phone-context=x", tel("*21#")},
		{"tel:7AF;phone-context=x", tel("7af")},
	}
	for _, tt := range tests {
		t.Run(tt.uri, func(t *testing.T) {
			got, err := directory.ParseAddress(tt.uri)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)

			again, err := directory.ParseAddress(got.String())
			require.NoError(t, err, got.String())
			require.Equal(t, got, again, "String is read back")
		})
	}
}

func TestParseAddressRefuses(t *testing.T) {
	for _, uri := range []string{
		"", "sip:", "tel:", "tel:+", "tel:-", "tel:;phone-context=x", "tel:1+2", "tel:0x10", "tel:1 2", "tel:12%00",
		"sip:example.com", "sip:@example.com", "sip::secret@example.com", "sip:a@", "sip:a@:5060", "sip:a@b@c",
		"sip:a@b:", "sip:a@b:0", "sip:a@b:99999", "sip:a@b:x", "sip:a@b c", "sip:a@b\r\nX: y", "sip:a\r\n@b", "sip:a%0d%0a@b", "sip:a%00@b",
		"sip:a%@b", "sip:a%4@b", "sip:a%zz@b", "sip:a%-1@b", "sip:\xff@b", "sip:%ff@b", "sip:%85@b",
		"sip:a@b..", "sip:a@.b", "sip:a@b..c", "sip:a@.", "sip:a@[::1", "sip:a@[::1]x", "sip:a@[192.0.2.1]", "sip:a@[fe80::1%25eth0]", "sip:a@héé",
		`"Tom" <sip:tom@example.com>`, "<sip:tom@example.com>", "Tom <tom@example.com>", "sip:<a>@b", " sip:a@b", "sip:a@b ",
		"mailto:tom@example.com", "http://example.com", "200", "urn:service:sos",
		"sip:" + strings.Repeat("a", 3000) + "@b", "tel:" + strings.Repeat("1", 3000),
		"sip:" + strings.Repeat("a", 513) + "@b", "sip:a@" + strings.Repeat("b", 256), "tel:" + strings.Repeat("1", 513),
	} {
		t.Run(uri[:min(len(uri), 30)], func(t *testing.T) {
			got, err := directory.ParseAddress(uri)
			require.Error(t, err)
			require.Equal(t, directory.Address{}, got)
			require.ErrorContains(t, err, "directory: ")
			require.Less(t, len(err.Error()), 300, "an error does not carry the attacker's megabytes")
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// The longest address can be printed and read back, also where each byte of it has
// to be escaped.
func TestLongestAddress(t *testing.T) {
	host := strings.Repeat("b", 255)
	for uri, want := range map[string]directory.Address{
		strings.Repeat("ü", 256) + "@" + host: {Scheme: "sip", Value: strings.Repeat("ü", 256) + "@" + host},
		"tel:" + strings.Repeat("1", 512):     {Scheme: "tel", Value: strings.Repeat("1", 512)},
	} {
		got, err := directory.ParseAddress(uri)
		require.NoError(t, err)
		require.Equal(t, want, got)
		again, err := directory.ParseAddress(got.String())
		require.NoError(t, err)
		require.Equal(t, want, again)
	}
}

func TestParseTel(t *testing.T) {
	for number, want := range map[string]string{
		"+1 (425) 555-0102":         "+14255550102",
		"2719":                      "2719",
		"tel:+14255550101;ext=101":  "+14255550101",
		"089/1234-0":                "08912340",
		"Tel:200;phone-context=x.y": "200",
	} {
		got, err := directory.ParseTel(number)
		require.NoError(t, err)
		require.Equal(t, directory.Address{Scheme: directory.SchemeTel, Value: want}, got)
	}
	for _, number := range []string{"", "tel:", "sip:200@b", "none", "+1 425 x12", strings.Repeat("1", 3000)} {
		_, err := directory.ParseTel(number)
		require.Error(t, err, number)
	}
}

func TestAddressParts(t *testing.T) {
	a, err := directory.ParseAddress("sip:a%40corp:x@Example.com")
	require.NoError(t, err)
	require.Equal(t, "example.com", a.Host())
	require.Equal(t, "sip:a%40corp@example.com", a.String())

	require.Empty(t, directory.Address{}.String())
	require.Empty(t, directory.Address{Scheme: "tel", Value: "200"}.Host())
	require.Equal(t, "tel:200", directory.Address{Scheme: "tel", Value: "200"}.String())
}

// What parses is in normal form: printed and parsed again it is the same, and so
// is the same text in another case.
func FuzzParseAddress(f *testing.F) {
	for _, uri := range []string{
		"sip:peter.test@aastra.com:5060", "tel:200;phone-context=x", "tel:+1-(425)-555.0102", "SIPS:%C3%89rin@[::1]:5061;lr?a=b",
		"tom@example.com", "sip:a%40b:pw@c.", "sip:judy*(ops)@b", "sip:a%zz@b", `"T" <sip:a@b>`, "sip:\u0130@b",
	} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		a, err := directory.ParseAddress(uri)
		if err != nil {
			require.Equal(t, directory.Address{}, a)
			return
		}
		require.Contains(t, []string{"sip", "tel"}, a.Scheme)
		require.NotEmpty(t, a.Value)
		require.False(t, strings.ContainsAny(a.Value, "\x00\r\n"))
		require.False(t, strings.ContainsAny(a.String(), "<>\" \x00\r\n"), "a bare URI")
		again, err := directory.ParseAddress(a.String())
		require.NoError(t, err)
		require.Equal(t, a, again)
	})
}

func BenchmarkParseAddress(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := directory.ParseAddress("sip:peter.test@aastra.com:5060;transport=udp"); err != nil {
			b.Fatal(err)
		}
	}
}
