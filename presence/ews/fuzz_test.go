package ews

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/calendar"
	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
)

// FuzzAnswer: whatever a server sends, what is read of it is bounded and fit to be shown, and does not depend on
// how it comes in pieces.
func FuzzAnswer(f *testing.F) {
	files, err := filepath.Glob("testdata/*.xml")
	require.NoError(f, err)
	require.NotEmpty(f, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		whole, err := readAll(bytes.NewReader(data))
		pieces, errPieces := readAll(iotest.OneByteReader(bytes.NewReader(data)))
		require.Equal(t, err == nil, errPieces == nil)
		require.Equal(t, whole, pieces)
		p := pidf.Presence{Entity: "sip:tom@example.com", Persons: []pidf.Person{{ID: "p", Extra: aa.Extra(&aa.Presence{Calendar: whole})}}}
		_, err = aa.Decode(p.Append(nil, pidf.BluStarDialect))
		require.NoError(t, err) // what is shown can be read
	})
}

// readAll reads a stream of envelopes, and returns all that would be shown of it.
func readAll(r io.Reader) (all appointments, err error) {
	d := newDecoder(&boundedReader{from: r, left: 64 << 10})
	for {
		answer, err := decodeAnswer(d)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			_ = err.Error()
			_ = retryAfter(err)
			_ = meaningOf(err)
			return all, err
		}
		for i := range answer.Several.Messages {
			m := &answer.Several.Messages[i]
			_ = m.err()
			for i := range m.Notifications {
				m.Notifications[i].changed()
			}
			if m.Folder == nil {
				continue
			}
			for i := range m.Folder.Items {
				if a, ok, err := plainStyle.appointment(&m.Folder.Items[i]); ok && err == nil {
					all = append(all, a)
				}
			}
		}
		for i := range answer.FreeBusy {
			list, _ := plainStyle.available(answer.FreeBusy[i].View.Events)
			all = append(all, list...)
		}
		if answer.Oof != nil {
			_, _, _ = answer.Oof.when()
		}
	}
}

// FuzzCleaner: what is cleaned has the same length, is the same where XML allows all of it, and has no character that
// XML forbids.
func FuzzCleaner(f *testing.F) {
	for _, s := range []string{"a&#x0;b", "&#1;", "&#xB;&#x0000B;", "&#xFFFF;&#xD800;&#x110000;", "&#xD807;", "&amp;&#65;&#x41;", "&#", "&", "&#x1F", "\x00\x01&#31;"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		clean, err := io.ReadAll(&cleaner{from: bytes.NewReader(data)})
		require.NoError(t, err)
		require.Len(t, clean, len(data))
		pieces, err := io.ReadAll(&cleaner{from: iotest.OneByteReader(bytes.NewReader(data))})
		require.NoError(t, err)
		require.Equal(t, clean, pieces)
		again, err := io.ReadAll(&cleaner{from: bytes.NewReader(clean)})
		require.NoError(t, err)
		require.Equal(t, clean, again)
		document := append(append([]byte("<a>"), data...), "</a>"...)
		// encoding/xml reads &#xD800;, which XML does not have, as U+FFFD. In comments and CDATA nothing is a
		// reference, which the cleaner does not look at.
		if text, err := textOf(document); err == nil && !strings.ContainsRune(text, '\uFFFD') && !bytes.Contains(data, []byte("<!")) &&
			!bytes.Contains(data, []byte("<?")) {
			require.Equal(t, data, clean, "there was nothing to clean")
		}
	})
}

// textOf is the text of a document, attributes included.
func textOf(document []byte) (string, error) {
	var b strings.Builder
	for d := xml.NewDecoder(bytes.NewReader(document)); ; {
		switch token, err := d.Token(); token := token.(type) {
		case nil:
			if err == io.EOF {
				err = nil
			}
			return b.String(), err
		case xml.CharData:
			b.Write(token)
		case xml.StartElement:
			for _, a := range token.Attr {
				b.WriteString(a.Value)
			}
		}
	}
}

// TestTexts: what is shown of texts is bounded.
func TestTexts(t *testing.T) {
	i := calendarItem{Subject: string(bytes.Repeat([]byte("ü"), 4000)), Start: "2026-11-26T10:00:00Z", End: "2026-11-26T11:00:00+00:00"}
	a, ok, err := plainStyle.appointment(&i)
	require.NoError(t, err)
	require.True(t, ok)
	require.LessOrEqual(t, len(a.Subject), 256)
	require.Equal(t, calendar.ID("2026-11-26T10:00:00Z"), a.ID)
}
