package client_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// accepting answers each SUBSCRIBE 200 at once and remembers its dialog.
type accepting struct {
	sipxtest.NullSender
	last *sipx.Request
}

func (a *accepting) Send(req *sipx.Request, done sipx.ResponseHandler) {
	a.last = req
	res := sipx.NewResponse(200)
	res.ToTag = "server"
	done.HandleResponse(req, res, nil)
}

// FuzzNotify gives a client whatever a server could send within its dialog. Each
// request is answered once; what is refused tells the host nothing unless it ended
// the subscription; and what is told can be printed in one line.
func FuzzNotify(f *testing.F) {
	document := busy(tom, "In a call")
	f.Add("presence", "active;expires=300", "application/pidf+xml", uint32(1), []byte(document), false)
	f.Add("presence", "terminated;reason=deactivated;retry-after=1", "", uint32(2), []byte(nil), false)
	f.Add("presence", "terminated;reason=\"a;b\"", "application/pidf+xml;charset=x", uint32(0), []byte("<presence"), true)
	f.Add("presence;id=1", "pending;expires=99999999999", "text/plain", uint32(1<<31), []byte("x"), false)
	f.Add("presence", "active", `multipart/related;boundary="b";type="application/rlmi+xml"`, uint32(7), []byte("--b\r\n\r\n"), true)
	f.Fuzz(func(t *testing.T, event, state, contentType string, seq uint32, body []byte, standard bool) {
		if strings.ContainsAny(event+state+contentType, "\r\n") {
			return // not what a stack hands on
		}
		sender := new(accepting)
		var told []client.Notification
		c, err := client.New(client.Config{
			Sender: sender, Server: sipx.URI{Scheme: "sip", Host: "192.0.2.1"}, Address: tom, Standard: standard,
			Notify: func(n client.Notification) { told = append(told, n) },
		})
		require.NoError(t, err)
		defer c.Abandon()
		require.NoError(t, c.SignIn(t.Context()))
		req := &sipx.Request{
			Method: "NOTIFY", CallID: sender.last.CallID, CSeq: seq, Body: body,
			From: sender.last.To.WithTag("server"), To: sender.last.From,
			Header: sipx.Header{field("Event", event), field("Subscription-State", state), field("Content-Type", contentType)},
		}
		var w sipxtest.Recorder
		c.ServeSIP(t.Context(), &w, req)
		require.Equal(t, 1, w.Calls())
		status := w.Response().Status
		if status != 200 {
			for _, n := range told {
				require.Equal(t, client.Terminated, n.State)
				require.Nil(t, n.Presence)
			}
		}
		for _, n := range told {
			line := n.Summary().String()
			require.False(t, strings.ContainsAny(line, "\r\n\x1b"), "%q", line)
		}
	})
}
