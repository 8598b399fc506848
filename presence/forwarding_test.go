package presence_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

// lync is a forwarding controller that records.
type lync struct {
	calls []string
	err   error
}

func (x *lync) Forward(_ context.Context, user directory.Entry, destination string) error {
	x.calls = append(x.calls, user.ID+"→"+destination)
	return x.err
}

func (e *endpoint) forward(to, tag string, fields ...string) *sipx.Response {
	e.w.Helper()
	e.w.n++
	if tag != "" {
		fields = append(fields, "SIP-If-Match: "+tag)
	}
	if len(fields) == 0 || fields[0][:7] != "Expires" {
		fields = append(fields, "Expires: 3600")
	}
	return e.w.send(e.request("PUBLISH", "sip:tom@192.0.2.8", "<"+to+">", "fwd", e.w.n, "", append(fields, "Event: lyncforwarding")...))
}

// BSP-4.3-6: forwarding goes to the host's controller, is shown, and follows the
// rules of publications.
func TestForwarding(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := &lync{}
		w := newWorld(t, func(c *presence.Config) { c.Forward = x })
		watcher, _ := w.client("ann", "192.0.2.7").subscribe("sip:tom@example.com")
		w.net.take()
		tom := w.client("tom", "192.0.2.8")
		destination := func() string {
			uc := aa.PresenceOf(&watcher.one().doc(t).Persons[0]).ExternalUC
			if uc == nil {
				return ""
			}
			return uc.FwdDestination
		}
		res := tom.forward("sip:sean@elsewhere.example:5060", "")
		require.Equal(t, 200, res.Status)
		require.NotEmpty(t, etag(res))
		require.Equal(t, "sip:sean@elsewhere.example", destination())
		require.Equal(t, 412, tom.forward("sip:x@example.com", "18762").Status)
		require.Equal(t, etag(res), etag(tom.forward("tel:6894", etag(res))))
		require.Equal(t, "tel:6894", destination())
		require.Equal(t, 200, tom.forward("sip:tom@example.com", "").Status, "To = From ends it")
		require.Empty(t, destination())
		tom.forward("tel:6894", "")
		require.Equal(t, "tel:6894", destination())
		require.Equal(t, 200, tom.forward("tel:6894", "", "Expires: 0").Status)
		require.Empty(t, destination())
		require.Equal(t, []string{"tom→sip:sean@elsewhere.example", "tom→tel:6894", "tom→", "tom→tel:6894", "tom→"}, x.calls)

		tag := etag(tom.status("", "busy", ""))
		w.net.take()
		require.Equal(t, tag, etag(tom.forward("tel:6894", tag)), "the publication's entity-tag")
		require.Equal(t, "tel:6894", destination())
		for range 13 {
			time.Sleep(280 * time.Second)
			tom.publish(tag, "")
			watcher.refresh()
		}
		require.Empty(t, destination(), "it has expired")
		require.Equal(t, "tom→", x.calls[len(x.calls)-1])
	})
}

// BSP-4.3-6, BSP-2.4-7: refused, unavailable, somebody else's.
func TestForwardingRefused(t *testing.T) {
	x, g := &lync{}, &gate{decision: as(`de\tom`)}
	w := newWorld(t, func(c *presence.Config) { c.Forward, c.Guard = x, g })
	tom := w.client("tom", "192.0.2.8")
	x.err = presence.ErrRefused
	require.Equal(t, 403, tom.forward("tel:1", "").Status)
	x.err = errors.New("Lync is down")
	require.Equal(t, 503, tom.forward("tel:1", "").Status)
	x.err = nil
	g.decision.Identity = auth.Identity{Account: `de\ann`}
	require.Equal(t, 403, tom.forward("tel:1", "").Status)
	require.Equal(t, 404, w.client("nobody", "192.0.2.9").forward("tel:1", "").Status)
	require.Len(t, x.calls, 2)
}
