//go:build unix

package stack_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
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

// BenchmarkNotifyConnections measures the same over many connections in turn, which
// small clients hold: what it costs must not grow with their number. A connection
// takes two descriptors here.
func BenchmarkNotifyConnections(b *testing.B) {
	for _, transport := range []string{"tcp", "tls", "ws"} {
		for _, n := range []int{1, 100, 1000, 4000, 16000} {
			b.Run(fmt.Sprintf("%s/%d", transport, n), func(b *testing.B) {
				var files syscall.Rlimit
				require.NoError(b, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
				if uint64(files.Cur) < uint64(2*n+100) {
					b.Skipf("%d descriptors are not enough", files.Cur)
				}
				s, err := stack.Listen(stack.Config{Listen: []string{transport + ":127.0.0.1:0"}, TLS: certificate(b), MaxConnections: 2*n + 2})
				require.NoError(b, err)
				defer s.Shutdown(context.Background())
				came := make(chan sipx.Flow, 1)
				go func() {
					_ = s.Serve(context.Background(), sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
						ok(ctx, w, r)
						came <- r.Flow
					}))
				}()
				flows := make([]sipx.Flow, n)
				for i := range flows {
					c := subscriber(b, s, transport, i)
					defer c.Close()
					flows[i] = <-came
				}
				pump(b, s, flows)
			})
		}
	}
}

// subscriber opens a connection, sends a SUBSCRIBE, and answers every request that
// comes 200 as cheaply as can be.
func subscriber(b *testing.B, s *stack.Stack, transport string, i int) net.Conn {
	c := dialPeer(b, s, transport, &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i/20000))})
	_, err := c.Write([]byte(strings.ReplaceAll(message(strings.ToUpper(transport), fmt.Sprint("s", i), "Content-Length: 0\r\n"), "OPTIONS", "SUBSCRIBE")))
	require.NoError(b, err)
	go func() {
		buf := make([]byte, 2048)
		have := 0
		for {
			n, err := c.Read(buf[have:])
			if err != nil {
				return
			}
			have += n
			for {
				whole := messageEnd(buf[:have])
				if whole == 0 {
					break
				}
				text := string(buf[:whole])
				if strings.HasPrefix(text, "NOTIFY") {
					via := text[strings.Index(text, "Via: "):]
					via = via[:strings.Index(via, "\r\n")]
					if _, err := c.Write([]byte("SIP/2.0 200 OK\r\n" + via + "\r\nCSeq: 7 NOTIFY\r\nContent-Length: 0\r\n\r\n")); err != nil {
						return
					}
				}
				have = copy(buf, buf[whole:have])
			}
		}
	}()
	return c
}

// messageEnd returns the length of the first message, or 0 where it is not whole.
func messageEnd(data []byte) int {
	text := string(data)
	head := strings.Index(text, "\r\n\r\n")
	if head < 0 {
		return 0
	}
	length := 0
	if i := strings.Index(text[:head+2], "Content-Length: "); i >= 0 {
		_, _ = fmt.Sscanf(text[i:], "Content-Length: %d", &length)
	}
	if len(data) < head+4+length {
		return 0
	}
	return head + 4 + length
}

// dialPeer connects to s as a client does.
func dialPeer(b *testing.B, s *stack.Stack, transport string, from net.Addr) net.Conn {
	d := net.Dialer{LocalAddr: from}
	addr := address(s, transport)
	switch transport {
	case "tls":
		c, err := tls.DialWithDialer(&d, "tcp", addr, &tls.Config{InsecureSkipVerify: true})
		require.NoError(b, err)
		return c
	case "ws":
		return dialWebSocket(b, d, addr)
	}
	c, err := d.Dial("tcp", addr)
	require.NoError(b, err)
	return c
}
