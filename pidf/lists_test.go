package pidf_test

import (
	"strings"
	"testing"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/stretchr/testify/require"
)

// RFC 4826 §3: lists nest, entries come in order, references are told from entries.
func TestResourceLists(t *testing.T) {
	r, err := pidf.DecodeResourceLists(read(t, "lists", "nested.xml"))
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
		require.NotEqual(t, pidf.Direct, e.Kind)
	}
	golden(t, "lists-nested.xml", r.AppendXML(nil))

	// RFC 5364: copy control survives.
	data := read(t, "lists", "copycontrol.xml")
	r, err = pidf.DecodeResourceLists(data)
	require.NoError(t, err)
	require.Equal(t, events(t, data), events(t, r.AppendXML(nil)))
}

func TestNewResourceLists(t *testing.T) {
	r := pidf.NewResourceLists("sip:a@b", "tel:200")
	q, err := pidf.DecodeResourceLists(r.AppendXML(nil))
	require.NoError(t, err)
	require.Equal(t, r, q)
	empty, err := pidf.DecodeResourceLists((&pidf.ResourceLists{}).AppendXML(nil))
	require.NoError(t, err)
	require.Empty(t, empty.Lists)
}

// BSP-3-5, BSP-4.2-1: what the limits refuse, and what is tolerated.
func TestResourceListsHostile(t *testing.T) {
	list := func(inner string) []byte {
		return []byte(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">` + inner + `</resource-lists>`)
	}
	_, err := pidf.DecodeResourceLists(list(strings.Repeat("<list>", 40) + strings.Repeat("</list>", 40)))
	require.ErrorIs(t, err, pidf.ErrTooDeep)
	_, err = pidf.DecodeResourceLists([]byte(`<!DOCTYPE resource-lists SYSTEM "x">` + string(list(""))))
	require.ErrorIs(t, err, pidf.ErrDTD)
	_, err = pidf.DecodeResourceLists(read(t, "spec", "4.3-publish.xml"))
	require.ErrorIs(t, err, pidf.ErrRoot)
	require.ErrorContains(t, err, "presence instead of {urn:ietf:params:xml:ns:resource-lists}resource-lists")
	r, err := pidf.DecodeResourceLists(list(`<list><entry/><entry uri="sip:a@b"><display-name>a</display-name><display-name>b</display-name></entry></list>`))
	require.NoError(t, err)
	require.Equal(t, "uri missing", r.Warnings[0].Text)
	require.Len(t, r.Lists[0].Items[1].Entry.Extensions, 1)
}

// RFC 4662 §5.
func TestListInfo(t *testing.T) {
	data := read(t, "rlmi", "list.xml")
	l, err := pidf.DecodeListInfo(data)
	require.NoError(t, err)
	require.Empty(t, l.Warnings)
	require.Equal(t, events(t, data), events(t, l.AppendXML(nil)))
	require.Equal(t, uint32(1), l.Version)
	require.True(t, l.FullState)
	require.Equal(t, []pidf.Note{{Lang: "en", Text: "Buddy List at Example"}, {Lang: "de", Text: "Liste der Freunde"}}, l.Names)
	require.Equal(t, pidf.Instance{ID: "juwigmtboe", State: pidf.InstanceActive, CID: "bUZBsM@pres.vancouver.example.com"}, l.Resources[0].Instances[0])
	require.Equal(t, "rejected", l.Resources[1].Instances[0].Reason)
	require.Empty(t, l.Resources[2].Instances)
}

// RFC 4662 §5.1: multipart/related, its root first or wherever start says.
func TestRelated(t *testing.T) {
	const contentType = `multipart/related;type="application/rlmi+xml";start="<a@b>";boundary="x"`
	data := read(t, "rlmi", "notify.mime")
	r, err := pidf.DecodeRelated(contentType, data)
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
	again, err := pidf.DecodeRelated(written, body[7:])
	require.NoError(t, err)
	require.Equal(t, r.Parts, again.Parts)
	require.Equal(t, r.List.AppendXML(nil), again.List.AppendXML(nil))
	repeated, _ := again.Append(nil)
	require.Equal(t, string(body[7:]), string(repeated), "equal messages are equal bytes")

	// What a host puts into identifiers cannot end a header.
	r.Parts[0].ID = "x>\r\nEvil: 1"
	body, written = r.Append(nil)
	require.NotContains(t, string(body), "\r\nEvil")
	_, err = pidf.DecodeRelated(written, body)
	require.NoError(t, err)
}

func TestRelatedRefused(t *testing.T) {
	good := string(read(t, "rlmi", "notify.mime"))
	for name, test := range map[string]struct{ contentType, body string }{
		"other type":     {"multipart/mixed;boundary=x", good},
		"no boundary":    {"multipart/related", good},
		"no type":        {"", good},
		"other boundary": {"multipart/related;boundary=y", good},
		"no such start":  {`multipart/related;start="<nobody>";boundary=x`, good},
		"other root":     {`multipart/related;start="<bUZBsM@pres.vancouver.example.com>";boundary=x`, good},
		"cut":            {"multipart/related;boundary=x", good[:200]},
		"nothing":        {"multipart/related;boundary=x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pidf.DecodeRelated(test.contentType, []byte(test.body))
			require.ErrorIs(t, err, pidf.ErrRelated)
		})
	}
	_, err := pidf.Decoder{Limits: pidf.Limits{Bytes: 100}}.DecodeRelated("multipart/related;boundary=x", []byte(good))
	require.ErrorIs(t, err, pidf.ErrTooLarge)
	_, err = pidf.DecodeRelated("multipart/related;boundary=x", []byte(strings.Replace(good, "</list>", "", 1)))
	require.ErrorIs(t, err, pidf.ErrSyntax)
	_, err = pidf.DecodeRelated("multipart/related;boundary=x", []byte(strings.Repeat("--x\r\n\r\n\r\n", 10_001)+"--x--\r\n"))
	require.ErrorIs(t, err, pidf.ErrTooMany)
}

