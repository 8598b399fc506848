package stack_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// A Tap has what it takes, the handler has the rest, and Write answers by the way
// that a message came.
func TestTap(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}})
	strays := make(chan string, 10)
	s.Tap(func(m stack.Tapped) bool {
		if m.Request == nil {
			strays <- string(m.Data)
			return true
		}
		if m.Request.Method != "INVITE" && m.Request.Method != "MESSAGE" {
			return false
		}
		if m.Request.Header.Get("Via") == "" || m.Request.Flow != m.Flow {
			t.Error("the request of a Tap has been checked")
		}
		answer := (&sipx.Response{Status: 486, ToTag: "tap"}).AppendTo(nil, m.Request)
		if err := s.Write(m.Flow, answer); err != nil {
			t.Error(err)
		}
		return true
	})
	serve(t, s, sipx.HandlerFunc(ok))
	for _, f := range s.Listening() {
		c, err := net.Dial(f.Transport, f.Local.String())
		require.NoError(t, err)
		defer c.Close()
		for method, status := range map[string]string{"INVITE": "486", "MESSAGE": "486", "SUBSCRIBE": "200"} {
			text := message(strings.ToUpper(f.Transport), method+f.Transport, "Content-Length: 0\r\n")
			_, err := fmt.Fprint(c, strings.ReplaceAll(text, "OPTIONS", method))
			require.NoError(t, err)
			require.Contains(t, read(t, c), "SIP/2.0 "+status+" ", method)
		}
		_, err = fmt.Fprint(c, "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKforeign\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n")
		require.NoError(t, err)
		require.Contains(t, <-strays, "z9hG4bKforeign", "a response to nothing that the stack has sent")

		// By the address alone: over the connection that is there.
		to := c.LocalAddr().String()
		require.NoError(t, s.Write(sipx.Flow{Transport: f.Transport, Remote: addrPort(t, to)}, []byte("MESSAGE x\r\n\r\n")))
		require.Equal(t, "MESSAGE x\r\n\r\n", read(t, c))
	}
	s.Tap(nil)
	require.ErrorIs(t, s.Write(sipx.Flow{Transport: "tcp", Conn: 99}, nil), sipx.ErrFlowClosed)
	require.ErrorIs(t, s.Write(sipx.Flow{Transport: "ws", Remote: addrPort(t, "127.0.0.1:9")}, nil), sipx.ErrFlowClosed)
	require.Error(t, s.Write(sipx.Flow{Transport: "sctp", Remote: addrPort(t, "127.0.0.1:9")}, nil))
	require.NoError(t, s.Shutdown(context.Background()))
	require.ErrorIs(t, s.Write(s.Listening()[0], nil), sipx.ErrStackClosed)
}

// Everything that is wrong with a Config is told at once.
func TestConfigErrorsTogether(t *testing.T) {
	_, err := stack.Listen(stack.Config{Listen: []string{"sctp:1", "tls:127.0.0.1:0"}, Advertise: []string{"a b"}, MaxPending: -1, ReadTimeout: -1,
		TransactionTimeout: 1 << 40, MaxConnections: 1 << 30})
	for _, want := range []string{`"sctp:1"`, "needs Config.TLS", `"a b"`, "MaxPending", "ReadTimeout", "TransactionTimeout", "MaxConnections"} {
		require.ErrorContains(t, err, want)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	at := taken.Addr().String()
	_, err = stack.Listen(stack.Config{Listen: []string{"udp:192.0.2.1:5060", "udp:127.0.0.1:0", "tcp:" + at}})
	require.ErrorContains(t, err, at)
	require.ErrorContains(t, err, "192.0.2.1:5060")
}

func TestStats(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}})
	serve(t, s, sipx.HandlerFunc(ok))
	c, err := net.Dial("udp", address(s, "udp"))
	require.NoError(t, err)
	defer c.Close()
	request := message("UDP", "stats", "")
	for range 2 {
		_, err = fmt.Fprint(c, request)
		require.NoError(t, err)
		read(t, c)
	}
	_, err = fmt.Fprint(c, "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKbad\r\n\r\n")
	require.NoError(t, err)
	read(t, c)
	_, answered := connect(t, s, "127.0.0.1", "OPTIONS")
	require.True(t, answered)
	st := s.Stats()
	require.EqualValues(t, 1, st.Absorbed)
	require.EqualValues(t, 1, st.Malformed)
	require.Equal(t, 1, st.Connections)
	require.Zero(t, st.Pending)
	require.Greater(t, st.BytesIn, uint64(2*len(request)))
	require.Positive(t, st.BytesOut)
}
