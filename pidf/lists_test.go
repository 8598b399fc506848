package pidf_test

import (
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/openblustar/blustar/pidf"
	"github.com/stretchr/testify/require"
)

// RFC 4826 §3: lists nest, entries come in order, references are told from entries.
func TestResourceLists(t *testing.T) {
	r, err := pidf.Decoder{}.DecodeResourceLists(read(t, "lists", "nested.xml"))
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
	r, err = pidf.Decoder{}.DecodeResourceLists(data)
	require.NoError(t, err)
	require.Equal(t, events(t, data), events(t, r.AppendXML(nil)))
}

func TestNewResourceLists(t *testing.T) {
	r := pidf.NewResourceLists("sip:a@b", "tel:200")
	q, err := pidf.Decoder{}.DecodeResourceLists(r.AppendXML(nil))
	require.NoError(t, err)
	require.Equal(t, r, q)
	empty, err := pidf.Decoder{}.DecodeResourceLists((&pidf.ResourceLists{}).AppendXML(nil))
	require.NoError(t, err)
	require.Empty(t, empty.Lists)
}

// BSP-3-5, BSP-4.2-1: what the limits refuse, and what is tolerated.
func TestResourceListsHostile(t *testing.T) {
	list := func(inner string) []byte {
		return []byte(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">` + inner + `</resource-lists>`)
	}
	_, err := pidf.Decoder{}.DecodeResourceLists(list(strings.Repeat("<list>", 40) + strings.Repeat("</list>", 40)))
	require.ErrorIs(t, err, pidf.ErrTooDeep)
	_, err = pidf.Decoder{}.DecodeResourceLists([]byte(`<!DOCTYPE resource-lists SYSTEM "x">` + string(list(""))))
	require.ErrorIs(t, err, pidf.ErrDTD)
	_, err = pidf.Decoder{}.DecodeResourceLists(read(t, "spec", "4.3-publish.xml"))
	require.ErrorIs(t, err, pidf.ErrRoot)
	require.ErrorContains(t, err, "presence instead of {urn:ietf:params:xml:ns:resource-lists}resource-lists")
	r, err := pidf.Decoder{}.DecodeResourceLists(list(`<list><entry/><entry uri="sip:a@b"><display-name>a</display-name><display-name>b</display-name></entry></list>`))
	require.NoError(t, err)
	require.Equal(t, "uri missing", r.Warnings[0].Text)
	require.Len(t, r.Lists[0].Items[1].Entry.Extensions, 1)
}

// RFC 4662 §5.
func TestListInfo(t *testing.T) {
	data := read(t, "rlmi", "list.xml")
	l, err := pidf.Decoder{}.DecodeListInfo(data)
	require.NoError(t, err)
	require.Empty(t, l.Warnings)
	require.Equal(t, events(t, data), events(t, l.AppendXML(nil)))
	require.Equal(t, uint32(1), l.Version)
	require.True(t, l.FullState)
	require.Equal(t, []pidf.Note{{Lang: "en", Text: "Buddy List at Example"}, {Lang: "de", Text: "Liste der Freunde"}}, l.Names)
	require.Equal(t, pidf.Instance{ID: "juwigmtboe", State: "active", CID: "bUZBsM@pres.vancouver.example.com"}, l.Resources[0].Instances[0])
	require.Equal(t, "rejected", l.Resources[1].Instances[0].Reason)
	require.Empty(t, l.Resources[2].Instances)
}

// BSP-3-3: what stands around the root element stays there, in documents of each kind.
func TestAroundRoot(t *testing.T) {
	around := func(root string) string {
		return "<?xml version=\"1.0\"?>\n<!-- before --><?go on?>" + root + "<!-- after -->\n"
	}
	lists, err := pidf.Decoder{}.DecodeResourceLists([]byte(around(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"/>`)))
	require.NoError(t, err)
	info, err := pidf.Decoder{}.DecodeListInfo([]byte(around(`<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:a@b" version="1" fullState="true"/>`)))
	require.NoError(t, err)
	watchers, err := pidf.Decoder{}.DecodeWatcherInfo([]byte(around(`<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="1" state="full"/>`)))
	require.NoError(t, err)
	for _, out := range [][]byte{lists.AppendXML(nil), info.AppendXML(nil), watchers.AppendXML(nil)} {
		all := events(t, out)
		require.Equal(t, []string{"comment  before ", "instruction go on"}, all[:2])
		require.Equal(t, "comment  after ", all[len(all)-1])
	}
}

// Documents whose root has lost its namespace are read as if they had it.
func TestListsWithoutNamespace(t *testing.T) {
	lists, err := pidf.Decoder{}.DecodeResourceLists([]byte(`<resource-lists><list name="l"><entry uri="sip:a@b"><display-name>A</display-name></entry><x:y xmlns:x="urn:x"/></list></resource-lists>`))
	require.NoError(t, err)
	require.Equal(t, "resource-lists without a namespace", lists.Warnings[0].Text)
	require.Equal(t, "A", lists.Lists[0].Items[0].Entry.DisplayName.Text)
	require.Len(t, lists.Lists[0].Extensions, 1)

	info, err := pidf.Decoder{}.DecodeListInfo([]byte(`<list uri="sip:l@b" version="1" fullState="true"><resource uri="sip:a@b"><instance id="1" state="active"/></resource></list>`))
	require.NoError(t, err)
	require.Equal(t, "active", info.Resources[0].Instances[0].State)

	watchers, err := pidf.Decoder{}.DecodeWatcherInfo([]byte(`<watcherinfo version="1" state="full"><watcher-list resource="sip:a@b" package="presence"><watcher id="w" status="active" event="approved">sip:c@d</watcher></watcher-list></watcherinfo>`))
	require.NoError(t, err)
	require.Equal(t, "sip:c@d", watchers.Lists[0].Watchers[0].URI)
}

// RFC 4662 §5.1: multipart/related, its root first or wherever start says.
func TestRelated(t *testing.T) {
	const contentType = `multipart/related;type="application/rlmi+xml";start="<a@b>";boundary="x"`
	data := read(t, "rlmi", "notify.mime")
	r, err := pidf.Decoder{}.DecodeRelated(contentType, data)
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
	again, err := pidf.Decoder{}.DecodeRelated(written, body[7:])
	require.NoError(t, err)
	require.Equal(t, r.Parts, again.Parts)
	require.Equal(t, r.List.AppendXML(nil), again.List.AppendXML(nil))
	repeated, _ := again.Append(nil)
	require.Equal(t, string(body[7:]), string(repeated), "equal messages are equal bytes")

	// What a host puts into identifiers cannot end a header.
	r.Parts[0].ID = "x>\r\nEvil: 1"
	body, written = r.Append(nil)
	require.NotContains(t, string(body), "\r\nEvil")
	_, err = pidf.Decoder{}.DecodeRelated(written, body)
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
		"no end":         {"multipart/related;boundary=x", strings.Replace(good, "--x--", "", 1)},
		"no header":      {"multipart/related;boundary=x", "--x\r\nnothing like it\r\n\r\n--x--"},
		"long header":    {"multipart/related;boundary=x", "--x\r\nA: b\r\n" + strings.Repeat(" c\r\n", 100_000) + "\r\n--x--"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pidf.Decoder{}.DecodeRelated(test.contentType, []byte(test.body))
			require.ErrorIs(t, err, pidf.ErrRelated)
		})
	}
	_, err := pidf.Decoder{Limits: pidf.Limits{Bytes: 100}}.DecodeRelated("multipart/related;boundary=x", []byte(good))
	require.ErrorIs(t, err, pidf.ErrTooLarge)
	_, err = pidf.Decoder{}.DecodeRelated("multipart/related;boundary=x", []byte(strings.Replace(good, "</list>", "", 1)))
	require.ErrorIs(t, err, pidf.ErrSyntax)
	_, err = pidf.Decoder{}.DecodeRelated("multipart/related;boundary=x", []byte(strings.Repeat("--x\r\n\r\n\r\n", 10_001)+"--x--\r\n"))
	require.ErrorIs(t, err, pidf.ErrTooMany)
}

// Parts in other transfer encodings.
func TestRelatedEncodings(t *testing.T) {
	rlmi := `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:a@b" version="3" fullState="0"/>`
	message := "--x\r\nContent-Type: application/rlmi+xml\r\n\r\n" + rlmi +
		"\r\n--x\r\nContent-Type: text/plain\r\nContent-ID: <b>\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=" +
		"\r\n--x\r\nContent-Type: text/plain\r\nContent-ID: <q>\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\r\nh=65llo\r\n--x--\r\n"
	r, err := pidf.Decoder{}.DecodeRelated("Multipart/Related; boundary=x", []byte(message))
	require.NoError(t, err)
	require.Equal(t, uint32(3), r.List.Version)
	require.False(t, r.List.FullState)
	require.Equal(t, []pidf.Part{{ID: "b", Type: "text/plain", Body: []byte("hello")}, {ID: "q", Type: "text/plain", Body: []byte("hello")}}, r.Parts)
}

// Messages as servers send them, more or less after RFC 2046.
func TestRelatedProducts(t *testing.T) {
	const rlmi = `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:a@b" version="3" fullState="true"/>`
	const text = "state of --xylophone"
	want := []pidf.Part{{ID: "c", Type: "text/plain", Body: []byte(text)}}
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
			r, err := pidf.Decoder{}.DecodeRelated(test.contentType, []byte(test.body))
			require.NoError(t, err)
			require.Equal(t, uint32(3), r.List.Version)
			require.Equal(t, want, r.Parts)
			body, contentType := r.Append(nil)
			again, err := pidf.Decoder{}.DecodeRelated(contentType, body)
			require.NoError(t, err)
			require.Equal(t, r.Start, again.Start)
			require.Equal(t, want, again.Parts)
		})
	}
}

