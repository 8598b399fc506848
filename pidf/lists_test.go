package pidf_test

import (
	"strings"
	"testing"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/resourcelists"
	"github.com/openblustar/blustar/pidf/rlmi"
	"github.com/openblustar/blustar/pidf/watcherinfo"
	"github.com/stretchr/testify/require"
)

// RFC 4826 §3: lists nest, entries come in order, references are told from entries.
func TestResourceLists(t *testing.T) {
	r, err := resourcelists.Decode(pidf.Decoder{}, read(t, "lists", "nested.xml"))
	require.NoError(t, err)
	require.Empty(t, r.Warnings)
	var got []string
	for e := range r.All() {
		got = append(got, e.Kind.String()+" "+e.URI[:7])
	}
	require.Equal(t, []string{"entry sip:joe", "entry-ref resourc", "external http://", "entry tel:200"}, got)
	for e := range r.All() {
		require.Equal(t, "sip:joe@example.com", e.URI, "iteration stops when asked to")
		break
	}
	require.Equal(t, "friends", r.Lists[0].Name)
	require.Equal(t, pidf.Note{Lang: "en", Text: "Close Friends"}, *r.Lists[0].DisplayName)
	require.Equal(t, "inner", r.Lists[0].Items[1].List.Name)
	for e := range r.Lists[0].Items[1].List.All() {
		require.NotEqual(t, resourcelists.Direct, e.Kind)
	}
	golden(t, "lists-nested.xml", r.AppendXML(nil))
	written(t, nil, r.AppendXML(nil), r.AppendXML(nil))

	// RFC 5364: copy control survives.
	data := read(t, "lists", "copycontrol.xml")
	r, err = resourcelists.Decode(pidf.Decoder{}, data)
	require.NoError(t, err)
	require.Equal(t, events(t, data), events(t, r.AppendXML(nil)))
	written(t, data, r.AppendXML(nil), r.AppendXML(nil))
}

func TestNewResourceLists(t *testing.T) {
	r := resourcelists.New("sip:a@b", "tel:200")
	q, err := resourcelists.Decode(pidf.Decoder{}, r.AppendXML(nil))
	require.NoError(t, err)
	require.Equal(t, r, q)
	empty, err := resourcelists.Decode(pidf.Decoder{}, (&resourcelists.Document{}).AppendXML(nil))
	require.NoError(t, err)
	require.Empty(t, empty.Lists)
}

