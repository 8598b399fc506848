package presence_test

import (
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// engine is a server with a null sender, for measurements.
func engine(b *testing.B, users int) (*presence.Server, *sipxtest.NullSender) {
	entries := make([]directory.Entry, users)
	for i := range entries {
		n := strconv.Itoa(i)
		entries[i] = directory.Entry{ID: "u" + n, SIP: []string{"u" + n + "@example.com"}, Lines: []string{"2" + n}}
	}
	dir, err := directory.NewMemory(entries)
	require.NoError(b, err)
	sender := &sipxtest.NullSender{}
	server, err := presence.New(presence.Config{
		Sender: sender, Directory: dir, Domains: []string{"example.com"}, MaxSubscriptions: 1 << 20,
	})
	require.NoError(b, err)
	b.Cleanup(func() { _ = server.Shutdown(b.Context()) })
	return server, sender
}

func benchRequest(method string, watcher int, to string, body string, fields ...string) *sipx.Request {
	text := fmt.Sprintf("%s sip:%s@example.com SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\nFrom: <sip:w%d@example.com>;tag=%d\n"+
		"To: <sip:%s@example.com>\nCall-ID: %s%d-%s\nCSeq: 1 %s\nContact: <sip:w%d@192.0.2.7:5060>\nEvent: presence\nUser-Agent: Aastra BluStar Client/3.0.0.0\n",
		method, to, watcher, watcher, to, method, watcher, to, method, watcher)
	for _, f := range fields {
		text += f + "\n"
	}
	req := sipxtest.NewRequest(text + "\n" + body)
	req.Flow = udp("192.0.2.7:5060")
	return req
}

type discard struct{}

func (discard) Respond(*sipx.Response) error { return nil }

// BenchmarkFanOut measures PUBLISH → NOTIFY through the engine alone. ns/notify
// and allocs/notify count the whole PUBLISH with its NOTIFYs.
func BenchmarkFanOut(b *testing.B) {
	for _, watchers := range []int{1, 10, 100, 1000, 10_000} {
		b.Run(strconv.Itoa(watchers), func(b *testing.B) {
			server, sender := engine(b, 1)
			for i := range watchers {
				server.ServeSIP(b.Context(), discard{}, benchRequest("SUBSCRIBE", i, "u0", "", "Expires: 300"))
			}
			rec := &sipxtest.Recorder{}
			server.ServeSIP(b.Context(), rec, benchRequest("PUBLISH", 1, "u0", bluStarBody("busy", "0"), "Expires: 3600", "Content-Type: application/pidf+xml"))
			require.Equal(b, 200, rec.Response().Status)
			var publish [2]*sipx.Request
			for i := range publish {
				publish[i] = benchRequest("PUBLISH", 1, "u0", bluStarBody("busy", strconv.Itoa(i+1)), "Expires: 3600",
					"Content-Type: application/pidf+xml", "SIP-If-Match: "+etag(rec.Response()))
			}
			before := sender.Sent()
			var m0, m1 runtime.MemStats
			runtime.ReadMemStats(&m0)
			i := 0
			for b.Loop() {
				server.ServeSIP(b.Context(), discard{}, publish[i&1])
				i++
			}
			runtime.ReadMemStats(&m1)
			sent := sender.Sent() - before
			require.Equal(b, int64(i*watchers), sent)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent), "ns/notify")
			b.ReportMetric(float64(m1.Mallocs-m0.Mallocs)/float64(sent), "allocs/notify")
		})
	}
}

// BenchmarkPublish measures a PUBLISH that nobody watches.
func BenchmarkPublish(b *testing.B) {
	server, _ := engine(b, 1)
	rec := &sipxtest.Recorder{}
	server.ServeSIP(b.Context(), rec, benchRequest("PUBLISH", 1, "u0", bluStarBody("busy", "0"), "Expires: 3600", "Content-Type: application/pidf+xml"))
	var publish [2]*sipx.Request
	for i := range publish {
		publish[i] = benchRequest("PUBLISH", 1, "u0", bluStarBody("busy", strconv.Itoa(i+1)), "Expires: 3600",
			"Content-Type: application/pidf+xml", "SIP-If-Match: "+etag(rec.Response()))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		server.ServeSIP(b.Context(), discard{}, publish[i&1])
		i++
	}
}

