package heap

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// A small heap gets the room, a large one what every Go program has.
func TestPercent(t *testing.T) {
	const mib = 1 << 20
	require.Equal(t, 3200, percent(0, 128*mib))
	require.Equal(t, 400, percent(32*mib, 128*mib))
	require.Equal(t, 100, percent(128*mib, 128*mib))
	require.Equal(t, 100, percent(1024*mib, 128*mib))
	require.Equal(t, 1<<16, percent(0, 1<<40))
}

// What a busy time leaves is collected when three seconds were quiet, once; a process that
// stays busy, or has hardly any garbage, is left alone.
func TestKeeper(t *testing.T) {
	const mib = 1 << 20
	k := keeper{room: 128 * mib}
	allocated := uint64(0)
	look := func(live, used, more uint64) (int, bool) {
		allocated += more
		return k.look(live, used, allocated)
	}
	set, collect := look(4*mib, 10*mib, 50*mib)
	require.Equal(t, 3200, set)
	require.False(t, collect)
	for range 10 {
		set, collect = look(32*mib, 100*mib, 50*mib)
		require.False(t, collect, "busy")
	}
	require.Zero(t, set, "nothing changed since")
	for range 2 {
		_, collect = look(32*mib, 100*mib, 1000)
		require.False(t, collect)
	}
	_, collect = look(32*mib, 100*mib, 1000)
	require.True(t, collect)
	for range 10 {
		_, collect = look(30*mib, 31*mib, 1000)
		require.False(t, collect, "it is clean")
	}
	set, _ = look(100*mib, 120*mib, 50*mib)
	require.Equal(t, 128, set)
}

// Without room, and where the operator has set GOGC, nothing is changed; and afterwards it is
// as it was.
func TestKeep(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	percent := func() int {
		p := debug.SetGCPercent(77)
		debug.SetGCPercent(p)
		return p
	}
	defer Keep(0)()
	require.Equal(t, 77, percent())
	stop := Keep(1 << 30)
	require.NotEqual(t, 77, percent())
	stop()
	require.Equal(t, 77, percent())
	t.Setenv("GOGC", "50")
	defer Keep(1 << 30)()
	require.Equal(t, 77, percent())
}
