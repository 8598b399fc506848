package related_test

import (
	"net/textproto"
	"os"
	"strings"
	"testing"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/related"
	"github.com/stretchr/testify/require"
)

// small are limits that a fuzzer reaches.
var small = pidf.Decoder{Limits: pidf.Limits{Bytes: 1 << 14, Depth: 12, Elements: 300, Attributes: 12}}

func notify(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/notify.mime")
	require.NoError(t, err)
	return data
}

// RFC 4662 §5.1: multipart/related, its root first or wherever start says.
func TestDecode(t *testing.T) {
	const contentType = `multipart/related;type="application/rlmi+xml";start="<a@b>";boundary="x"`
	data := notify(t)
	r, err := related.Decode(pidf.Decoder{}, contentType, data)
	require.NoError(t, err)
	require.Equal(t, "a@b", r.Start)
	require.Len(t, r.Parts, 1)
	part, ok := r.Part(r.List.Resources[0].Instances[0].CID)
	require.True(t, ok)
	p, err := pidf.Decode(part.Body)
	require.NoError(t, err)
	require.Equal(t, "sip:bob@vancouver.example.com", p.Entity)
	_, ok = r.Part("nobody")
	require.False(t, ok)

	body, written := r.Append([]byte("before "))
	require.Equal(t, "before --", string(body[:9]))
	require.NotContains(t, strings.ReplaceAll(string(body[7:]), "\r\n", ""), "\r")
	again, err := related.Decode(pidf.Decoder{}, written, body[7:])
	require.NoError(t, err)
	require.Equal(t, r.Parts, again.Parts)
	require.Equal(t, r.List.AppendXML(nil), again.List.AppendXML(nil))
	repeated, _ := again.Append(nil)
	require.Equal(t, string(body[7:]), string(repeated), "equal messages are equal bytes")

	// What a host puts into identifiers cannot end a header.
	r.Parts[0].ID = "x>\r\nEvil: 1"
	body, written = r.Append(nil)
	require.NotContains(t, string(body), "\r\nEvil")
	_, err = related.Decode(pidf.Decoder{}, written, body)
	require.NoError(t, err)
}

func TestRefused(t *testing.T) {
	good := string(notify(t))
	for name, test := range map[string]struct{ contentType, body string }{
		"other type":     {"multipart/mixed;boundary=x", good},
		"no boundary":    {"multipart/related", good},
		"no type":        {"", good},
		"other boundary": {"multipart/related;boundary=y", good},
		"no such start":  {`multipart/related;start="<nobody>";boundary=x`, good},
		"other root":     {`multipart/related;start="<bUZBsM@pres.vancouver.example.com>";boundary=x`, good},
		"cut":            {"multipart/related;boundary=x", good[:200]},
		"nothing":        {"multipart/related;boundary=x", ""},
		"no end":         {"multipart/related;boundary=x", strings.Replace(good, "--x--", "", 1)},
		"no header":      {"multipart/related;boundary=x", "--x\r\nnothing like it\r\n\r\n--x--"},
		"long header":    {"multipart/related;boundary=x", "--x\r\nA: b\r\n" + strings.Repeat(" c\r\n", 100_000) + "\r\n--x--"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := related.Decode(pidf.Decoder{}, test.contentType, []byte(test.body))
			require.ErrorIs(t, err, related.ErrMessage)
		})
	}
	_, err := related.Decode(pidf.Decoder{Limits: pidf.Limits{Bytes: 100}}, "multipart/related;boundary=x", []byte(good))
	require.ErrorIs(t, err, pidf.ErrTooLarge)
	_, err = related.Decode(pidf.Decoder{}, "multipart/related;boundary=x", []byte(strings.Replace(good, "</list>", "", 1)))
	require.ErrorIs(t, err, pidf.ErrSyntax)
	_, err = related.Decode(pidf.Decoder{}, "multipart/related;boundary=x", []byte(strings.Repeat("--x\r\n\r\n\r\n", 10_001)+"--x--\r\n"))
	require.ErrorIs(t, err, pidf.ErrTooMany)
}

