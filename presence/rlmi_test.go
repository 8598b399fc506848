package presence_test

import (
	"fmt"
	"mime"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/presence"
)

// RFC 4662 §5.2, BSX-4: a list of any length is told whole, each NOTIFY in one
// datagram. The first lists all resources, where that fits.
func TestLongEventList(t *testing.T) {
	for _, tt := range []struct {
		name string
		user string // before the number of each
		full bool
	}{
		{"all listed", "user", true},
		{"too many to list", strings.Repeat("u", 85), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			uris := make([]string, 500)
			for i := range uris {
				uris[i] = fmt.Sprintf("sip:%s%d@example.com", tt.user, i)
			}
			s, res := w.standard("ann", "192.0.2.7").open("sip:rls@example.com", resourceLists(uris...),
				"Expires: 300", "Supported: eventlist", "Content-Type: application/resource-lists+xml")
			require.Equal(t, 200, res.Status)
			var told []string
			for i, n := range s.of(w.net.take()) {
				require.Less(t, len(n.Body), 60_000)
				list, docs := rlmi(t, n)
				require.Equal(t, uint32(i), list.Version)
				require.Equal(t, tt.full && i == 0, list.FullState)
				if list.FullState {
					require.Len(t, list.Resources, len(uris))
				}
				for _, doc := range docs {
					told = append(told, doc.Entity)
				}
			}
			require.Equal(t, uris, told)
		})
	}
}

// RFC 4662 §4.1: RLMI is for those who say that they understand it.
func TestEventListSupport(t *testing.T) {
	for _, tt := range []struct {
		mode    presence.DialectMode
		field   string
		status  int
		dialect string
	}{
		{presence.DialectAuto, "Supported: path, eventlist", 200, "Standard"},
		{presence.DialectAuto, "Require: eventlist", 200, "Standard"},
		{presence.DialectAuto, "Require: recipient-list-subscribe", 200, "BluStar"},
		{presence.DialectStandard, "Supported: eventlist", 200, "Standard"},
		{presence.DialectStandard, "Require: eventlist", 200, "Standard"},
		{presence.DialectStandard, "Require: recipient-list-subscribe", 421, ""},
	} {
		w := newWorld(t, func(c *presence.Config) { c.Dialect = tt.mode })
		_, res := w.standard("ann", "192.0.2.7").open("sip:rls@example.com", resourceLists("sip:tom@example.com"),
			"Expires: 300", tt.field, "Content-Type: application/resource-lists+xml")
		require.Equal(t, tt.status, res.Status, "%q %s", tt.mode, tt.field)
		if tt.status == 421 {
			require.Equal(t, "eventlist", res.Header.Get("Require"))
			require.Empty(t, w.server.Subscriptions())
			continue
		}
		require.Equal(t, tt.dialect, w.server.Subscriptions()[0].Dialect)
	}
}

// RFC 2392 §2: a Content-ID has the form of an address, and there is no other
// like it.
func TestEventListContentIDs(t *testing.T) {
	w := newWorld(t)
	form := regexp.MustCompile(`^[A-Za-z0-9.]+@[A-Za-z0-9.]+$`)
	seen := make(map[string]bool)
	for range 2 {
		s, _ := w.standard("ann", "192.0.2.7").open("sip:rls@example.com", resourceLists("sip:tom@example.com", "sip:bob@example.com"),
			"Expires: 300", "Supported: eventlist", "Content-Type: application/resource-lists+xml")
		require.Equal(t, 200, s.refresh().Status)
		for _, n := range s.of(w.net.take()) {
			related, err := pidf.Decoder{}.DecodeRelated(n.Header.Get("Content-Type"), n.Body)
			require.NoError(t, err)
			_, params, err := mime.ParseMediaType(n.Header.Get("Content-Type"))
			require.NoError(t, err)
			require.Equal(t, "<"+related.Start+">", params["start"])
			ids := []string{related.Start}
			for _, part := range related.Parts {
				ids = append(ids, part.ID)
			}
			for _, id := range ids {
				require.Regexp(t, form, id)
				require.False(t, seen[id], "%s again", id)
				seen[id] = true
			}
		}
	}
	require.Len(t, seen, 4*3)
}
