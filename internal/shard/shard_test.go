package shard_test

import (
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/shard"
)

// Many goroutines put, find and take away keys of their own at once; what is left is
// there, once each.
func TestMap(t *testing.T) {
	m := shard.New[int]()
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			for j := range 1000 {
				n := i*1000 + j
				key := strconv.Itoa(n)
				p := m.Lock(key)
				p.Of[key] = n
				p.Unlock()
				if m.Get(key) != n {
					t.Error(key)
				}
				if n%2 == 1 {
					p := m.Lock(key)
					delete(p.Of, key)
					p.Unlock()
				}
			}
		})
	}
	work.Wait()
	var want []int
	for n := 0; n < 8000; n += 2 {
		want = append(want, n)
	}
	require.Equal(t, len(want), m.Len())
	got := m.Values()
	slices.Sort(got)
	require.Equal(t, want, got)
	require.Zero(t, m.Get("1"))
}
