package sipx_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stacktest"
)

func TestWiring(t *testing.T) {
	stacktest.Run(t, func(t *testing.T) sipx.Stack {
		s, err := listenUDP("127.0.0.1:0", 2*time.Second)
		require.NoError(t, err)
		return s
	})
}
