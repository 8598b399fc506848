package await

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReturn(t *testing.T) {
	require.NoError(t, Return(t.Context(), func() {}))
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan struct{})
	defer close(end)
	require.ErrorIs(t, Return(ctx, func() { cancel(); <-end }), context.Canceled)
}
