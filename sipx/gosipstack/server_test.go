package gosipstack_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghettovoice/gosip"
	"github.com/ghettovoice/gosip/sip"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/gosipstack"
	"github.com/openblustar/blustar/sipx/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A gosip.Server and the presence server live on the same ports.
func TestServerOnTheSamePorts(t *testing.T) {
	sockets, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}})
	require.NoError(t, err)
	var served sync.WaitGroup
	served.Go(func() {
		_ = sockets.Serve(context.Background(), sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, r *sipx.Request) {
			_ = w.Respond(sipx.NewResponse(202))
		}))
	})
	calls := gosipstack.NewServer(sockets, gosip.ServerConfig{Host: "127.0.0.1"}, nil, nil)
	answer := func(status sip.StatusCode) gosip.RequestHandler {
		return func(req sip.Request, _ sip.ServerTransaction) {
			if _, err := calls.RespondOnRequest(req, status, "Yes", "", nil); err != nil {
				t.Error(err)
			}
		}
	}
	require.NoError(t, calls.OnRequest(sip.INVITE, answer(486)))
	require.NoError(t, calls.OnRequest(sip.OPTIONS, answer(200)))
	require.Error(t, calls.Listen("udp", "127.0.0.1:0"))

	for _, f := range sockets.Listening() {
		c, err := net.Dial(f.Transport, f.Local.String())
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(5*time.Second)))
		buf := make([]byte, 4096)
		n := 0
		ask := func(method string) string {
			n++
			_, err := fmt.Fprintf(c, "%s sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s%d;rport\r\n"+
				"Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>\r\n"+
				"Call-ID: %s%d\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n",
				method, strings.ToUpper(f.Transport), c.LocalAddr(), f.Transport, n, f.Transport, n, method)
			require.NoError(t, err)
			size, err := c.Read(buf)
			require.NoError(t, err)
			return string(buf[:size])
		}
		require.Contains(t, ask("SUBSCRIBE"), "SIP/2.0 202 ")
		require.Contains(t, ask("OPTIONS"), "SIP/2.0 200 ")
		got := ask("INVITE")
		for strings.Contains(got, "SIP/2.0 100 ") {
			size, err := c.Read(buf)
			require.NoError(t, err)
			got = string(buf[:size])
		}
		require.Contains(t, got, "SIP/2.0 486 ")
		require.Contains(t, ask("PUBLISH"), "SIP/2.0 202 ")

		// And it sends: the request comes from the stack's port.
		if f.Transport == "udp" {
			port := sip.Port(c.LocalAddr().(*net.UDPAddr).Port)
			target := &sip.SipUri{FHost: "127.0.0.1", FPort: &port}
			callID := sip.CallID("from-calls")
			maxForwards := sip.MaxForwards(70)
			req := sip.NewRequest("", sip.OPTIONS, target, "SIP/2.0", []sip.Header{
				&sip.FromHeader{Address: target, Params: sip.NewParams().Add("tag", sip.String{Str: "1"})},
				&sip.ToHeader{Address: target, Params: sip.NewParams()}, &callID,
				&sip.CSeq{SeqNo: 1, MethodName: sip.OPTIONS}, &maxForwards}, "", nil)
			outcome := make(chan error, 1)
			go func() {
				_, err := calls.RequestWithContext(t.Context(), req)
				outcome <- err
			}()
			for in := (*sipx.Request)(nil); in == nil; {
				size, err := c.Read(buf)
				require.NoError(t, err)
				in, err = sipx.ParseRequest(buf[:size])
				if err != nil {
					in = nil // the 486 once more
					continue
				}
				via, err := in.Header.TopVia()
				require.NoError(t, err)
				require.EqualValues(t, f.Local.Port(), via.Port)
				// A very quick answer is not lost.
				_, err = c.Write((&sipx.Response{Status: 200, ToTag: "x"}).AppendTo(nil, in))
				require.NoError(t, err)
			}
			require.NoError(t, <-outcome)
		}
		require.NoError(t, c.Close())
	}
	calls.Shutdown()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	require.NoError(t, sockets.Shutdown(ctx))
	served.Wait()
}