// The other fields of a part survive, those that describe how it was transferred aside; none can start another.
func TestRelatedHeaders(t *testing.T) {
	const message = "--x\r\nContent-Type: application/rlmi+xml\r\n\r\n" + `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:a@b" version="3" fullState="true"/>` +
		"\r\n--x\r\ncontent-description: State\r\n of <a>\r\nContent-Disposition: render\r\nContent-Length: 1\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--x--"
	r, err := pidf.Decoder{}.DecodeRelated("multipart/related;boundary=x", []byte(message))
	require.NoError(t, err)
	want := textproto.MIMEHeader{"Content-Description": {"State of <a>"}, "Content-Disposition": {"render"}}
	require.Equal(t, []pidf.Part{{Type: "text/plain", Body: []byte("hello"), Header: want}}, r.Parts)
	body, contentType := r.Append(nil)
	again, err := pidf.Decoder{}.DecodeRelated(contentType, body)
	require.NoError(t, err)
	require.Equal(t, r.Parts, again.Parts)

	r.Parts[0].Header = textproto.MIMEHeader{"X-A": {"1\r\nEvil: 2"}, "Evil: 3\r\nY": {"4"}, "content-type": {"evil/5"}}
	body, _ = r.Append(nil)
	require.Contains(t, string(body), "\r\nX-A: 1Evil: 2\r\n\r\n")
	require.NotContains(t, string(body), "\nEvil")
	require.NotContains(t, string(body), "evil/5")
}

