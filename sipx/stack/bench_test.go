//go:build unix

package stack_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
	"github.com/openblustar/blustar/sipx/stack"
)

// notify is a NOTIFY of 1.4 KB.
func notify() *sipx.Request {
	req := sipxtest.NewRequest(`
NOTIFY sip:67251@127.0.0.1 SIP/2.0
From: <sip:tom.hanks@example.com>;tag=4711
To: <sip:67251@example.com>;tag=3b3da890af
Call-ID: 8cc08471fb350dcb
CSeq: 7 NOTIFY
Contact: <sip:127.0.0.1:5060>
Event: presence
Subscription-State: active;expires=300
Content-Type: application/pidf+xml`)
	req.Body = []byte(strings.Repeat("x", 1000))
	return req
}

// pump sends req to the flows in turn, a window of them at a time, until the
// benchmark ends.
func pump(b *testing.B, from sipx.Sender, flows []sipx.Flow) {
	const window = 64
	slots := make(chan struct{}, window)
	var failed sync.Once
	done := sipx.ResponseHandlerFunc(func(_ *sipx.Request, res *sipx.Response, err error) {
		if err != nil || res.Status != 200 {
			failed.Do(func() { b.Error(res, err) })
		}
		<-slots
	})
	requests := make([]*sipx.Request, len(flows))
	for i, f := range flows {
		requests[i] = notify()
		requests[i].Flow = f
	}
	b.ReportAllocs()
	start, i := cpu(b), 0
	for b.Loop() {
		slots <- struct{}{}
		from.Send(requests[i%len(requests)], done)
		i++
	}
	for range window {
		slots <- struct{}{}
	}
	b.ReportMetric(float64((cpu(b)-start).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// cpu returns the processor time that this process has used, which other
// processes do not disturb as they do the time that passes.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchNotify measures a whole NOTIFY transaction, both ends of it in this process.
func benchNotify(b *testing.B, transport string) {
	secure := certificate(b)
	server, err := stack.Listen(stack.Config{Listen: []string{transport + ":127.0.0.1:0"}, TLS: secure})
	require.NoError(b, err)
	defer server.Shutdown(context.Background())
	client, err := stack.Listen(stack.Config{Listen: []string{transport + ":127.0.0.1:0"}, TLS: secure})
	require.NoError(b, err)
	defer client.Shutdown(context.Background())
	go func() { _ = client.Serve(context.Background(), sipx.HandlerFunc(ok)) }()
	pump(b, server, []sipx.Flow{{Transport: transport, Remote: client.Listening()[0].Local}})
}

func BenchmarkNotifyUDP(b *testing.B) { benchNotify(b, "udp") }
func BenchmarkNotifyTCP(b *testing.B) { benchNotify(b, "tcp") }
func BenchmarkNotifyTLS(b *testing.B) { benchNotify(b, "tls") }

// BenchmarkNotifyConnections measures our end of the same over many connections in turn:
// what it costs must not grow with their number. A child process has the other ends.
func BenchmarkNotifyConnections(b *testing.B) {
	for _, transport := range []string{"tcp", "tls", "ws"} {
		for _, n := range []int{1, 100, 1000, 4000, 16000} {
			b.Run(fmt.Sprintf("%s/%d", transport, n), func(b *testing.B) {
				var files syscall.Rlimit
				require.NoError(b, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
				if need := uint64(n + n/6 + 100); uint64(files.Cur) < need {
					b.Skipf("%d files are to be open, and RLIMIT_NOFILE allows %d", need, files.Cur)
				}
				s, err := stack.Listen(stack.Config{Listen: []string{transport + ":127.0.0.1:0"}, TLS: certificate(b), MaxConnections: n + 4})
				require.NoError(b, err)
				defer s.Shutdown(context.Background())
				came := make(chan sipx.Flow, n)
				go func() {
					_ = s.Serve(context.Background(), sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
						ok(ctx, w, r)
						came <- r.Flow
					}))
				}()
				ended := subscribers(b, transport, address(s, transport), n)
				flows := make([]sipx.Flow, n)
				for i := range flows {
					select {
					case flows[i] = <-came:
					case err := <-ended:
						b.Fatal("the child has ended: ", err)
					}
				}
				pump(b, s, flows)
			})
		}
	}
}

// subscribers starts a child process with n subscribers, which ends with the benchmark.
func subscribers(b *testing.B, transport, address string, n int) (ended <-chan error) {
	program, err := os.Executable()
	require.NoError(b, err)
	child := exec.Command(program)
	child.Env = append(os.Environ(), fmt.Sprint(subscribersEnv, "=", transport, " ", address, " ", n))
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	require.NoError(b, err)
	require.NoError(b, child.Start())
	done := make(chan error, 1)
	go func() { done <- child.Wait() }()
	b.Cleanup(func() {
		_ = stdin.Close()
		<-done
	})
	return done
}
