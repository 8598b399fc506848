//go:build unix

package stack_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
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
// comes 200 as cheaply as can be: it allocates nothing for one.
func subscriber(b *testing.B, s *stack.Stack, transport string, i int) net.Conn {
	c := dialPeer(b, s, transport, &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i/20000))})
	frame := func(dst []byte) []byte { return dst } // what stands before a message
	if transport == "ws" {
		frame = func(dst []byte) []byte { return append(dst, 0x81, 0x80|126, 0, 0, 0, 0, 0, 0) } // masked by zeros
	}
	send := func(msg []byte) error {
		if transport == "ws" {
			binary.BigEndian.PutUint16(msg[2:], uint16(len(msg)-8))
		}
		_, err := c.Write(msg)
		return err
	}
	require.NoError(b, send(append(frame(nil), strings.ReplaceAll(message(strings.ToUpper(transport), fmt.Sprint("s", i), "Content-Length: 0\r\n"), "OPTIONS", "SUBSCRIBE")...)))
	go func() {
		buf, answer := make([]byte, 8192), make([]byte, 0, 1024)
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
				if at := bytes.Index(buf[:whole], []byte("NOTIFY ")); 0 <= at && at <= 4 { // after the frame's header
					via := buf[bytes.Index(buf[:whole], []byte("Via: ")):]
					via = via[:bytes.IndexByte(via, '\n')+1]
					answer = append(append(frame(answer[:0]), "SIP/2.0 200 OK\r\n"...), via...)
					if send(append(answer, "CSeq: 7 NOTIFY\r\nContent-Length: 0\r\n\r\n"...)) != nil {
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
	const field = "Content-Length: "
	head := bytes.Index(data, []byte("\r\n\r\n"))
	if head < 0 {
		return 0
	}
	length := 0
	if i := bytes.Index(data[:head], []byte(field)); i >= 0 {
		for _, digit := range data[i+len(field) : head] {
			if digit < '0' || digit > '9' {
				break
			}
			length = 10*length + int(digit-'0')
		}
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
		return dialWebSocket(b, d, addr).(webSocket).Conn
	}
	c, err := d.Dial("tcp", addr)
	require.NoError(b, err)
	return c
}
