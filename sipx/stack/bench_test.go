//go:build unix

package stack_test

import (
	"context"
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

// benchNotify measures a whole NOTIFY transaction of 1.4 KB, both ends of it in
// this process.
func benchNotify(b *testing.B, transport string) {
	server, err := stack.Listen(stack.Config{Listen: []string{transport + ":127.0.0.1:0"}})
	require.NoError(b, err)
	defer server.Shutdown(context.Background())
	client, err := stack.Listen(stack.Config{Listen: []string{transport + ":127.0.0.1:0"}})
	require.NoError(b, err)
	defer client.Shutdown(context.Background())
	go func() {
		_ = client.Serve(context.Background(), sipx.HandlerFunc(ok))
	}()

	const window = 64
	slots := make(chan struct{}, window)
	var failed sync.Once
	done := sipx.ResponseHandlerFunc(func(_ *sipx.Request, res *sipx.Response, err error) {
		if err != nil || res.Status != 200 {
			failed.Do(func() { b.Error(res, err) })
		}
		<-slots
	})
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
	target := client.Listening()[0]
	req.Flow = sipx.Flow{Transport: transport, Remote: target.Local}
	b.ReportAllocs()
	start := cpu(b)
	for b.Loop() {
		slots <- struct{}{}
		server.Send(req, done)
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

func BenchmarkNotifyUDP(b *testing.B) { benchNotify(b, "udp") }
func BenchmarkNotifyTCP(b *testing.B) { benchNotify(b, "tcp") }
