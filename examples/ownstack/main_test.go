package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out), "%s", &out)
	require.Contains(t, out.String(), "Ann sees that line 2719 of Tom is ringing.")
}
