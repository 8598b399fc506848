package directory

import (
	"hash/maphash"
	"testing"

	"github.com/stretchr/testify/require"
)

// Two keys that have the same hash are told apart.
func TestSameHash(t *testing.T) {
	keys := []string{"ann", "tom", "ann"}
	x := newIndex(0)
	x.add(keys[0], 0)
	x.first[maphash.String(x.seed, "tom")] = 0
	x.add(keys[1], 1)
	x.add(keys[2], 2)
	find := func(key string) (int, []int, bool) {
		return x.find(key, func(place int) bool { return keys[place] == key })
	}
	first, more, ok := find("tom")
	require.True(t, ok)
	require.Equal(t, 1, first)
	require.Empty(t, more)
	first, more, ok = find("ann")
	require.True(t, ok)
	require.Equal(t, 0, first)
	require.Equal(t, []int{2}, more)
	_, _, ok = find("eve")
	require.False(t, ok)
}
