package ews_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/fakeews"
)

// TestCrowd: BSX-15, BSX-4. Two thousand mailboxes with a stream in common by groups: few connections, few requests,
// and neither the start nor the end of an outage is a storm. It prints what that costs; the fake server's part of
// memory and CPU is in it.
func TestCrowd(t *testing.T) {
	mailboxes := 2000
	if raceDetector { // which is slow, and looks at the same
		mailboxes = 400
	}
	synctest.Test(t, func(t *testing.T) {
		e := fakeews.New()
		mails := make([]string, mailboxes)
		for i := range mails {
			mails[i] = fmt.Sprintf("user%04d@example.com", i)
			for n := range 20 {
				e.Add(mails[i], in(fmt.Sprint(n), time.Duration(n)*8*time.Hour))
			}
		}
		dial := e.Serve(t)
		var dials atomic.Int64
		cfg := config(func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			return dial(ctx, network, address)
		})
		m := monitor(t, cfg)
		before := heap()

		var all []*kept
		began := time.Now()
		for _, mail := range mails {
			all = append(all, keep(t, m, mail))
		}
		first := wait(t, all, true, 2*time.Minute)
		passes(4*time.Minute - time.Since(began))
		start := busiest(e.Requests())
		t.Logf("start: all %d known after %v, %d requests in 4 min, at most %d in a second", mailboxes, first, start.all, start.second)
		require.LessOrEqual(t, start.second, 51, "it is spread")
		e.With(func() {
			t.Logf("connections %d, streams %d, mailboxes with a subscription %d", len(e.Conns), len(e.Streams), len(e.Subscriptions))
			require.Len(t, e.Streams, mailboxes/200)
			require.Len(t, e.Subscriptions, mailboxes)
			require.LessOrEqual(t, len(e.Conns), 20)
		})
		t.Logf("memory: %d KiB for each mailbox", (heap()-before)/uint64(mailboxes)/1024)

		passes(10 * time.Minute)
		e.Requests()
		cpu := used()
		passes(30 * time.Minute)
		rest := busiest(e.Requests())
		t.Logf("half an hour at rest: %d requests in a minute, at most %d in a second; %v of CPU", rest.all/30, rest.second, used()-cpu)
		require.LessOrEqual(t, rest.all/30, 2*mailboxes/30)

		e.With(func() { e.Down = true })
		e.Restart()
		dials.Store(0)
		died := time.Now()
		faded := wait(t, all, false, 15*time.Minute)
		passes(15*time.Minute - time.Since(died))
		t.Logf("outage: all faded after %v, %d attempts to connect in 15 min", faded, dials.Load())
		require.Less(t, dials.Load(), int64(15*60), "no storm while it is away")

		e.Requests()
		e.With(func() { e.Down = false })
		back := wait(t, all, true, 5*time.Minute)
		after := busiest(e.Requests())
		t.Logf("after it: all known again after %v, at most %d requests in a second", back, after.second)
		require.LessOrEqual(t, after.second, 51)
		passes(5 * time.Minute)
		e.With(func() { require.Len(t, e.Streams, mailboxes/200) })

		changed := time.Now()
		for _, mail := range mails[:100] {
			e.Change(mail, func(b *fakeews.Mailbox) { b.Items = b.Items[:1] })
		}
		passes(4 * time.Second)
		for _, k := range all[:100] {
			k.mu.Lock()
			require.Len(t, k.value.Appointments, 1)
			require.Less(t, k.at.Sub(changed), 4*time.Second)
			k.mu.Unlock()
		}

		ended := make(chan struct{}, mailboxes)
		for _, k := range all {
			go func() {
				k.stop()
				ended <- struct{}{}
			}()
		}
		over := time.Now()
		for range all {
			<-ended
		}
		t.Logf("end: after %v", time.Since(over))
		require.LessOrEqual(t, time.Since(over), 5*time.Second)
	})
}

// wait waits until all values are known, or none is, and returns how long that took.
func wait(t *testing.T, all []*kept, known bool, most time.Duration) time.Duration {
	t.Helper()
	synctest.Wait()
	began := time.Now()
	for _, k := range all {
		for k.shown() != known {
			passes(time.Second)
			require.Less(t, time.Since(began), most)
		}
	}
	return time.Since(began)
}

type load struct{ all, second int }

// busiest returns how many requests there were, and how many in the worst second.
func busiest(asked []fakeews.Request) (l load) {
	seconds := make(map[int64]int)
	for _, q := range asked {
		seconds[q.At.Unix()]++
	}
	for _, n := range seconds {
		l.all, l.second = l.all+n, max(l.second, n)
	}
	return l
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// used returns the CPU time of the process.
func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
