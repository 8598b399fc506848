package wire_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
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

// BSX-4: an answer may be as large as a datagram, so they are bounded in bytes
// as well.
func TestAnswersAreBoundedInBytes(t *testing.T) {
	ask, calls := counting(t, wire.Config{MaxAnswers: 100}, time.Minute)
	for i := range 10 {
		ask(fmt.Sprintf("%050d", i)) // of 50,000 bytes
	}
	last, first := fmt.Sprintf("%050d", 9), fmt.Sprintf("%050d", 0)
	ask(last)
	require.Equal(t, 1, calls(last))
	ask(first)
	require.Equal(t, 2, calls(first))
}

// inviting is an engine that counts the transactions of INVITEs, and ends none.
type inviting struct {
	short
	begun *atomic.Int32
}

func (e inviting) Invite(_ string, p wire.ServerParty) wire.Invite {
	e.begun.Add(1)
	return invite{p}
}

type invite struct{ party wire.ServerParty }

func (i invite) Respond(status int) error { return i.party.Write(status) }
func (i invite) Again(string)             {}
func (i invite) Terminate()               { i.party.End() }

// BSX-4: INVITEs of a forged source, whose answers nobody acknowledges, neither
// take memory without end nor have each answer sent again and again.
func TestInvitesAreBounded(t *testing.T) {
	var begun atomic.Int32
	s, err := wire.Listen(wire.Config{Listen: []string{"udp:127.0.0.1:0"}}, inviting{short{time.Minute}, &begun})
	require.NoError(t, err)
	var served sync.WaitGroup
	served.Go(func() {
		_ = s.Serve(context.Background(), sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, _ *sipx.Request) {
			_ = w.Respond(sipx.NewResponse(405))
		}))
	})
	c, err := net.Dial("udp", s.Listening()[0].Local.String())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Close())
		require.NoError(t, s.Shutdown(context.Background()))
		served.Wait()
	})
	send := func(method string, i int) {
		_, err := fmt.Fprintf(c, "%s sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%d;rport\r\n"+
			"From: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>\r\nCall-ID: %s-%d\r\nCSeq: 1 %s\r\n\r\n",
			method, c.LocalAddr(), i, method, i, method)
		require.NoError(t, err)
	}
	receive := func() string {
		buf := make([]byte, 4096)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
		n, err := c.Read(buf)
		require.NoError(t, err)
		return string(buf[:n])
	}
	for i := range 400 {
		send("INVITE", i)
		require.Contains(t, receive(), fmt.Sprintf("Call-ID: INVITE-%d\r\n", i))
	}
	require.LessOrEqual(t, begun.Load(), int32(256))

	// Beyond the bound the answer comes again with the INVITE, and the ACK ends
	// it all the same.
	send("INVITE", 399)
	require.Contains(t, receive(), "Call-ID: INVITE-399\r\n")
	send("ACK", 399)
	send("OPTIONS", 400)
	require.Contains(t, receive(), "Call-ID: OPTIONS-400\r\n")
}

func TestAnswersExpire(t *testing.T) {
	ask, calls := counting(t, wire.Config{}, 50*time.Millisecond)
	deadline := time.Now().Add(10 * time.Second)
	for calls("x") < 3 {
		require.True(t, time.Now().Before(deadline), "an answer is never forgotten")
		ask("x")
	}
}
