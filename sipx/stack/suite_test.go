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
	stacktest.Run(t, func(t *testing.T) sipx.Stack {
		s, err := stack.Listen(stack.Config{
			Listen:             []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"},
			TransactionTimeout: 2 * time.Second,
		})
		require.NoError(t, err)
		return s
	})
}
