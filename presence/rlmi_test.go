package presence_test

import (
	"fmt"
	"mime"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/related"
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
				list, docs := listOf(t, n)
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
			message, err := related.Decode(pidf.Decoder{}, n.Header.Get("Content-Type"), n.Body)
			require.NoError(t, err)
			_, params, err := mime.ParseMediaType(n.Header.Get("Content-Type"))
			require.NoError(t, err)
			require.Equal(t, "<"+message.Start+">", params["start"])
			ids := []string{message.Start}
			for _, part := range message.Parts {
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

// RFC 4826 §3.1: entries without a URI name nobody, and a list may be empty. Its watcher
// is told so, at once and after each refresh (RFC 6665 §4.2.1.2).
func TestEmptyEventList(t *testing.T) {
	const lists = `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">%s</resource-lists>`
	for name, tt := range map[string]struct {
		body string
		want []string
	}{
		"no list":           {"", nil},
		"no entry":          {"<list/>", nil},
		"none with a URI":   {`<list><entry uri=""/><entry/><entry uri="  "/></list>`, nil},
		"one without a URI": {`<list><entry uri=""/><entry uri="sip:tom@example.com"/></list>`, []string{"sip:tom@example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s, res := w.standard("ann", "192.0.2.7").open("sip:rls@example.com", fmt.Sprintf(lists, tt.body),
				"Expires: 300", "Supported: eventlist", "Content-Type: application/resource-lists+xml")
			require.Equal(t, 200, res.Status, res.Reason)
			shows := func(version uint32) {
				t.Helper()
				list, docs := listOf(t, s.one())
				require.Equal(t, version, list.Version)
				require.True(t, list.FullState)
				require.Len(t, list.Resources, len(tt.want))
				require.Len(t, docs, len(tt.want))
			}
			shows(0)
			require.Equal(t, 200, s.refresh().Status)
			shows(1)
			require.Equal(t, 1, w.server.Stats().Watches)
			require.Equal(t, 200, s.end().Status)
			require.Equal(t, "terminated;reason=timeout", s.one().state())
			require.Zero(t, w.server.Stats().Watches)
		})
	}

	// An empty list is bounded as if there was an entry in it, and can be fetched.
	w := newWorld(t, func(c *presence.Config) { c.MaxSubscriptions, c.SourceShare = 1, 1 })
	empty := func(expires string) (*sub, int) {
		s, res := w.standard("ann", "192.0.2.7").open("sip:rls@example.com", fmt.Sprintf(lists, "<list/>"),
			"Expires: "+expires, "Supported: eventlist", "Content-Type: application/resource-lists+xml")
		return s, res.Status
	}
	s, status := empty("0")
	require.Equal(t, 200, status)
	sent := s.of(w.net.take())
	require.Equal(t, "terminated;reason=timeout", sent[len(sent)-1].state())
	_, status = empty("300")
	require.Equal(t, 200, status)
	_, status = empty("300")
	require.Equal(t, 503, status)

	// A BluStar client has one NOTIFY for each entry: there would be none.
	_, res := w.client("ann", "192.0.2.7").list("")
	require.Equal(t, 400, res.Status)
}

// RFC 4662 §4.1, §4.5; RFC 6665 §4.2.1.4: the NOTIFY that ends a list subscription has
// Require: eventlist, and what was still due. A refresh and an end that say Require:
// recipient-list-subscribe, as linphone's do, need no body.
func TestEventListEnd(t *testing.T) {
	w := newWorld(t)
	s, res := w.standard("ann", "192.0.2.7").open("sip:rls@example.com", resourceLists("sip:tom@example.com", "sip:bob@example.com"),
		"Expires: 300", "Supported: eventlist", "Require: recipient-list-subscribe", "Content-Type: application/resource-lists+xml")
	require.Equal(t, 200, res.Status)
	s.one()
	require.Equal(t, 200, s.again("", "Expires: 300", "Require: recipient-list-subscribe").Status)
	s.one()
	w.net.hold()
	w.standard("tom", "192.0.2.8").publish("", pidfBody("open", "<rpid:busy/>", ""))
	held := s.one()
	w.standard("bob", "192.0.2.9").publish("", pidfBody("open", "<rpid:away/>", ""))
	require.Equal(t, 200, s.again("", "Expires: 0", "Require: recipient-list-subscribe").Status)
	require.Empty(t, w.net.take(), "one at a time")
	held.ok()
	last := s.one()
	require.Equal(t, "terminated;reason=timeout", last.state())
	require.Equal(t, "eventlist", last.Header.Get("Require"))
	list, docs := listOf(t, last)
	require.False(t, list.FullState)
	require.Len(t, docs, 1)
	require.Equal(t, "sip:bob@example.com", docs[0].Entity)
	require.Equal(t, "away", docs[0].Persons[0].Activities.Values[0].Name)
}
