package stack_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
	"github.com/openblustar/blustar/sipx/stacktest"
)

func TestSuite(t *testing.T) {
	secure := certificate(t)
	stacktest.Run(t, func(t *testing.T) sipx.Stack {
		s, err := stack.Listen(stack.Config{
			Listen:             []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0", "tls:127.0.0.1:0", "ws:127.0.0.1:0", "wss:127.0.0.1:0"},
			TLS:                secure,
			TransactionTimeout: 2 * time.Second,
		})
		require.NoError(t, err)
		return s
	})
}
