package policyfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
	"github.com/openblustar/blustar/presence/policyfile"
)

var _ presence.Policy = (*policyfile.Policy)(nil)

const board = `{"groups": {"board": ["DE\\ann", "sip:bob@example.com"]},
 "rules": [{"watchers": ["board"], "sight": "others"}, {"users": ["board", "eve-id"], "sight": "busy-or-not"},
  {"watchers": ["tel:300"], "users": ["tom"], "sight": "refused"},
  {"watchers": ["group:SALES", "group:cn=temps,dc=example,dc=com"], "sight": "no-lines"}, {"users": ["group:Sales"], "sight": "blocked"}], "default": "no-details"}`

// BSX-16: the first rule that names both counts, by account, address, ID, and group
// of the file or of the directory.
func TestSight(t *testing.T) {
	p, err := policyfile.Read(strings.NewReader(board))
	require.NoError(t, err)
	ann := directory.Entry{ID: "1", Account: `de\ANN`}
	bob := directory.Entry{ID: "2", SIP: []string{"bob@example.com"}}
	tom := directory.Entry{ID: "tom", Account: `DE\tom`}
	sales := directory.Entry{ID: "3", Groups: []string{"Sales", "CN=Temps,DC=example,DC=com"}}
	for _, tt := range []struct {
		watcher presence.Watcher
		whom    directory.Entry
		want    consolidation.Sight
	}{
		{presence.Watcher{Account: `de\ann`}, tom, consolidation.SightOthers},
		{presence.Watcher{Account: `DE\tom`}, ann, consolidation.SightBusyOrNot},
		{presence.Watcher{Account: `DE\tom`}, bob, consolidation.SightBusyOrNot},
		{presence.Watcher{Account: `DE\tom`}, directory.Entry{ID: "eve-id"}, consolidation.SightBusyOrNot},
		{presence.Watcher{Account: `DE\tom`}, tom, consolidation.SightNoDetails},
		{presence.Watcher{Address: "sip:bob@EXAMPLE.com"}, tom, consolidation.SightOthers},
		{presence.Watcher{Account: `DE\tom`, Address: "sip:bob@example.com"}, tom, consolidation.SightNoDetails},
		{presence.Watcher{Account: `DE\eve`, Entry: &sales}, tom, consolidation.SightNoLines},
		{presence.Watcher{Account: `DE\eve`, Entry: &directory.Entry{ID: "4", Groups: sales.Groups[1:]}}, tom, consolidation.SightNoLines},
		{presence.Watcher{Account: `DE\eve`, Entry: &directory.Entry{ID: "sales"}}, tom, consolidation.SightNoDetails},
		{presence.Watcher{Account: "amcc", Entry: &ann}, tom, consolidation.SightOthers},
		{presence.Watcher{Account: `DE\tom`}, sales, consolidation.SightBlocked},
		{presence.Watcher{Address: "tel:300"}, tom, consolidation.SightRefused},
		{presence.Watcher{}, tom, consolidation.SightNoDetails},
	} {
		got, err := p.Sight(t.Context(), tt.watcher, tt.whom)
		require.NoError(t, err)
		require.Equal(t, tt.want, got, "%+v of %+v", tt.watcher, tt.whom)
	}
}

func TestReadErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{"rules": [{"sight": "x"}, {"sight": ""}]}`:           "rules[0].sight",
		`{"rules": [{"sight": "own"}, {"sight": ""}]}`:         "rules[1].sight",
		`{"rules": [{"users": [], "sight": "own"}]}`:           "rules[0].users: an empty list",
		`{"rules": [{"watchers": ["a", ""], "sight": "own"}]}`: "rules[0].watchers[1]",
		`{"default": "all"}`:                                   `"all" is no sight`,
		`{"rule": []}`:                                         "rule",
	} {
		_, err := policyfile.Read(strings.NewReader(text))
		require.ErrorContains(t, err, want, text)
	}
	name := filepath.Join(t.TempDir(), "policy.json")
	_, err := policyfile.Load(name)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(name, []byte(`{`), 0o600))
	_, err = policyfile.Load(name)
	require.ErrorContains(t, err, name)
}
