package presence_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/boltstore"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// cpu is the time of processors that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// written waits until everything is in the store.
func written(server *presence.Server) {
	for server.Stats().StoreWaiting > 0 {
		time.Sleep(time.Millisecond)
	}
}

// benchUsers is a directory with users of these lines.
func benchUsers(b *testing.B, users int, lines ...string) directory.Directory {
	entries := make([]directory.Entry, users)
	for i := range entries {
		n := strconv.Itoa(i)
		entries[i] = directory.Entry{ID: "u" + n, SIP: []string{"u" + n + "@example.com"}, Lines: lines}
	}
	dir, err := directory.NewMemory(entries)
	require.NoError(b, err)
	return dir
}

// storedEngine is an engine with a store in a file, or without one. change may be nil.
func storedEngine(b *testing.B, users int, file string, change func(*presence.Config)) (*presence.Server, func()) {
	cfg := presence.Config{Sender: &sipxtest.NullSender{}, Directory: benchUsers(b, users), Domains: []string{"example.com"}, MaxSubscriptions: 1 << 20}
	var err error
	var store *boltstore.Store
	if file != "" {
		store, err = boltstore.Open(file)
		require.NoError(b, err)
		cfg.Store = store
	}
	if change != nil {
		change(&cfg)
	}
	server, err := presence.New(cfg)
	require.NoError(b, err)
	require.NoError(b, server.Restore(b.Context()))
	return server, func() {
		require.NoError(b, server.Shutdown(context.Background()))
		if store != nil {
			b.ReportMetric(float64(store.Size()), "B/file")
			require.NoError(b, store.Close())
		}
	}
}

// BenchmarkStore measures what a store in a file costs of processor time, the engine
// alone with its NOTIFYs, for each SUBSCRIBE, refresh and PUBLISH with three watchers:
// the time for writing is in cpu-ns/op.
func BenchmarkStore(b *testing.B) {
	const users = 10_000
	for _, with := range []string{"memory", "file"} {
		file := ""
		setup := func(b *testing.B) (*presence.Server, func()) {
			if with == "file" {
				file = filepath.Join(b.TempDir(), "store.db")
			}
			return storedEngine(b, users, file, nil)
		}
		user := func(i int) string { return "u" + strconv.Itoa(i%users) }
		measure := func(b *testing.B, server *presence.Server, f func(i int)) {
			written(server)
			before := cpu(b)
			i := 0
			for b.Loop() {
				f(i)
				i++
			}
			written(server)
			b.ReportMetric(float64(cpu(b)-before)/float64(i), "cpu-ns/op")
		}
		b.Run("subscribe/"+with, func(b *testing.B) {
			server, end := setup(b)
			measure(b, server, func(i int) {
				server.ServeSIP(b.Context(), discard{}, benchRequest("SUBSCRIBE", i, user(i), "", "Expires: 300"))
			})
			end()
		})
		b.Run("refresh/"+with, func(b *testing.B) {
			server, end := setup(b)
			requests := make([]*sipx.Request, users)
			for i := range requests {
				rec := &sipxtest.Recorder{}
				requests[i] = benchRequest("SUBSCRIBE", i, user(i), "", "Expires: 300")
				server.ServeSIP(b.Context(), rec, requests[i])
				requests[i].To = requests[i].To.WithTag(rec.Response().ToTag)
			}
			measure(b, server, func(i int) {
				req := requests[i%users]
				req.CSeq++
				server.ServeSIP(b.Context(), discard{}, req)
			})
			end()
		})
		b.Run("publish/"+with, func(b *testing.B) {
			server, end := setup(b)
			for i := range 3 * users {
				server.ServeSIP(b.Context(), discard{}, benchRequest("SUBSCRIBE", i, user(i*7), "", "Expires: 300"))
			}
			measure(b, server, func(i int) {
				req := benchRequest("PUBLISH", i%users, user(i), bluStarBody("busy", strconv.Itoa(i)), "Expires: 3600", "Content-Type: application/pidf+xml")
				req.From.URI.User = user(i)
				req.CallID = fmt.Sprint(i)
				server.ServeSIP(b.Context(), discard{}, req)
			})
			end()
		})
	}
}

