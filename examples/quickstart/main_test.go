package main

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The day as a newcomer reads it: BSP-2.10-1 and BSP-2.10-6 (sign-in),
// BSP-2.4-2, BSP-2.5-1, BSP-3.2-3, BSP-3.2-4 (the meeting), BSP-2.3-1 and
// BSP-2.3-2 (the crash), BSP-2.2-2 and BSP-2.2-3 (the last one).
func TestDay(t *testing.T) {
	defer goleak.VerifyNone(t)
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out), &out)
	transcript := out.String()
	for _, line := range []string{
		"A presence server listens on udp 127.0.0.1:",
		"Tom sees that Ann is signed out, Signed out\n",
		"Tom sees that Ann is available, Available\n",
		"Ann sees that Tom is busy, Writing the report\n",
		"Ann sees that Tom is available, Available (telephone 2719: ringing)\n",
		"Ann sees that Tom is busy, In a call (telephone 2719: busy)\n",
		"Ann sees that Tom is busy, In a meeting (telephone 2719: idle)\n",
		`the rule "meeting" won, for the source "calendar 1"`,
		"Ann sees that Tom is available, Available (telephone 2719: idle)\n",
		"Tom sees that Ann is signed out, Signed out\n",
		"Tom is signed out; 0 clients and 0 subscriptions are left.\n",
	} {
		before, after, found := strings.Cut(transcript, line)
		require.True(t, found, "%q is not in\n%s", line, before)
		transcript = after // they come in this order
	}
}

// Where something does not happen, it is an error.
func TestInterrupted(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	require.ErrorIs(t, run(ctx, &out), context.Canceled)
}
