// Package deadlinetest makes times as they are when the clock on the wall is set.
package deadlinetest

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// BeforeJump returns t as [time.Now] would have given it before somebody set the clock on the wall
// by that much, in whole seconds: with the same reading of the monotonic clock, and an older or a
// later one of the other.
func BeforeJump(t *testing.T, at time.Time, by time.Duration) time.Time {
	before := at
	*(*uint64)(unsafe.Pointer(&before)) -= uint64(by/time.Second) << 30 // where a time.Time has its seconds
	require.Zero(t, before.Sub(at))
	require.Equal(t, by, at.Round(0).Sub(before.Round(0)))
	return before
}
