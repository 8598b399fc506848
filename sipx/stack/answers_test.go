package stack_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// counting is a stack that tells how often its handler was called for each
// Call-ID.
func counting(t *testing.T, cfg stack.Config) (s *stack.Stack, ask func(callID string) string, calls func(string) int) {
	t.Helper()
	cfg.Listen = []string{"udp:127.0.0.1:0"}
	s, err := stack.Listen(cfg)
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
		require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
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
	return s, ask, calls
}

// Answers of all sizes, over many pages, are repeated as they were.
func TestAnswersAreRepeated(t *testing.T) {
	_, ask, calls := counting(t, stack.Config{})
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
	_, ask, calls := counting(t, stack.Config{MaxAnswers: 100})
	for i := range 1000 {
		ask(fmt.Sprint(i))
	}
	ask("999")
	require.Equal(t, 1, calls("999"))
	ask("0")
	require.Equal(t, 2, calls("0"))
}

// BSX-4: an answer may be as large as a datagram, so they are bounded in bytes
// as well.
func TestAnswersAreBoundedInBytes(t *testing.T) {
	_, ask, calls := counting(t, stack.Config{MaxAnswers: 100})
	const asked = 300 // so that each table has several
	for i := range asked {
		ask(fmt.Sprintf("%050d", i)) // of 50,000 bytes
	}
	last, first := fmt.Sprintf("%050d", asked-1), fmt.Sprintf("%050d", 0)
	ask(last)
	require.Equal(t, 1, calls(last))
	ask(first)
	require.Equal(t, 2, calls(first))
}

// BSX-4: an INVITE is answered once each time that it comes, and always the same;
// no answer comes by itself for who never acknowledges it.
func TestInvite(t *testing.T) {
	s, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}})
	require.NoError(t, err)
	serve(t, s, sipx.HandlerFunc(func(context.Context, sipx.ResponseWriter, *sipx.Request) { t.Error("the handler got an INVITE") }))
	for _, f := range s.Listening() {
		c, err := net.Dial(f.Transport, f.Local.String())
		require.NoError(t, err)
		defer c.Close()
		invite := strings.ReplaceAll(message(strings.ToUpper(f.Transport), "inv", "Content-Length: 0\r\n"), "OPTIONS", "INVITE")
		answers := map[string]int{}
		for range 3 {
			_, err := fmt.Fprint(c, invite)
			require.NoError(t, err)
			answers[read(t, c)]++
		}
		require.Len(t, answers, 1)
		for answer := range answers {
			require.Contains(t, answer, "SIP/2.0 405 ")
			require.Contains(t, answer, "Allow: SUBSCRIBE, PUBLISH, NOTIFY, OPTIONS\r\n")
			require.Less(t, len(answer), 2*len(invite))
		}
		_, err = fmt.Fprint(c, strings.ReplaceAll(invite, "INVITE", "ACK"))
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
		_, err = c.Read(make([]byte, 4096))
		require.Error(t, err, "no more after that")
	}
	require.EqualValues(t, 6, s.Stats().Refused["invite"])
}

func TestAnswersExpire(t *testing.T) {
	s, ask, calls := counting(t, stack.Config{})
	ask("x")
	ask("x")
	require.Equal(t, 1, calls("x"))
	stack.Forget(s, 31*time.Second)
	ask("x")
	require.Equal(t, 1, calls("x"), "timer J is 32 s")
	stack.Forget(s, 33*time.Second)
	ask("x")
	require.Equal(t, 2, calls("x"))
}

// RFC 3261 §8.2.2.2: a request without a To tag that came already, but another
// way, is answered 482.
func TestMerged(t *testing.T) {
	calls := make(chan string, 10)
	s := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}})
	serve(t, s, sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		calls <- r.CallID
		ok(ctx, w, r)
	}))
	c, err := net.Dial("udp", address(s, "udp"))
	require.NoError(t, err)
	defer c.Close()
	status := func(message string) string {
		_, err := fmt.Fprint(c, message)
		require.NoError(t, err)
		line, _, _ := strings.Cut(read(t, c), "\r\n")
		return line
	}
	one := message("UDP", "one", "")
	other := strings.Replace(one, "z9hG4bKone", "z9hG4bKother", 1)
	require.Equal(t, "SIP/2.0 200 OK", status(one))
	require.Equal(t, "SIP/2.0 482 Loop Detected", status(other))
	require.Equal(t, "SIP/2.0 482 Loop Detected", status(other), "also when it comes again")
	require.Equal(t, "SIP/2.0 200 OK", status(one), "a retransmission is no copy")
	require.Len(t, calls, 1)
	require.Equal(t, "SIP/2.0 200 OK", status(strings.NewReplacer("z9hG4bKone", "z9hG4bKtwo", "CSeq: 1", "CSeq: 2").Replace(one)))
	inDialog := func(m string) string {
		return strings.Replace(m, "To: <sip:bob@example.com>", "To: <sip:bob@example.com>;tag=b", 1)
	}
	require.Equal(t, "SIP/2.0 200 OK", status(inDialog(message("UDP", "three", ""))), "the dialog knows by CSeq")
}