// Parts in other transfer encodings.
func TestEncodings(t *testing.T) {
	rlmi := `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:a@b" version="3" fullState="0"/>`
	message := "--x\r\nContent-Type: application/rlmi+xml\r\n\r\n" + rlmi +
		"\r\n--x\r\nContent-Type: text/plain\r\nContent-ID: <b>\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=" +
		"\r\n--x\r\nContent-Type: text/plain\r\nContent-ID: <q>\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\r\nh=65llo\r\n--x--\r\n"
	r, err := related.Decode(pidf.Decoder{}, "Multipart/Related; boundary=x", []byte(message))
	require.NoError(t, err)
	require.Equal(t, uint32(3), r.List.Version)
	require.False(t, r.List.FullState)
	require.Equal(t, []related.Part{{ID: "b", Type: "text/plain", Body: []byte("hello")}, {ID: "q", Type: "text/plain", Body: []byte("hello")}}, r.Parts)
}

// Messages as servers send them, more or less after RFC 2046.
func TestProducts(t *testing.T) {
	const rlmi = `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:a@b" version="3" fullState="true"/>`
	const text = "state of --xylophone"
	want := []related.Part{{ID: "c", Type: "text/plain", Body: []byte(text)}}
	for name, test := range map[string]struct{ contentType, body string }{
		"type without quotes": {
			`Multipart/Related ; type=application/rlmi+xml; Boundary=x;`,
			"--x\r\nContent-Type: application/rlmi+xml\r\n\r\n" + rlmi + "\r\n--x\r\nContent-ID: <c>\r\nContent-Type: text/plain\r\n\r\n" + text + "\r\n--x--",
		},
		"space around equals signs": {
			`multipart/related;type = "application/rlmi+xml";start= "<r;\"1\">";boundary = "x"`,
			"--x\nContent-ID:<c>\nContent-Type:text/plain\n\n" + text + "\n--x  \nContent-Type: Application/RLMI+xml;charset=UTF-8\nContent-ID: <r;\"1\">\n\n" + rlmi + "\n--x-- \n",
		},
		"delimiters at the end of a line": {
			`multipart/related;boundary="x"`,
			"--x\r\nContent-Type: application/rlmi+xml\r\n\r\n" + rlmi + "--x\r\nContent-Type: text/plain\r\nContent-Id: c\r\n\r\n" + text + "--x--\r\n",
		},
		"empty line above a header": {
			`multipart/related;boundary=x`,
			"\r\n--x\r\n\r\nContent-Type:application/rlmi+xml\r\nContent-Length:154\r\nContent-ID:<r@s>\r\n\r\n" + rlmi + "\r\n\r\n--x\r\n\r\nContent-Type:text/plain\r\nContent-ID:<c>\r\n\r\n" + text + "\r\n--x--\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := related.Decode(pidf.Decoder{}, test.contentType, []byte(test.body))
			require.NoError(t, err)
			require.Equal(t, uint32(3), r.List.Version)
			require.Equal(t, want, r.Parts)
			body, contentType := r.Append(nil)
			again, err := related.Decode(pidf.Decoder{}, contentType, body)
			require.NoError(t, err)
			require.Equal(t, r.Start, again.Start)
			require.Equal(t, want, again.Parts)
		})
	}
}

