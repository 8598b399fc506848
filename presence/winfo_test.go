package presence_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/watcherinfo"
	"github.com/openblustar/blustar/sipx"
)

func (n *notify) watcherInfo(t *testing.T) (version uint64, watchers []string) {
	require.Equal(t, "application/watcherinfo+xml", n.Header.Get("Content-Type"))
	info, err := watcherinfo.Decode(pidf.Decoder{}, n.Body)
	require.NoError(t, err)
	require.False(t, info.Partial)
	require.Equal(t, "presence", info.Lists[0].Package)
	for _, w := range info.Lists[0].Watchers {
		require.Equal(t, "active", w.Status)
		watchers = append(watchers, w.URI)
	}
	return info.Version, watchers
}

func (e *endpoint) winfo(uri string, fields ...string) (*sub, *sipx.Response) {
	e.w.Helper()
	e.w.n++
	s := &sub{e: e, uri: uri, callID: "winfo", cseq: 1}
	res := e.w.send(e.request("SUBSCRIBE", uri, "<"+uri+">", s.callID, 1, "", append(fields, "Event: presence.winfo")...))
	s.toTag = res.ToTag
	return s, res
}

// RFC 3857, RFC 3858: a user sees who watches; at most one NOTIFY in five
// seconds, with versions that rise by one.
func TestWatcherInfo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.standard("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.net.take()
		info, res := w.standard("tom", "192.0.2.8").winfo("sip:tom@example.com", "Accept: application/watcherinfo+xml")
		require.Equal(t, 200, res.Status, res.Reason)
		version, watchers := info.one().watcherInfo(t)
		require.Zero(t, version)
		require.Equal(t, []string{"sip:ann@example.com"}, watchers)

		time.Sleep(10 * time.Second)
		bob, _ := w.standard("bob", "192.0.2.9").subscribe("tel:2719")
		synctest.Wait()
		version, watchers = info.one().watcherInfo(t)
		require.Equal(t, uint64(1), version)
		require.Equal(t, []string{"sip:ann@example.com", "sip:bob@example.com"}, watchers)

		bob.end()
		w.standard("bob", "192.0.2.9").subscribe("sip:tom@example.com")
		synctest.Wait()
		require.Empty(t, info.of(w.net.take()))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		_, watchers = info.one().watcherInfo(t)
		require.Len(t, watchers, 2)
		w.standard("tom", "192.0.2.8").publish("", pidfBody("open", "", ""))
		require.Empty(t, info.of(w.net.take()), "presence is not its business")
		require.Equal(t, 200, info.again("", "Expires: 0", "Event: presence.winfo").Status)
	})
}

// BSX-4: however many they are, and whatever they are called, the document fits a
// datagram.
func TestWatcherInfoFits(t *testing.T) {
	for _, character := range []string{"x", "&"} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			for i := range 300 {
				e := w.standard("ann", "192.0.2.7")
				e.from = fmt.Sprintf("sip:%s%d@example.com", strings.Repeat(character, 200), i)
				_, res := e.subscribe("sip:tom@example.com")
				require.Equal(t, 200, res.Status)
			}
			w.net.take()
			info, _ := w.standard("tom", "192.0.2.8").winfo("sip:tom@example.com")
			n := info.one()
			require.Less(t, len(n.Body), 60_000)
			_, watchers := n.watcherInfo(t)
			require.Greater(t, len(watchers), 50)
		})
	}
}

// RFC 3857 §4.5: nobody else sees it.
func TestWatcherInfoIsPrivate(t *testing.T) {
	w, g := guarded(t, as(`de\ann`))
	for _, tt := range []struct{ from, uri string }{
		{"ann", "sip:tom@example.com"}, {"tom", "sip:tom@example.com"}, {"nobody", "sip:nobody@example.com"},
	} {
		_, res := w.standard(tt.from, "192.0.2.7").winfo(tt.uri)
		require.Equal(t, 403, res.Status, tt.from)
	}
	g.decision = as(`de\tom`)
	_, res := w.standard("tom", "192.0.2.7").winfo("tel:2719")
	require.Equal(t, 200, res.Status)
	require.Equal(t, "Standard", w.server.Subscriptions()[0].Dialect)
	_, res = w.standard("tom", "192.0.2.7").winfo("tel:2719", "Accept: application/pidf+xml")
	require.Equal(t, 406, res.Status)
}
