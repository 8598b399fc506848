package stack_test

import (
	"net"
	"sync/atomic"
	"testing"

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