// The other fields of a part survive, those that describe how it was transferred aside; none can start another.
func TestHeaders(t *testing.T) {
	const message = "--x\r\nContent-Type: application/rlmi+xml\r\n\r\n" + `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:a@b" version="3" fullState="true"/>` +
		"\r\n--x\r\ncontent-description: State\r\n of <a>\r\nContent-Disposition: render\r\nContent-Length: 1\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--x--"
	r, err := related.Decode(pidf.Decoder{}, "multipart/related;boundary=x", []byte(message))
	require.NoError(t, err)
	want := textproto.MIMEHeader{"Content-Description": {"State of <a>"}, "Content-Disposition": {"render"}}
	require.Equal(t, []related.Part{{Type: "text/plain", Body: []byte("hello"), Header: want}}, r.Parts)
	body, contentType := r.Append(nil)
	again, err := related.Decode(pidf.Decoder{}, contentType, body)
	require.NoError(t, err)
	require.Equal(t, r.Parts, again.Parts)

	r.Parts[0].Header = textproto.MIMEHeader{"X-A": {"1\r\nEvil: 2"}, "Evil: 3\r\nY": {"4"}, "content-type": {"evil/5"}}
	body, _ = r.Append(nil)
	require.Contains(t, string(body), "\r\nX-A: 1Evil: 2\r\n\r\n")
	require.NotContains(t, string(body), "\nEvil")
	require.NotContains(t, string(body), "evil/5")
}

// Multipart messages are read by the rules first, leniently only where that fails.
func TestStrictFirst(t *testing.T) {
	const list = `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:l@b" version="1" fullState="true"/>`
	message := func(parts ...string) []byte { return []byte(strings.Join(parts, "\r\n") + "\r\n") }
	root := "Content-ID: <root@x>\r\nContent-Type: application/rlmi+xml\r\n\r\n" + list
	for name, test := range map[string]struct {
		contentType string
		body        []byte
		want        string // body of the other part
	}{
		"delimiter at the end of a text line": {`multipart/related;boundary=BB`,
			message("--BB", root, "--BB", "Content-Type: text/plain\r\n\r\nsee --BB\r\nnext", "--BB--"), "see --BB\r\nnext"},
		"text like a header field": {`multipart/related;boundary=BB`,
			message("--BB", root, "--BB", "\r\nContent-Foo: bar\r\n\r\nbaz", "--BB--"), "Content-Foo: bar\r\n\r\nbaz"},
		"base64 with spaces": {`multipart/related;boundary=BB`,
			message("--BB", root, "--BB", "Content-Transfer-Encoding: base64\r\n\r\nYW Jj\tZA==", "--BB--"), "abcd"},
		"boundary in pieces": {`multipart/related;boundary*0=B;boundary*1="B"`,
			message("--BB", root, "--BB", "\r\nx", "--BB--"), "x"},
		"start as a URL": {`multipart/related;boundary=BB;start="cid:root%40x"`,
			message("--BB", "\r\nx", "--BB", root, "--BB--"), "x"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := related.Decode(pidf.Decoder{}, test.contentType, test.body)
			require.NoError(t, err)
			require.Equal(t, "sip:l@b", r.List.URI)
			require.Len(t, r.Parts, 1)
			require.Equal(t, test.want, string(r.Parts[0].Body))
		})
	}
	parts, err := related.Parts(pidf.Decoder{}, `multipart/mixed; boundary="m"`, message("--m", "Content-Type: application/pidf+xml\r\n\r\n<a/>", "--m", "\r\nb", "--m--"))
	require.NoError(t, err)
	require.Equal(t, []string{"<a/>", "b"}, []string{string(parts[0].Body), string(parts[1].Body)})
	_, err = related.Parts(pidf.Decoder{}, "text/plain", nil)
	require.ErrorIs(t, err, related.ErrMessage)
}

func FuzzDecode(f *testing.F) {
	f.Add(`multipart/related;type="application/rlmi+xml";start="<a@b>";boundary="x"`, notify(f))
	f.Fuzz(func(t *testing.T, contentType string, data []byte) {
		r, err := related.Decode(small, contentType, data)
		if err != nil {
			return
		}
		out, contentType := r.Append(nil)
		q, err := related.Decode(pidf.Decoder{}, contentType, out)
		require.NoError(t, err, "%q %q", contentType, out)
		require.Len(t, q.Parts, len(r.Parts))
		again, _ := q.Append(nil)
		require.Equal(t, string(out), string(again))
	})
}
