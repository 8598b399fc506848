package presence_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// printed reads a request as the interface description prints it.
func printed(t *testing.T, name string) *sipx.Request {
	data, err := os.ReadFile(filepath.Join("testdata", "printed", name+".sip"))
	require.NoError(t, err)
	req := sipxtest.NewRequest(string(data))
	req.Flow = udp("192.0.2.7:5060")
	return req
}

// firstly takes the To tag away that the document prints in what are first
// requests everywhere else (BSP-4.1-3).
func firstly(req *sipx.Request) *sipx.Request {
	req.To.Params = ""
	return req
}

// printedWorld has the directory that the document tells of: its SIP column has
// the mail addresses, and the number of the printed client, 67251, is in none.
func printedWorld(t *testing.T, configure ...func(*presence.Config)) *world {
	dir, err := directory.NewMemory([]directory.Entry{
		{ID: "tom", Account: `de\ptest`, SIP: []string{"tom.hanks@astra.com"}, Lines: []string{"2719"}},
		{ID: "bill", SIP: []string{"bill@aastra.com", "bill@example.com"}},
		{ID: "joe", SIP: []string{"joe@example.org"}},
		{ID: "ted", SIP: []string{"ted@example.net"}},
	})
	require.NoError(t, err)
	return newWorld(t, append(configure, func(c *presence.Config) { c.Directory, c.Domains = dir, []string{"astra.com", "aastra.com"} })...)
}

// BSP-4-1: every request that the document prints is answered as it prints.
func TestPrintedRequests(t *testing.T) {
	t.Run("§2.10 SUBSCRIBE with a list", func(t *testing.T) {
		w := printedWorld(t)
		for _, name := range []string{"2.10-subscribe", "2.10-subscribe-auth"} {
			res := w.send(printed(t, name))
			require.Equal(t, 200, res.Status, res.Reason)
			require.Equal(t, "300", res.Header.Get("Expires"))
			sent := w.net.take()
			require.Len(t, sent, 3)
			for i, entity := range []string{"sip:bill@aastra.com", "sip:joe@example.org", "sip:ted@example.net"} {
				require.Equal(t, entity, sent[i].doc(t).Entity)
			}
		}
		require.True(t, w.server.Subscriptions()[0].Own, "bill is the first that 67251 subscribes to")
	})
	t.Run("§4.1 SUBSCRIBE", func(t *testing.T) {
		w := printedWorld(t)
		require.Equal(t, 481, w.send(printed(t, "4.1-subscribe")).Status)
		res := w.send(firstly(printed(t, "4.1-subscribe")))
		require.Equal(t, 200, res.Status)
		require.Equal(t, "300", res.Header.Get("Expires"))
		require.NotEmpty(t, res.Header.Get("Contact"))
		n := w.net.take()[0]
		require.Equal(t, "sip:tom.hanks@astra.com", n.doc(t).Entity)
		require.Equal(t, "sip:tom.hanks@astra.com:5060", n.From.URI.String())
		require.Equal(t, "192.0.2.7:5060", n.Flow.Remote.String(), "its Contact is private and elsewhere")
	})
	t.Run("§4.2 SUBSCRIBE with a list", func(t *testing.T) {
		w := printedWorld(t)
		require.Equal(t, 481, w.send(printed(t, "4.2-subscribe-list")).Status)
		res := w.send(firstly(printed(t, "4.2-subscribe-list")))
		require.Equal(t, 200, res.Status)
		require.Equal(t, "300", res.Header.Get("Expires"), "7200 were asked for")
		require.Len(t, w.net.take(), 3)
	})
	t.Run("§4.3 PUBLISH", func(t *testing.T) {
		w := printedWorld(t)
		res := w.send(printed(t, "4.3-publish")) // 18762 is not ours (BSP-2.4-5)
		require.Equal(t, 200, res.Status, res.Reason)
		require.Equal(t, "3600", res.Header.Get("Expires"))
		require.NotEmpty(t, res.Header.Get("Contact"))
		again := printed(t, "4.3-publish")
		drop(again, "SIP-If-Match")
		again.Header.Add("SIP-If-Match", etag(res))
		require.Equal(t, etag(res), etag(w.send(again)))
		view, err := w.server.Presence(t.Context(), "sip:tom.hanks@astra.com")
		require.NoError(t, err)
		require.Equal(t, shown{"sip:tom.hanks@astra.com", "busy", "HELLO", "busy", "gam"}, shownOf(view.Document))
	})
	t.Run("§4.3 PUBLISH for forwarding", func(t *testing.T) {
		require.Equal(t, 489, printedWorld(t).send(printed(t, "4.3-publish-forward")).Status)
		x := &lync{}
		w := printedWorld(t, func(c *presence.Config) { c.Forward = x })
		req := printed(t, "4.3-publish-forward")
		require.Equal(t, 412, w.send(req).Status)
		req = printed(t, "4.3-publish-forward")
		drop(req, "SIP-If-Match")
		require.Equal(t, 200, w.send(req).Status)
		require.Equal(t, []string{"tom→sip:sean.connery@astra.com"}, x.calls)
	})
}

// BSP-4.1-1, BSP-2.2-2: the requests of §4.1 and §4.3 are of one client, that of
// tom.hanks, whether somebody was authenticated or not; its sign-out ends both.
func TestPrintedRequestsAreOfOneClient(t *testing.T) {
	for _, decision := range []auth.Decision{{Verdict: auth.Accept}, as(`de\ptest`)} {
		w := printedWorld(t, func(c *presence.Config) { c.Guard = &gate{decision: decision} })
		require.Equal(t, 200, w.send(firstly(printed(t, "4.1-subscribe"))).Status)
		publish := printed(t, "4.3-publish")
		drop(publish, "SIP-If-Match")
		require.Equal(t, 200, w.send(publish).Status)
		require.Len(t, w.server.Clients(), 1)
		require.Equal(t, "tom", w.server.Clients()[0].User)
		require.Equal(t, 1, w.server.Clients()[0].Subscriptions)
		w.net.take()
		bye := printed(t, "4.3-publish")
		drop(bye, "SIP-If-Match")
		drop(bye, "Expires")
		bye.Header.Add("Expires", "0")
		bye.Body = nil
		require.Equal(t, 200, w.send(bye).Status)
		require.Equal(t, "terminated;reason=timeout", w.net.take()[0].state())
		require.Zero(t, w.server.Stats().Clients)
	}
}

func drop(req *sipx.Request, name string) {
	var kept sipx.Header
	for _, f := range req.Header {
		if !strings.EqualFold(f.Name, name) {
			kept = append(kept, f)
		}
	}
	req.Header = kept
}
