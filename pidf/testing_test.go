package pidf_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file of testdata/golden.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// read returns a file of testdata.
func read(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, path...)...))
	require.NoError(t, err)
	return data
}

// files returns the files of testdata that match.
func files(t testing.TB, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	return paths
}

// roundTrip decodes data, writes it in both dialects, and checks that nothing changes any more from there on.
func roundTrip(t testing.TB, data []byte) *pidf.Presence {
	t.Helper()
	p, err := aa.Decode(data)
	require.NoError(t, err)
	first := p.Append(nil, pidf.BluStarDialect)
	q, err := aa.Decode(first)
	require.NoError(t, err, "%s", first)
	require.Equal(t, string(first), string(q.Append(nil, pidf.BluStarDialect)), "encoding is idempotent")
	require.Equal(t, pidf.Canonical(p), pidf.Canonical(q), "nothing is lost")
	require.True(t, pidf.Equal(p, q))

	standard := p.Append(nil, pidf.StandardDialect)
	r, err := aa.Decode(standard)
	require.NoError(t, err, "%s", standard)
	require.Equal(t, string(standard), string(r.Append(nil, pidf.StandardDialect)), "encoding is idempotent")
	written(t, data, first, standard)
	return p
}

// events lists what a document says, read by another parser: elements with their attributes sorted, and texts.
// Prefixes, declarations and white space between elements do not show.
func events(t require.TestingT, data []byte) []string {
	var out []string
	text := ""
	flush := func() {
		if strings.TrimSpace(text) != "" {
			out = append(out, "text "+text)
		}
		text = ""
	}
	name := func(n xml.Name) string { return "{" + n.Space + "}" + n.Local }
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err, "%s", data)
		switch token := token.(type) {
		case xml.StartElement:
			flush()
			var attrs []string
			for _, a := range token.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
					attrs = append(attrs, name(a.Name)+"="+a.Value)
				}
			}
			slices.Sort(attrs)
			out = append(out, "start "+name(token.Name)+" "+strings.Join(attrs, " "))
		case xml.EndElement:
			flush()
			out = append(out, "end "+name(token.Name))
		case xml.CharData:
			text += string(token)
		case xml.Comment:
			flush()
			out = append(out, "comment "+string(token))
		case xml.ProcInst:
			if token.Target != "xml" {
				flush()
				out = append(out, "instruction "+token.Target+" "+string(token.Inst))
			}
		}
	}
}