// BenchmarkRestore measures a start with 100,000 dialogs and 10,000 publications: how
// long the file takes to open and the state to restore, what it holds in memory, and
// the file's size.
func BenchmarkRestore(b *testing.B) {
	const n = 100_000
	file := filepath.Join(b.TempDir(), "store.db")
	server, end := storedEngine(b, n/10, file, nil)
	for i := range n / 10 {
		req := benchRequest("PUBLISH", i, "u"+strconv.Itoa(i), bluStarBody("busy", ""), "Expires: 3600", "Content-Type: application/pidf+xml")
		req.From.URI.User = "u" + strconv.Itoa(i)
		server.ServeSIP(b.Context(), discard{}, req)
	}
	for i := range n {
		server.ServeSIP(b.Context(), discard{}, benchRequest("SUBSCRIBE", i, "u"+strconv.Itoa(i/10), "", "Expires: 300"))
	}
	end()
	for b.Loop() {
		before, began := heap(), time.Now()
		store, err := boltstore.Open(file)
		require.NoError(b, err)
		b.ReportMetric(time.Since(began).Seconds(), "s/open")
		require.NoError(b, store.Close())
		server, end = storedEngine(b, n/10, file, nil)
		b.ReportMetric(time.Since(began).Seconds(), "s/start")
		require.Equal(b, n, server.Stats().Subscriptions)
		b.ReportMetric(float64(heap()-before)/n, "B/subscription")
		end()
	}
}

// arrivals is a sender that counts what is sent through it.
type arrivals struct {
	sipxtest.NullSender
	all         int64 // after these it is done
	n           atomic.Int64
	first, last time.Time
	done        chan struct{}
}

func (a *arrivals) Send(req *sipx.Request, h sipx.ResponseHandler) {
	switch a.n.Add(1) {
	case 1:
		a.first = time.Now()
	case a.all:
		a.last = time.Now()
		close(a.done)
	}
	a.NullSender.Send(req, h)
}

// BenchmarkResume measures a start with 100,000 dialogs all of whose watchers have to be told
// something: when the first and the last of the NOTIFYs leave.
func BenchmarkResume(b *testing.B) {
	const n = 100_000
	file := filepath.Join(b.TempDir(), "store.db")
	server, end := storedEngine(b, n/10, file, nil)
	for i := range n {
		server.ServeSIP(b.Context(), discard{}, benchRequest("SUBSCRIBE", i, "u"+strconv.Itoa(i/10), "", "Expires: 300"))
	}
	end()
	for b.Loop() {
		a := &arrivals{all: n, done: make(chan struct{})}
		_, end := storedEngine(b, n/10, file, func(c *presence.Config) {
			c.Sender, c.Directory = a, benchUsers(b, n/10, "2719") // which each document shows
		})
		ready := time.Now()
		select {
		case <-a.done:
		case <-time.After(time.Minute):
			b.Fatal(a.n.Load(), "NOTIFYs after a minute")
		}
		b.ReportMetric(a.first.Sub(ready).Seconds(), "s/first")
		b.ReportMetric(a.last.Sub(ready).Seconds(), "s/last")
		end()
	}
}

// BenchmarkGrowth refreshes 1,000 dialogs a million times, and tells how large the file
// is after that.
func BenchmarkGrowth(b *testing.B) {
	for b.Loop() {
		server, end := storedEngine(b, 1000, filepath.Join(b.TempDir(), "store.db"), nil)
		requests := make([]*sipx.Request, 1000)
		for i := range requests {
			rec := &sipxtest.Recorder{}
			requests[i] = benchRequest("SUBSCRIBE", i, "u"+strconv.Itoa(i), "", "Expires: 300")
			server.ServeSIP(b.Context(), rec, requests[i])
			requests[i].To = requests[i].To.WithTag(rec.Response().ToTag)
		}
		for i := range 1_000_000 {
			req := requests[i%len(requests)]
			req.CSeq++
			server.ServeSIP(b.Context(), discard{}, req)
		}
		end()
	}
}
