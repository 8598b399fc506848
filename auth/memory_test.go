package auth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/auth/authtest"
)

func newMemory(t testing.TB) auth.Store {
	m, err := auth.NewMemory(authtest.StoreLimit, nil)
	require.NoError(t, err)
	return m
}

func TestMemory(t *testing.T) {
	authtest.TestStore(t, newMemory, authtest.Options{})
}

func TestMemoryExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		authtest.TestStore(t, newMemory, authtest.Options{Sleep: time.Sleep})
	})
}

// Expired records do not stay until the bound is met (BSX-4).
func TestMemorySweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := auth.NewMemory(0, map[auth.Kind]int{auth.KindKnown: 1})
		require.NoError(t, err)
		for _, key := range []string{"a", "b", "c"} {
			require.NoError(t, m.Put(t.Context(), auth.KindChallenge, key, "x", time.Minute))
			require.NoError(t, m.Put(t.Context(), auth.KindKnown, key, "x", time.Minute))
		}
		require.Equal(t, 3, m.Count(auth.KindChallenge))
		require.Equal(t, 1, m.Count(auth.KindKnown))
		time.Sleep(time.Minute)
		require.Zero(t, m.Count(auth.KindChallenge))
	})
}

func TestNewMemoryRefuses(t *testing.T) {
	_, err := auth.NewMemory(-1, nil)
	require.ErrorContains(t, err, "below 1")
	_, err = auth.NewMemory(1, map[auth.Kind]int{"sessions": 1})
	require.ErrorContains(t, err, `"sessions"`)
}
