package deadline_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/internal/deadline/deadlinetest"
)

// Times of testing/synctest have no monotonic clock: here real ones are needed.

// Somebody sets the clock on the wall while the process runs: what was to be told is told neither
// sooner nor an hour later, and a record shows the time by the new clock (BSX-11).
func TestClockJumps(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		const lifetime = 50 * time.Millisecond
		start := time.Now()
		was := start.Add(lifetime)
		at := deadlinetest.BeforeJump(t, was, by)
		require.WithinDuration(t, was.Round(0), deadline.Wall(at), time.Minute)
		require.Equal(t, deadline.At(was), deadline.At(at))
		require.Equal(t, deadline.At(was), deadline.At(deadline.Time(deadline.At(at))))

		var q deadline.Queue
		told := make(chan time.Duration, 1)
		e := &expirer{f: func() { told <- time.Since(start) }}
		q.Set(&e.Item, e, at)
		require.GreaterOrEqual(t, <-told, lifetime)
		q.Stop()
	}
}

// A time from a record is as far away as the clock on the wall says then, and stays so.
func TestRecordedTimes(t *testing.T) {
	recorded := time.Now().Round(0).Add(time.Hour)
	require.Equal(t, recorded, deadline.Wall(recorded))
	steady := deadline.Steady(recorded)
	require.True(t, recorded.Equal(steady))
	left := time.Until(deadlinetest.BeforeJump(t, steady, 24*time.Hour))
	require.InDelta(t, time.Hour, left, float64(time.Minute))
	require.InDelta(t, time.Hour, deadline.At(recorded)-deadline.Now(), float64(time.Minute))
	require.True(t, deadline.Wall(time.Time{}).IsZero())
}
