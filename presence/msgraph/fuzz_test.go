package msgraph_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/msgraph"
)

func seeds(f *testing.F) {
	files, err := filepath.Glob("testdata/graph/*.json")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
}

// FuzzCalendar: whatever is read of a calendar or a schedule, what comes out is bounded and fit to
// be shown.
func FuzzCalendar(f *testing.F) {
	seeds(f)
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		found, _, err := msgraph.ReadCalendar(data, berlin)
		require.True(t, err == nil || len(found) == 0)
		items, err := msgraph.ReadSchedules(data, berlin)
		require.True(t, err == nil || len(items) == 0)
		found = append(found, items...)
		for _, a := range found {
			require.NotEmpty(t, a.ID)
			require.True(t, len(a.ID) <= 255 && len(a.Subject) <= 256 && len(a.Location) <= 256)
			require.True(t, utf8.ValidString(a.ID+a.Subject+a.Location))
			require.True(t, a.End.After(a.From))
		}
		if len(found) > 0 {
			p := pidf.Presence{Entity: "sip:tom@example.com", Persons: []pidf.Person{{ID: "p", Extra: aa.Extra(&aa.Presence{Calendar: found[:1]})}}}
			_, err := aa.Decode(p.Append(nil, pidf.BluStarDialect))
			require.NoError(t, err) // what is shown can be read
		}
	})
}

// FuzzFailure: of an answer that is no success, only what looks like a code or an ID is told.
func FuzzFailure(f *testing.F) {
	files, err := filepath.Glob("testdata/graph/*.http")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		_, body, _ := bytes.Cut(data, []byte("\n\n"))
		f.Add(429, "10", body)
	}
	f.Fuzz(func(t *testing.T, status int, after string, body []byte) {
		_ = msgraph.ReadToken(body)
		graph, login := msgraph.ReadFailure(status, http.Header{"Retry-After": {after}, "Request-Id": {after}}, body)
		for _, err := range []error{graph, login} {
			require.Less(t, len(err.Error()), 400)
			require.True(t, strings.IndexFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) < 0, err)
			e, ok := errors.AsType[*msgraph.Error](err)
			require.True(t, ok && e.RetryAfter >= 0 && e.RetryAfter <= 24*time.Hour)
		}
	})
}

// FuzzPresence: likewise.
func FuzzPresence(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		states, err := msgraph.ReadPresence(data)
		if err != nil {
			require.Empty(t, states)
		}
		for id, v := range states {
			require.NotEmpty(t, id)
			require.LessOrEqual(t, len(v.FreeText), 1024)
			require.True(t, utf8.ValidString(v.FreeText))
			if v.Status == "" {
				require.Empty(t, v.FreeText+v.TelephoneEvent, "who says nothing says nothing")
				continue
			}
			p := pidf.Presence{Entity: "sip:tom@example.com", Persons: []pidf.Person{{ID: "p", Extra: aa.Extra(&aa.Presence{
				ExternalUC: &aa.ExternalUC{Status: v.Status, FreeText: v.FreeText, TelephoneEvent: v.TelephoneEvent},
			})}}}
			_, err := aa.Decode(p.Append(nil, pidf.BluStarDialect))
			require.NoError(t, err)
		}
	})
}