// RFC 3858.
func TestWatcherInfo(t *testing.T) {
	data := read(t, "watcherinfo", "full.xml")
	i, err := pidf.Decoder{}.DecodeWatcherInfo(data)
	require.NoError(t, err)
	require.Empty(t, i.Warnings)
	require.Equal(t, events(t, data), events(t, i.AppendXML(nil)))
	seconds := func(n time.Duration) *time.Duration { n *= time.Second; return &n }
	require.Equal(t, []pidf.Watcher{
		{URI: "sip:userA@example.net", ID: "8ajksjda7s", Status: "active", Event: "approved", DurationSubscribed: seconds(509)},
		{URI: "sip:userB@example.org", ID: "hh8juja87s997-ass7", Status: "pending", Event: "subscribe", DisplayName: "Mr. Subscriber", Lang: "en", Expiration: seconds(3000)},
	}, i.Lists[0].Watchers)

	p := &pidf.WatcherInfo{Version: 7, Partial: true}
	q, err := pidf.Decoder{}.DecodeWatcherInfo(p.AppendXML(nil))
	require.NoError(t, err)
	require.Equal(t, p, q)
}

// Multipart messages are read by the rules first, leniently only where that fails.
func TestMultipartStrictFirst(t *testing.T) {
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
			r, err := pidf.Decoder{}.DecodeRelated(test.contentType, test.body)
			require.NoError(t, err)
			require.Equal(t, "sip:l@b", r.List.URI)
			require.Len(t, r.Parts, 1)
			require.Equal(t, test.want, string(r.Parts[0].Body))
		})
	}
	parts, err := pidf.Decoder{}.Parts(`multipart/mixed; boundary="m"`, message("--m", "Content-Type: application/pidf+xml\r\n\r\n<a/>", "--m", "\r\nb", "--m--"))
	require.NoError(t, err)
	require.Equal(t, []string{"<a/>", "b"}, []string{string(parts[0].Body), string(parts[1].Body)})
	_, err = pidf.Decoder{}.Parts("text/plain", nil)
	require.ErrorIs(t, err, pidf.ErrRelated)
}
