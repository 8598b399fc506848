package pidf_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/pidf/resourcelists"
	"github.com/openblustar/blustar/pidf/rlmi"
	"github.com/openblustar/blustar/pidf/watcherinfo"
	"github.com/stretchr/testify/require"
)

// seed adds the files of testdata that match.
func seed(f *testing.F, patterns ...string) {
	f.Helper()
	for _, pattern := range patterns {
		for _, path := range files(f, pattern) {
			data, err := os.ReadFile(path)
			require.NoError(f, err)
			f.Add(data)
		}
	}
}

// small are limits that a fuzzer reaches.
var small = pidf.Decoder{Limits: pidf.Limits{Bytes: 1 << 14, Depth: 12, Elements: 300, Attributes: 12}, Types: aa.Types()}

// wellFormed has another parser read what was written. It knows the names of an older edition of XML alone.
func wellFormed(t *testing.T, data []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil && strings.Contains(err.Error(), "invalid XML name: ") {
			return
		}
		require.NoError(t, err, "%q", data)
	}
}

// refused checks that an error says where.
func refused(t *testing.T, err error) {
	t.Helper()
	var syntax *pidf.SyntaxError
	require.ErrorAs(t, err, &syntax)
	require.Positive(t, syntax.Line)
	require.Positive(t, syntax.Column)
}

// Decoding never panics and keeps its limits; what it took is written well-formed, reads back the same, and from then
// on nothing changes any more (BSP-3-3, BSP-3-5). In memory that is used again it is the same.
func FuzzDecode(f *testing.F) {
	var room pidf.Room
	seed(f, "spec/*.xml", "products/*", "broken/*")
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := small.Decode(data)
		again := small
		again.Room = &room
		inRoom, errInRoom := again.Decode(data)
		require.Equal(t, err, errInRoom)
		if err != nil {
			refused(t, err)
			return
		}
		require.Equal(t, p, inRoom)
		require.LessOrEqual(t, len(data), 1<<14)
		require.LessOrEqual(t, len(p.Tuples)+len(p.Devices)+len(p.Persons), 300)
		for _, dialect := range []pidf.Dialect{pidf.BluStarDialect, pidf.StandardDialect} {
			out := p.Append(nil, dialect)
			wellFormed(t, out)
			q, err := aa.Decode(out)
			require.NoError(t, err, "%q\n%q", data, out)
			again := q.Append(nil, dialect)
			require.Equal(t, string(out), string(again), "%q", data)
			if dialect == pidf.BluStarDialect {
				require.Equal(t, pidf.Canonical(p), pidf.Canonical(q), "%q\n%q", data, out)
				require.True(t, pidf.Equal(p, q))
			}
			_ = p.Validate(dialect)
		}
		written(t, data, p.Append(nil, pidf.BluStarDialect), p.Append(nil, pidf.StandardDialect))
	})
}

func FuzzDecodeResourceLists(f *testing.F) {
	seed(f, "spec/*subscribe*.xml", "lists/*.xml", "broken/*")
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := resourcelists.Decode(small, data)
		if err != nil {
			refused(t, err)
			return
		}
		for e := range r.All() {
			require.NotNil(t, e)
		}
		out := r.AppendXML(nil)
		wellFormed(t, out)
		written(t, data, out, out)
		q, err := resourcelists.Decode(pidf.Decoder{}, out)
		require.NoError(t, err)
		require.Equal(t, string(out), string(q.AppendXML(nil)), "%q", data)
	})
}

func FuzzDecodeListInfo(f *testing.F) {
	seed(f, "rlmi/*.xml", "broken/*")
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := rlmi.Decode(small, data)
		if err != nil {
			refused(t, err)
			return
		}
		out := l.AppendXML(nil)
		wellFormed(t, out)
		written(t, data, out, out)
		q, err := rlmi.Decode(pidf.Decoder{}, out)
		require.NoError(t, err)
		require.Equal(t, string(out), string(q.AppendXML(nil)), "%q", data)
	})
}

func FuzzDecodeWatcherInfo(f *testing.F) {
	seed(f, "watcherinfo/*.xml", "broken/*")
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := watcherinfo.Decode(small, data)
		if err != nil {
			refused(t, err)
			return
		}
		out := i.AppendXML(nil)
		wellFormed(t, out)
		written(t, data, out, out)
		q, err := watcherinfo.Decode(pidf.Decoder{}, out)
		require.NoError(t, err)
		require.Equal(t, string(out), string(q.AppendXML(nil)), "%q", data)
	})
}

// Whatever the values of a document hold, what is written is well-formed and reads back.
func FuzzEncode(f *testing.F) {
	f.Add("sip:a@b", "text", "id")
	f.Add("urn:x", pidf.NSRPID, "entity")
	f.Add("\x00<&>\"'", "]]>\r\n\t\uFFFE", "a b:c\xFF")
	f.Fuzz(func(t *testing.T, uri, text, id string) {
		p := &pidf.Presence{
			Entity:  uri,
			Tuples:  []pidf.Tuple{{ID: id, Basic: pidf.Basic(text), Contact: &pidf.Contact{URI: uri, Priority: id}, Class: text}, {ID: id}},
			Notes:   []pidf.Note{{Lang: id, Text: text}},
			Devices: []pidf.Device{{ID: uri, DeviceID: text, Extra: aa.Extra(&aa.Line{DN: id, State: aa.LineState(text), Forward: &aa.Forward{Destination: uri}})}},
			Persons: []pidf.Person{{ID: uri, Activities: &pidf.Activities{Values: []pidf.Choice{{Name: text, Text: id}}, ID: id},
				PlaceIs: &pidf.PlaceIs{Audio: &pidf.AudioPlace{Values: []pidf.Choice{{Name: text}}}}, Extra: aa.Extra(&aa.Presence{BluStar: &aa.BluStar{Display: text, Note: &pidf.Note{Text: id}}})}},
		}
		p.Attrs = []pidf.Attr{{Name: pidf.Name{Space: uri, Local: id}, Value: text}, {Name: pidf.Name{Local: id}, Value: text},
			{Name: pidf.Name{Space: text, Local: id}, Value: uri}}
		for _, dialect := range []pidf.Dialect{pidf.BluStarDialect, pidf.StandardDialect} {
			out := p.Append(nil, dialect)
			_, err := aa.Decode(out)
			require.NoError(t, err, "%q", out)
		}
	})
}

func FuzzParseExtension(f *testing.F) {
	f.Add(`<a xmlns="urn:x" b="c">d<!-- e --><f/></a>`)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := pidf.ParseExtension(text)
		if err != nil {
			return
		}
		again, err := pidf.ParseExtension(e.XML())
		require.NoError(t, err)
		require.Equal(t, e.Name(), again.Name())
		require.Equal(t, e.XML(), again.XML())
		_ = e.Text()
	})
}
