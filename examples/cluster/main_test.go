package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test's own binary is the program, as a node.
func TestMain(m *testing.M) {
	if len(os.Args) == 6 && os.Args[1] == "node" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The day as a newcomer reads it: nobody notices that machines come and go (BSX-12). The
// leases are longer, since a node that a busy machine starves would lose a short one.
func TestDay(t *testing.T) {
	var out strings.Builder
	require.NoError(t, day(t.Context(), &out, 15*time.Second), &out)
	for _, state := range []string{"busy", "idle"} {
		require.Contains(t, out.String(), "their lines are "+state+". Both see it after ")
	}
	require.Equal(t, 2, strings.Count(out.String(), "Tom, who was told nothing else meanwhile, sees it "), out.String())
}
