package presence

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every node gets its share of the sources. One that comes takes its part of them, some from
// each of the others; one that goes leaves all others where they were (BSX-12).
func TestWeights(t *testing.T) {
	const keys, nodes = 10_000, 5
	// of tells who has each source, of the first n nodes.
	of := func(names ...string) (owners []string, count map[string]int) {
		count = make(map[string]int)
		for i := range keys {
			e := sourceRef{kindLine, fmt.Sprint(2000 + i)}
			c := &cluster{asked: map[sourceRef][]string{e: names}, heirs: make(map[string]heir)}
			var has []string
			for _, name := range names {
				if c.node = name; c.mine(e) {
					has = append(has, name)
				}
			}
			require.Len(t, has, 1)
			owners = append(owners, has[0])
			count[has[0]]++
		}
		return owners, count
	}
	names := []string{"a", "b", "c", "d", "e"}
	before, count := of(names...)
	for _, name := range names {
		require.InDelta(t, keys/nodes, count[name], keys/nodes/10)
	}
	after, count := of(append(names, "f")...)
	require.InDelta(t, keys/(nodes+1), count["f"], keys/nodes/10)
	lost := make(map[string]int)
	for i := range before {
		if after[i] != before[i] {
			require.Equal(t, "f", after[i], "it moves to the new one, or not at all")
			lost[before[i]]++
		}
	}
	for _, name := range names {
		require.InDelta(t, keys/nodes/(nodes+1), lost[name], keys/nodes/20)
	}
}