// BenchmarkSubscribe measures a SUBSCRIBE with its NOTIFY, and its end.
func BenchmarkSubscribe(b *testing.B) {
	server, _ := engine(b, 1)
	open, end := benchRequest("SUBSCRIBE", 1, "u0", "", "Expires: 300"), benchRequest("SUBSCRIBE", 1, "u0", "", "Expires: 0")
	end.CSeq = 2
	to := end.To
	b.ReportAllocs()
	for b.Loop() {
		rec := &sipxtest.Recorder{}
		server.ServeSIP(b.Context(), rec, open)
		end.To = to.WithTag(rec.Response().ToTag)
		server.ServeSIP(b.Context(), discard{}, end)
	}
}

// BenchmarkUsers measures a PUBLISH with its NOTIFY to one watcher, in turn of each of many
// users, by as many goroutines as there are processors: with -cpu 1,2,4,8 it shows what
// they wait for each other.
func BenchmarkUsers(b *testing.B) {
	for _, users := range []int{1000, 10_000, 100_000} {
		b.Run(strconv.Itoa(users), func(b *testing.B) {
			server, sender := engine(b, users)
			etags := make([]string, users)
			for i := range users {
				user := "u" + strconv.Itoa(i)
				server.ServeSIP(b.Context(), discard{}, benchRequest("SUBSCRIBE", i, user, "", "Expires: 300"))
				rec := &sipxtest.Recorder{}
				server.ServeSIP(b.Context(), rec, benchRequest("PUBLISH", i, user, bluStarBody("busy", ""), "Expires: 3600", "Content-Type: application/pidf+xml"))
				require.Equal(b, 200, rec.Response().Status)
				etags[i] = etag(rec.Response())
			}
			before := sender.Sent()
			var turn atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					n := int(turn.Add(1))
					i, round := n%users, n/users
					server.ServeSIP(b.Context(), discard{}, benchRequest("PUBLISH", i, "u"+strconv.Itoa(i), bluStarBody("busy", strconv.Itoa(round+1)),
						"Expires: 3600", "Content-Type: application/pidf+xml", "SIP-If-Match: "+etags[i]))
				}
			})
			require.GreaterOrEqual(b, sender.Sent()-before, int64(b.N)-int64(users)) // one NOTIFY may tell of two changes
		})
	}
}

// BenchmarkIdleSubscription measures what idle subscriptions hold and cost to make, ten
// to a user who has published.
func BenchmarkIdleSubscription(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			if testing.Short() && n > 100_000 {
				b.Skip("takes a gigabyte")
			}
			for b.Loop() {
				server, _ := engine(b, n/10)
				for i := range n / 10 {
					server.ServeSIP(b.Context(), discard{}, benchRequest("PUBLISH", i, "u"+strconv.Itoa(i), bluStarBody("busy", ""), "Expires: 3600", "Content-Type: application/pidf+xml"))
					server.ServeSIP(b.Context(), discard{}, benchRequest("SUBSCRIBE", i, "u"+strconv.Itoa(i), "", "Expires: 0"))
				}
				before, start := heap(), time.Now()
				for i := range n {
					req := benchRequest("SUBSCRIBE", i, "u"+strconv.Itoa(i/10), "", "Expires: 300")
					req.Flow = udp(fmt.Sprintf("192.0.2.%d:5060", i%200)) // no source may have half of all
					server.ServeSIP(b.Context(), discard{}, req)
				}
				b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(n), "ns/subscription")
				b.ReportMetric(float64(heap()-before)/float64(n), "B/subscription")
				require.Equal(b, n, server.Stats().Subscriptions)
				require.NoError(b, server.Shutdown(b.Context()))
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