// Parts in other transfer encodings.
func TestRelatedEncodings(t *testing.T) {
	rlmi := `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:a@b" version="3" fullState="0"/>`
	message := "--x\r\nContent-Type: application/rlmi+xml\r\n\r\n" + rlmi +
		"\r\n--x\r\nContent-Type: text/plain\r\nContent-ID: <b>\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=" +
		"\r\n--x\r\nContent-Type: text/plain\r\nContent-ID: <q>\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\r\nh=65llo\r\n--x--\r\n"
	r, err := pidf.DecodeRelated("Multipart/Related; boundary=x", []byte(message))
	require.NoError(t, err)
	require.Equal(t, uint32(3), r.List.Version)
	require.False(t, r.List.FullState)
	require.Equal(t, []pidf.Part{{ID: "b", Type: "text/plain", Body: []byte("hello")}, {ID: "q", Type: "text/plain", Body: []byte("hello")}}, r.Parts)
}

// RFC 3858.
func TestWatcherInfo(t *testing.T) {
	data := read(t, "watcherinfo", "full.xml")
	i, err := pidf.DecodeWatcherInfo(data)
	require.NoError(t, err)
	require.Empty(t, i.Warnings)
	require.Equal(t, events(t, data), events(t, i.AppendXML(nil)))
	seconds := func(n time.Duration) *time.Duration { n *= time.Second; return &n }
	require.Equal(t, []pidf.Watcher{
		{URI: "sip:userA@example.net", ID: "8ajksjda7s", Status: pidf.WatcherActive, Event: "approved", DurationSubscribed: seconds(509)},
		{URI: "sip:userB@example.org", ID: "hh8juja87s997-ass7", Status: pidf.WatcherPending, Event: "subscribe", DisplayName: "Mr. Subscriber", Lang: "en", Expiration: seconds(3000)},
	}, i.Lists[0].Watchers)

	p := &pidf.WatcherInfo{Version: 7, Partial: true}
	q, err := pidf.DecodeWatcherInfo(p.AppendXML(nil))
	require.NoError(t, err)
	require.Equal(t, p, q)
}
