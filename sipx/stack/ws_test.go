package stack_test

import (
	"net"
	"testing"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx/stack"
)

// BSX-4: memory is for what has come of a message, not for what its length
// promises, and a large one keeps none for the time that its connection idles.
func TestWebSocketMemory(t *testing.T) {
	const long = 200 << 10
	for name, write := range map[string]func(net.Conn) error{
		"promised": func(c net.Conn) error {
			return ws.WriteHeader(c, ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: long})
		},
		"gone": func(c net.Conn) error {
			if err := ws.WriteFrame(c, ws.MaskFrame(ws.NewTextFrame(make([]byte, long)))); err != nil {
				return err
			}
			return ws.WriteFrame(c, ws.MaskFrame(ws.NewTextFrame([]byte("small"))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := net.Pipe()
			wrote := make(chan error, 1)
			go func() {
				err := write(client)
				_ = client.Close()
				wrote <- err
			}()
			held := stack.WebSocketBuffer(server, 256<<10)
			require.NoError(t, <-wrote)
			require.LessOrEqual(t, held, 64<<10)
		})
	}
}

// RFC 7118 §4: a handshake without the subprotocol is refused.
func TestWebSocketSubprotocol(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"ws:127.0.0.1:0"}})
	for name, protocols := range map[string][]string{"none": nil, "another": {"chat"}} {
		_, _, _, err := ws.Dialer{Protocols: protocols}.Dial(t.Context(), "ws://"+address(s, "ws"))
		require.ErrorContains(t, err, "400", name)
	}
	c, _, shake, err := ws.Dialer{Protocols: []string{"chat", "sip"}}.Dial(t.Context(), "ws://"+address(s, "ws"))
	require.NoError(t, err)
	require.Equal(t, "sip", shake.Protocol)
	require.NoError(t, c.Close())
}
