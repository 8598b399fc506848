package sipgostack_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipgostack"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T, cfg sipgostack.Config) *sipgostack.Stack {
	t.Helper()
	s, err := sipgostack.Listen(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Shutdown(context.Background())) })
	return s
}

func serve(t *testing.T, s sipx.Stack, h sipx.HandlerFunc) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), h) }()
	t.Cleanup(func() {
		require.NoError(t, s.Shutdown(context.Background()))
		require.NoError(t, <-done)
	})
}

func ok(_ context.Context, w sipx.ResponseWriter, _ *sipx.Request) {
	_ = w.Respond(sipx.NewResponse(200))
}

func options(s sipx.Stack, transport string, n int) *sipx.Request {
	for _, f := range s.Listening() {
		if f.Transport == transport {
			return sipxtest.NewRequest(fmt.Sprintf(`
OPTIONS sip:%s;transport=%s SIP/2.0
From: <sip:alice@example.com>;tag=a
To: <sip:bob@example.com>
Call-ID: c1
CSeq: %d OPTIONS`, f.Local, transport, n))
		}
	}
	panic("no such transport")
}

func TestBigBodiesOverUDP(t *testing.T) {
	server := listen(t, sipgostack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}})
	client := listen(t, sipgostack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	serve(t, server, func(_ context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		res := sipx.NewResponse(200)
		res.Body = r.Body
		_ = w.Respond(res)
	})
	for _, transport := range []string{"udp", "tcp"} {
		for _, size := range []int{0, 1100, 1300, 1500, 9000, 60000} {
			req := options(server, transport, 1)
			req.Body = []byte(strings.Repeat("x", size))
			res, err := sipx.Do(t.Context(), client, req)
			require.NoError(t, err)
			require.Len(t, res.Body, size)
		}
	}
}