// BSP-3-5, BSP-4.2-1: what the limits refuse, and what is tolerated.
func TestResourceListsHostile(t *testing.T) {
	list := func(inner string) []byte {
		return []byte(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">` + inner + `</resource-lists>`)
	}
	_, err := resourcelists.Decode(pidf.Decoder{}, list(strings.Repeat("<list>", 40)+strings.Repeat("</list>", 40)))
	require.ErrorIs(t, err, pidf.ErrTooDeep)
	_, err = resourcelists.Decode(pidf.Decoder{}, []byte(`<!DOCTYPE resource-lists SYSTEM "x">`+string(list(""))))
	require.ErrorIs(t, err, pidf.ErrDTD)
	_, err = resourcelists.Decode(pidf.Decoder{}, read(t, "spec", "4.3-publish.xml"))
	require.ErrorIs(t, err, pidf.ErrRoot)
	require.ErrorContains(t, err, "presence instead of {urn:ietf:params:xml:ns:resource-lists}resource-lists")
	r, err := resourcelists.Decode(pidf.Decoder{}, list(`<list><entry/><entry uri="sip:a@b"><display-name>a</display-name><display-name>b</display-name></entry></list>`))
	require.NoError(t, err)
	require.Equal(t, "uri missing", r.Warnings[0].Text)
	require.Len(t, r.Lists[0].Items[1].Entry.Extensions, 1)
}

// RFC 4662 §5.
func TestListInfo(t *testing.T) {
	data := read(t, "rlmi", "list.xml")
	l, err := rlmi.Decode(pidf.Decoder{}, data)
	require.NoError(t, err)
	require.Empty(t, l.Warnings)
	require.Equal(t, events(t, data), events(t, l.AppendXML(nil)))
	written(t, data, l.AppendXML(nil), l.AppendXML(nil))
	require.Equal(t, uint32(1), l.Version)
	require.True(t, l.FullState)
	require.Equal(t, []pidf.Note{{Lang: "en", Text: "Buddy List at Example"}, {Lang: "de", Text: "Liste der Freunde"}}, l.Names)
	require.Equal(t, rlmi.Instance{ID: "juwigmtboe", State: "active", CID: "bUZBsM@pres.vancouver.example.com"}, l.Resources[0].Instances[0])
	require.Equal(t, "rejected", l.Resources[1].Instances[0].Reason)
	require.Empty(t, l.Resources[2].Instances)
}

// BSP-3-3: what stands around the root element stays there, in documents of each kind.
func TestAroundRoot(t *testing.T) {
	around := func(root string) string {
		return "<?xml version=\"1.0\"?>\n<!-- before --><?go on?>" + root + "<!-- after -->\n"
	}
	lists, err := resourcelists.Decode(pidf.Decoder{}, []byte(around(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>`)))
	require.NoError(t, err)
	info, err := rlmi.Decode(pidf.Decoder{}, []byte(around(`<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:a@b" version="1" fullState="true"/>`)))
	require.NoError(t, err)
	watchers, err := watcherinfo.Decode(pidf.Decoder{}, []byte(around(`<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="1" state="full"/>`)))
	require.NoError(t, err)
	for _, out := range [][]byte{lists.AppendXML(nil), info.AppendXML(nil), watchers.AppendXML(nil)} {
		written(t, nil, out, out)
		all := events(t, out)
		require.Equal(t, []string{"comment  before ", "instruction go on"}, all[:2])
		require.Equal(t, "comment  after ", all[len(all)-1])
	}
}

// Documents whose root has lost its namespace are read as if they had it.
func TestListsWithoutNamespace(t *testing.T) {
	lists, err := resourcelists.Decode(pidf.Decoder{}, []byte(`<resource-lists><list name="l"><entry uri="sip:a@b"><display-name>A</display-name></entry><x:y xmlns:x="urn:x"/></list></resource-lists>`))
	require.NoError(t, err)
	require.Equal(t, "resource-lists without a namespace", lists.Warnings[0].Text)
	require.Equal(t, "A", lists.Lists[0].Items[0].Entry.DisplayName.Text)
	require.Len(t, lists.Lists[0].Extensions, 1)

	info, err := rlmi.Decode(pidf.Decoder{}, []byte(`<list uri="sip:l@b" version="1" fullState="true"><resource uri="sip:a@b"><instance id="1" state="active"/></resource></list>`))
	require.NoError(t, err)
	require.Equal(t, "active", info.Resources[0].Instances[0].State)

	watchers, err := watcherinfo.Decode(pidf.Decoder{}, []byte(`<watcherinfo version="1" state="full"><watcher-list resource="sip:a@b" package="presence"><watcher id="w" status="active" event="approved">sip:c@d</watcher></watcher-list></watcherinfo>`))
	require.NoError(t, err)
	require.Equal(t, "sip:c@d", watchers.Lists[0].Watchers[0].URI)
}

// RFC 3858.
func TestWatcherInfo(t *testing.T) {
	data := read(t, "watcherinfo", "full.xml")
	i, err := watcherinfo.Decode(pidf.Decoder{}, data)
	require.NoError(t, err)
	require.Empty(t, i.Warnings)
	require.Equal(t, events(t, data), events(t, i.AppendXML(nil)))
	written(t, data, i.AppendXML(nil), i.AppendXML(nil))
	seconds := func(n time.Duration) *time.Duration { n *= time.Second; return &n }
	require.Equal(t, []watcherinfo.Watcher{
		{URI: "sip:userA@example.net", ID: "8ajksjda7s", Status: "active", Event: "approved", DurationSubscribed: seconds(509)},
		{URI: "sip:userB@example.org", ID: "hh8juja87s997-ass7", Status: "pending", Event: "subscribe", DisplayName: "Mr. Subscriber", Lang: "en", Expiration: seconds(3000)},
	}, i.Lists[0].Watchers)

	p := &watcherinfo.Document{Version: 7, Partial: true}
	q, err := watcherinfo.Decode(pidf.Decoder{}, p.AppendXML(nil))
	require.NoError(t, err)
	require.Equal(t, p, q)
}

// A state of watcher information that RFC 3858 does not know, or none, is read as full, with a warning, and not changed.
func TestWatcherInfoState(t *testing.T) {
	for attr, warning := range map[string]string{` state="deleted"`: "state: not one of partial, full: kept as a text", "": "state missing"} {
		data := []byte(`<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="4294967296"` + attr + `/>`)
		i, err := watcherinfo.Decode(pidf.Decoder{}, data)
		require.NoError(t, err)
		require.False(t, i.Partial)
		require.Equal(t, uint64(1)<<32, i.Version)
		require.Len(t, i.Warnings, 1)
		require.Equal(t, warning, i.Warnings[0].Text)
		require.Equal(t, events(t, data), events(t, i.AppendXML(nil)))
	}
}
