package stack_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// While Config.MaySend says no, nothing leaves: neither what is sent now, nor what would be
// sent again. What was not sent does not leave later (BSX-12).
func TestMaySend(t *testing.T) {
	var may atomic.Bool
	s := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0"}, MaySend: may.Load})
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer peer.Close()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	send := func(uri string) <-chan error {
		outcome := make(chan error, 1)
		s.Send(options(uri), sipx.ResponseHandlerFunc(func(_ *sipx.Request, _ *sipx.Response, err error) { outcome <- err }))
		return outcome
	}
	received := func() *sipx.Request {
		buf := make([]byte, 64<<10)
		n, err := peer.Read(buf)
		require.NoError(t, err)
		req, err := sipx.ParseRequest(buf[:n])
		require.NoError(t, err)
		return req
	}
	require.ErrorIs(t, <-send("sip:first@"+peer.LocalAddr().String()), sipx.ErrStackClosed)
	require.Error(t, <-send("sip:first@"+l.Addr().String()+";transport=tcp"))
	may.Store(true)
	second := send("sip:second@" + peer.LocalAddr().String())
	require.Equal(t, "second", received().URI.User)
	may.Store(false)
	require.ErrorIs(t, <-second, sipx.ErrStackClosed, "it would be sent again now")
}

// A 503 and the answer to a ping leave all the same, and the connection stays. Any other
// answer does not leave, and ends it (BSX-12).
func TestMaySendRefusals(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}, MaySend: func() bool { return false }})
	serve(t, s, sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		status := 200
		if r.Header.Get("Subject") == "refuse" {
			status = 503
		}
		_ = w.Respond(sipx.NewResponse(status))
	}))
	for _, transport := range []string{"udp", "tcp"} {
		c, err := net.Dial(transport, address(s, transport))
		require.NoError(t, err)
		defer c.Close()
		write := func(text string) {
			_, err := fmt.Fprint(c, text)
			require.NoError(t, err)
		}
		if transport == "udp" { // what is answered first is the second
			write(message("UDP", "udp1", "Content-Length: 0\r\n"))
		}
		write(message(strings.ToUpper(transport), transport+"2", "Subject: refuse\r\nContent-Length: 0\r\n"))
		require.Regexp(t, "^SIP/2.0 503 ", read(t, c))
		if transport == "udp" {
			continue
		}
		write("\r\n\r\n")
		require.Equal(t, "\r\n", read(t, c))
		write(message("TCP", "tcp3", "Content-Length: 0\r\n"))
		require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
		_, err = c.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
}
