package slab

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Values are zero, of their own, and in the same memory after Reuse; more of them than are
// kept are allocated.
func TestNew(t *testing.T) {
	var m Memory
	for round := range 3 {
		seen := map[*[2]int]bool{}
		for range 2 * most {
			v := New[[2]int](&m)
			require.Equal(t, [2]int{}, *v)
			require.False(t, seen[v])
			seen[v] = true
			*v = [2]int{1, 2}
			*New[string](&m) = "x"
		}
		if m.Reuse(); round == 0 {
			require.Zero(t, testing.AllocsPerRun(10, func() {
				for range most {
					New[[2]int](&m)
				}
				m.Reuse()
			}))
		}
	}
}

// A list holds what was appended to it, whatever else is handed out meanwhile.
func TestAppend(t *testing.T) {
	var m Memory
	for range 3 {
		var a, b []int
		var want []int
		for i := range 2 * most {
			a, want = Append(&m, a, i), append(want, i)
			if i%5 == 0 {
				b = Append(&m, b, -i)
			}
			if i%7 == 0 {
				*New[int](&m) = 99
			}
			require.Equal(t, want, a)
		}
		for i, v := range b {
			require.Equal(t, -5*i, v)
		}
		m.Reuse()
	}
	require.Equal(t, []int{1}, Append(nil, nil, 1))
}
