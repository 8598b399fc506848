package dispatch_test

import (
	"context"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx/dispatch"
)

func lane(user string) dispatch.Lane { return dispatch.Lane{User: user} }

func TestLanesKeepOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dispatch.New(dispatch.Config{Running: 3})
		d.Start()
		var mu sync.Mutex
		got := map[string][]int{}
		for i := range 20 {
			for _, user := range []string{"a", "b", "c", "d"} {
				require.True(t, d.Submit(dispatch.Job{Lane: lane(user), Established: i%3 == 0, Task: dispatch.TaskFunc(func() {
					time.Sleep(time.Duration(20-i) * time.Millisecond)
					mu.Lock()
					got[user] = append(got[user], i)
					mu.Unlock()
				})}))
			}
		}
		require.NoError(t, d.Stop(t.Context()))
		require.Len(t, got, 4)
		for user, list := range got {
			require.Len(t, list, 20)
			require.IsIncreasing(t, list, user)
		}
		require.False(t, d.Submit(dispatch.Job{Task: dispatch.TaskFunc(func() {})}), "after Stop")
	})
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dispatch.New(dispatch.Config{Running: 4, Waiting: 8})
		release := make(chan struct{})
		running, most := 0, 0
		var mu sync.Mutex
		submit := func(user string, established bool, source string) bool {
			j := dispatch.Job{Lane: lane(user), Established: established, Task: dispatch.TaskFunc(func() {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				<-release
				mu.Lock()
				running--
				mu.Unlock()
			})}
			if source != "" {
				j.Source = netip.MustParseAddr(source)
			}
			return d.Submit(j)
		}
		d.Start()
		for _, user := range []string{"1", "2", "3"} {
			require.True(t, submit(user, false, ""))
		}
		synctest.Wait()
		require.Equal(t, 3, most, "three quarters of four are for new requests")
		for _, user := range []string{"4", "5", "6"} {
			require.True(t, submit(user, false, "192.0.2.1"))
		}
		require.False(t, submit("7", false, "192.0.2.1"), "half of what new requests may wait")
		for _, user := range []string{"8", "9", "10"} {
			require.True(t, submit(user, false, ""))
		}
		require.False(t, submit("11", false, ""), "six wait")
		require.True(t, submit("12", true, ""), "one that runs at once")
		require.True(t, submit("13", true, ""))
		require.True(t, submit("14", true, ""))
		require.False(t, submit("15", true, ""), "eight wait")
		synctest.Wait()
		require.Equal(t, 4, most)
		close(release)
		require.NoError(t, d.Stop(t.Context()))
		require.Equal(t, 4, most)
		require.Zero(t, running)
	})
}

func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dispatch.New(dispatch.Config{})
		ran := false
		require.True(t, d.Submit(dispatch.Job{Task: dispatch.TaskFunc(func() { ran = true })}))
		synctest.Wait()
		require.False(t, ran, "jobs wait for Start")
		d.Start()
		synctest.Wait()
		require.True(t, ran)
		require.NoError(t, d.Stop(t.Context()))

		d = dispatch.New(dispatch.Config{})
		require.True(t, d.Submit(dispatch.Job{Task: dispatch.TaskFunc(func() { t.Error("ran") })}))
		require.NoError(t, d.Stop(t.Context()), "what never started is dropped")
		d.Start()
		synctest.Wait()
	})
}

func TestStopEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dispatch.New(dispatch.Config{})
		d.Start()
		release := make(chan struct{})
		require.True(t, d.Submit(dispatch.Job{Task: dispatch.TaskFunc(func() { <-release })}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, d.Stop(ctx), context.DeadlineExceeded)
		close(release)
		require.NoError(t, d.Stop(t.Context()))
	})
}

func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dispatch.New(dispatch.Config{})
		d.Start()
		release := make(chan struct{})
		var g dispatch.Group
		var told []string
		d.After(&g, func() { told = append(told, "never had a job") })
		for range 3 {
			require.True(t, d.Submit(dispatch.Job{Group: &g, Task: dispatch.TaskFunc(func() { <-release })}))
		}
		d.After(&g, func() { told = append(told, "done") })
		synctest.Wait()
		require.Empty(t, told)
		close(release)
		synctest.Wait()
		require.Equal(t, []string{"done"}, told)
		d.After(&g, func() { told = append(told, "at once") })
		require.Equal(t, []string{"done", "at once"}, told)
		require.NoError(t, d.Stop(t.Context()))
	})
}

// A handler that ends its goroutine, as a failed test does, holds up nobody.
func TestGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dispatch.New(dispatch.Config{Running: 1})
		d.Start()
		ran := false
		require.True(t, d.Submit(dispatch.Job{Task: dispatch.TaskFunc(runtime.Goexit)}))
		require.True(t, d.Submit(dispatch.Job{Task: dispatch.TaskFunc(func() { ran = true })}))
		require.NoError(t, d.Stop(t.Context()))
		require.True(t, ran)
	})
}

// What Poll finds is done like any other job, by who looked or by another; each few jobs
// of a long row somebody looks.
func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *dispatch.Dispatcher
		var mu sync.Mutex
		done, polls, found := 0, 0, false
		job := dispatch.Job{Lane: lane("a"), Task: dispatch.TaskFunc(func() {
			mu.Lock()
			defer mu.Unlock()
			done++
		})}
		d = dispatch.New(dispatch.Config{Poll: func() {
			mu.Lock()
			polls++
			first := !found
			found = true
			mu.Unlock()
			if first {
				for range 3 {
					require.True(t, d.Submit(job))
				}
			}
		}})
		for range 100 { // of one lane: one after another
			require.True(t, d.Submit(job))
		}
		d.Start()
		synctest.Wait()
		require.Equal(t, 103, done)
		require.Greater(t, polls, 100/10)
		require.NoError(t, d.Stop(t.Context()))
	})
}
