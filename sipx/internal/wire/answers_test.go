package wire_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// short is an engine for a stack that only answers, and forgets soon.
type short struct{ timeout time.Duration }

func (short) Client(string, string, string, wire.ClientParty) wire.Client { return nil }
func (short) Invite(string, wire.ServerParty) wire.Invite                 { return nil }
func (s short) Timeout() time.Duration                                    { return s.timeout }
func (short) Close()                                                      {}

// counting is a stack that tells how often its handler was called for each
// Call-ID.
func counting(t *testing.T, cfg wire.Config, timeout time.Duration) (ask func(callID string) string, calls func(string) int) {
	t.Helper()
	cfg.Listen = []string{"udp:127.0.0.1:0"}
	s, err := wire.Listen(cfg, short{timeout})
	require.NoError(t, err)
	var mu sync.Mutex
	count := map[string]int{}
	var served sync.WaitGroup
	served.Go(func() {
		_ = s.Serve(context.Background(), sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, r *sipx.Request) {
			mu.Lock()
			count[r.CallID]++
			mu.Unlock()
			_ = w.Respond(sipx.NewResponse(200, sipx.Field{Name: "X-Pad", Value: strings.Repeat("x", len(r.Body))}))
		}))
	})
	c, err := net.Dial("udp", s.Listening()[0].Local.String())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Close())
		require.NoError(t, s.Shutdown(context.Background()))
		served.Wait()
	})
	buf := make([]byte, 1<<16)
	ask = func(callID string) string {
		_, err := fmt.Fprintf(c, "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\n"+
			"From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\n\r\n%s",
			c.LocalAddr(), callID, callID, strings.Repeat("x", len(callID)*len(callID)*20))
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
		n, err := c.Read(buf)
		require.NoError(t, err)
		require.Contains(t, string(buf[:n]), "Call-ID: "+callID+"\r\n")
		return string(buf[:n])
	}
	calls = func(callID string) int {
		mu.Lock()
		defer mu.Unlock()
		return count[callID]
	}
	return ask, calls
}

// Answers of all sizes, over many pages, are repeated as they were.
func TestAnswersAreRepeated(t *testing.T) {
	ask, calls := counting(t, wire.Config{}, time.Minute)
	first := map[string]string{}
	for i := range 300 {
		id := fmt.Sprintf("%d-%s", i, strings.Repeat("y", i%40))
		first[id] = ask(id)
	}
	for id, answer := range first {
		require.Equal(t, answer, ask(id))
		require.Equal(t, 1, calls(id))
	}
}

// BSX-4: beyond the bound the oldest are forgotten.
func TestAnswersAreBounded(t *testing.T) {
	ask, calls := counting(t, wire.Config{MaxAnswers: 100}, time.Minute)
	for i := range 1000 {
		ask(fmt.Sprint(i))
	}
	ask("999")
	require.Equal(t, 1, calls("999"))
	ask("0")
	require.Equal(t, 2, calls("0"))
}

func TestAnswersExpire(t *testing.T) {
	ask, calls := counting(t, wire.Config{}, 50*time.Millisecond)
	deadline := time.Now().Add(10 * time.Second)
	for calls("x") < 3 {
		require.True(t, time.Now().Before(deadline), "an answer is never forgotten")
		ask("x")
	}
}
