package presence

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Deaths without end take bounded memory; the newest are remembered (BSX-4).
func TestHeirsAreBounded(t *testing.T) {
	c := &cluster{server: &Server{}, node: "a", heirs: make(map[string]heir), adopted: make(map[string]bool)}
	c.server.closing = true
	for i := range 2 * maxHeirs {
		c.inherits(fmt.Sprint("n", i), heir{"b", uint64(i)})
		require.LessOrEqual(t, len(c.heirs), maxHeirs)
	}
	require.Equal(t, "b", c.holder(fmt.Sprint("n", 2*maxHeirs-1)))
	require.Equal(t, "n0", c.holder("n0"))
}
