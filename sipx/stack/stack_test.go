package stack_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
	"github.com/openblustar/blustar/sipx/stack"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(subscribersEnv); spec != "" {
		if err := beSubscribers(spec); err != nil {
			fmt.Fprintln(os.Stderr, "subscribers:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what takes no time on a machine that is not busy.
const patience = time.Minute

func listen(t *testing.T, cfg stack.Config) *stack.Stack {
	t.Helper()
	s, err := stack.Listen(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { shutdown(t, s) })
	return s
}

func shutdown(t *testing.T, s sipx.Stack) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = s.Shutdown(ctx)
}

func serve(t *testing.T, s sipx.Stack, h sipx.Handler) {
	t.Helper()
	var served sync.WaitGroup
	served.Go(func() {
		if err := s.Serve(context.Background(), h); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		shutdown(t, s)
		served.Wait()
	})
}

func ok(_ context.Context, w sipx.ResponseWriter, _ *sipx.Request) {
	_ = w.Respond(sipx.NewResponse(200))
}

// observed is a handler that also hears of lost connections.
type observed struct {
	sipx.HandlerFunc
	closed chan sipx.Flow
}

func (o observed) FlowClosed(f sipx.Flow) { o.closed <- f }

func address(s sipx.Stack, transport string) string {
	for _, f := range s.Listening() {
		if f.Transport == transport {
			return f.Local.String()
		}
	}
	panic("no such transport")
}

const fields = "Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a\r\nTo: <sip:bob@example.com>\r\nCSeq: 1 OPTIONS\r\n"

// message is a request as a peer with its own socket writes it.
func message(transport, branch, more string) string {
	return "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/" + transport + " 127.0.0.1:9;branch=z9hG4bK" + branch +
		";rport\r\n" + fields + "Call-ID: " + branch + "\r\n" + more + "\r\n"
}

func options(target string) *sipx.Request {
	return sipxtest.NewRequest(fmt.Sprintf("OPTIONS %s SIP/2.0\n%sCall-ID: %d", target, fields, sequence.Add(1)))
}

var sequence atomic.Int64

func read(t *testing.T, c net.Conn) string {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 64<<10)
	n, err := c.Read(buf)
	require.NoError(t, err)
	return string(buf[:n])
}

func TestConfigIsChecked(t *testing.T) {
	for want, cfg := range map[string]stack.Config{
		"Listen is empty":            {},
		"want transport:host:port":   {Listen: []string{"sctp:127.0.0.1:0"}},
		"missing port":               {Listen: []string{"udp:127.0.0.1"}},
		"needs Config.TLS":           {Listen: []string{"tls:127.0.0.1:0"}},
		"MaxHandlers is negative":    {Listen: []string{"udp:127.0.0.1:0"}, MaxHandlers: -1},
		"WriteTimeout is negative":   {Listen: []string{"udp:127.0.0.1:0"}, WriteTimeout: -1},
		"MaxMessage is 2097152":      {Listen: []string{"udp:127.0.0.1:0"}, MaxMessage: 2 << 20},
		"bad port":                   {Listen: []string{"udp:127.0.0.1:0"}, Advertise: []string{"example.com:0"}},
		"bad host":                   {Listen: []string{"udp:127.0.0.1:0"}, Advertise: []string{"exa mple.com"}},
		"cannot assign":              {Listen: []string{"udp:127.0.0.1:0", "tcp:192.0.2.1:0"}},
		"Config.Listen: \"udp:1:2:3": {Listen: []string{"udp:1:2:3"}},
	} {
		_, err := stack.Listen(cfg)
		require.ErrorContains(t, err, want)
	}
}

func TestContact(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0", "udp:0.0.0.0:0"}})
	flows := s.Listening()
	udp, wildcard, tcp := flows[0], flows[1], flows[2]
	require.Equal(t, "<sip:"+udp.Local.String()+">", s.Contact(sipx.Flow{}), "the first one where nothing is asked")
	require.Equal(t, "<sip:"+udp.Local.String()+">", s.Contact(udp))
	require.Equal(t, "<sip:"+tcp.Local.String()+";transport=tcp>", s.Contact(tcp))
	wildcard.Remote = netip.MustParseAddrPort("127.0.0.1:5060")
	require.Equal(t, fmt.Sprintf("<sip:127.0.0.1:%d>", wildcard.Local.Port()), s.Contact(wildcard),
		"a socket on all addresses: the address that the way to the peer starts from")

	s = listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"},
		Advertise: []string{"sip.example.com", "tcp:[2001:db8::1]:5070"}})
	require.Equal(t, fmt.Sprintf("<sip:sip.example.com:%d>", s.Listening()[0].Local.Port()), s.Contact(s.Listening()[0]))
	require.Equal(t, "<sip:[2001:db8::1]:5070;transport=tcp>", s.Contact(s.Listening()[1]))
}

func TestHostNames(t *testing.T) {
	server := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}})
	client := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	var mu sync.Mutex
	var order []uint32
	serve(t, server, sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		mu.Lock()
		order = append(order, r.CSeq)
		mu.Unlock()
		ok(ctx, w, r)
	}))
	for _, transport := range []string{"udp", "tcp"} {
		_, port, _ := net.SplitHostPort(address(server, transport))
		outcomes := make(chan error, 20)
		mu.Lock()
		order = nil
		mu.Unlock()
		for i := range uint32(20) {
			req := options("sip:localhost:" + port + ";transport=" + transport)
			req.CSeq = i
			client.Send(req, sipx.ResponseHandlerFunc(func(_ *sipx.Request, _ *sipx.Response, err error) { outcomes <- err }))
		}
		for range 20 {
			require.NoError(t, <-outcomes)
		}
		mu.Lock()
		require.IsIncreasing(t, order, "the order is kept while the name is resolved")
		mu.Unlock()
	}
	for _, target := range []string{"tel:200", "sip:x@127.0.0.1;transport=sctp", "sip:x@127.0.0.1;transport=ws"} {
		_, err := sipx.Do(t.Context(), client, options(target))
		require.Error(t, err, target)
	}
}

func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	client := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	_, err = sipx.Do(t.Context(), client, options("sip:"+addr+";transport=tcp"))
	require.ErrorContains(t, err, "refused", "not a time-out")
}

func TestTooLarge(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"tcp:127.0.0.1:0"}, MaxMessage: 4096})
	serve(t, s, sipx.HandlerFunc(ok))
	c, err := net.Dial("tcp", address(s, "tcp"))
	require.NoError(t, err)
	defer c.Close()
	_, err = fmt.Fprint(c, message("TCP", "1", "Content-Length: 100000\r\n")+strings.Repeat("x", 100000)+
		message("TCP", "2", "Content-Length: 0\r\n"))
	require.NoError(t, err)
	got := read(t, c)
	for !strings.Contains(got, "branch=z9hG4bK2") {
		got += read(t, c)
	}
	require.Contains(t, got, "SIP/2.0 413 ")
	require.Contains(t, got, "SIP/2.0 200 ", "the stream goes on after the body")

	_, err = fmt.Fprint(c, message("TCP", "3", "Content-Length: -1\r\n"))
	require.NoError(t, err)
	require.Contains(t, read(t, c), "SIP/2.0 400 ")
	_, err = fmt.Fprint(c, "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP x\r\nA: "+strings.Repeat("x", 100000))
	_ = err // the connection ends; when, is the system's business
}

func TestPing(t *testing.T) { // RFC 5626 §3.5.1
	s := listen(t, stack.Config{Listen: []string{"tcp:127.0.0.1:0"}})
	c, err := net.Dial("tcp", address(s, "tcp"))
	require.NoError(t, err)
	defer c.Close()
	_, err = fmt.Fprint(c, "\r\n\r\n")
	require.NoError(t, err)
	require.Equal(t, "\r\n", read(t, c))
}

// A peer that does not read has its connection closed, and what waits for it
// fails then (BSX-4).
func TestWriteTimeout(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"tcp:127.0.0.1:0"}, WriteTimeout: 2 * time.Second})
	flows := make(chan sipx.Flow, 1)
	h := observed{closed: make(chan sipx.Flow, 1), HandlerFunc: func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		flows <- r.Flow
		ok(ctx, w, r)
	}}
	serve(t, s, h)
	c, err := net.Dial("tcp", address(s, "tcp"))
	require.NoError(t, err)
	defer c.Close()
	_, err = fmt.Fprint(c, message("TCP", "1", "Content-Length: 0\r\n"))
	require.NoError(t, err)
	flow := <-flows
	outcomes := make(chan error, 1000)
	for range 1000 {
		req := options("sip:peer@example.com")
		req.Flow, req.Body = flow, bytes.Repeat([]byte("x"), 60<<10)
		s.Send(req, sipx.ResponseHandlerFunc(func(_ *sipx.Request, _ *sipx.Response, err error) { outcomes <- err }))
	}
	full, closed := 0, 0
	for range 1000 {
		switch err := <-outcomes; err {
		case sipx.ErrQueueFull:
			full++
		case sipx.ErrFlowClosed:
			closed++
		default:
			t.Fatal(err)
		}
	}
	require.Equal(t, flow, <-h.closed)
	require.Positive(t, full, "the queue was full")
	require.Positive(t, closed, "the connection was closed")
}

// BSX-4: until a request was accepted over it a connection may be silent for
// ReadTimeout only.
func TestIdleConnectionsEnd(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"tcp:127.0.0.1:0", "ws:127.0.0.1:0"},
		ReadTimeout: 50 * time.Millisecond, IdleTimeout: 100 * time.Millisecond})
	serve(t, s, sipx.HandlerFunc(ok))
	for name, text := range map[string]string{
		"silent from the start":  "",
		"in the middle":          "OPTIONS sip:x",
		"silent after a request": message("TCP", "1", "Content-Length: 0\r\n"),
	} {
		c, err := net.Dial("tcp", address(s, "tcp"))
		require.NoError(t, err)
		_, _ = fmt.Fprint(c, text) // fails where it has ended before
		require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
		buf := make([]byte, 4096)
		for err = nil; err == nil; {
			_, err = c.Read(buf)
		}
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, name)
		require.NoError(t, c.Close())
	}
}

// connect opens a connection from an address of the loopback net, and reports
// whether a request over it is answered.
func connect(t *testing.T, s *stack.Stack, from, method string) (c net.Conn, answered bool) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", address(s, "tcp"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c, alive(t, c, method)
}

// alive reports whether a request over a connection is answered.
func alive(t *testing.T, c net.Conn, method string) bool {
	t.Helper()
	n := fmt.Sprint(sequence.Add(1))
	_, _ = fmt.Fprint(c, strings.ReplaceAll(message("TCP", n, "Content-Length: 0\r\n"), "OPTIONS", method))
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 4096)
	got, err := c.Read(buf)
	return err == nil && strings.HasPrefix(string(buf[:got]), "SIP/2.0 200 ")
}

// BSX-4: no source has more than half of the connections, nor those of others.
func TestConnectionsAreBounded(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"tcp:127.0.0.1:0"}, MaxConnections: 6})
	serve(t, s, sipx.HandlerFunc(ok))
	for i := range 5 {
		_, answered := connect(t, s, "127.0.0.1", "SUBSCRIBE")
		require.Equal(t, i < 3, answered, "connection %d of one source", i)
	}
	for i := range 4 {
		_, answered := connect(t, s, "127.0.0.2", "SUBSCRIBE")
		require.Equal(t, i < 3, answered, "connection %d of another source", i)
	}
	_, answered := connect(t, s, "127.0.0.3", "SUBSCRIBE")
	require.False(t, answered, "none is left")
	require.Equal(t, 6, s.Stats().Connections)
	require.EqualValues(t, 4, s.Stats().Refused["connection"])
}

// BSX-4: a connection over which no request was accepted makes room for others, the
// oldest first; one over which a request was accepted does not.
func TestUnprovenConnectionsYield(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"tcp:127.0.0.1:0"}, MaxConnections: 6})
	serve(t, s, sipx.HandlerFunc(ok))
	honest, answered := connect(t, s, "127.0.0.1", "SUBSCRIBE")
	require.True(t, answered)
	var idle []net.Conn
	for range 10 {
		c, answered := connect(t, s, "127.0.0.1", "OPTIONS")
		require.True(t, answered, "there is room for a new one")
		idle = append(idle, c)
	}
	require.True(t, alive(t, honest, "SUBSCRIBE"))
	require.False(t, alive(t, idle[0], "OPTIONS"))
	require.False(t, alive(t, idle[7], "OPTIONS"))
	require.True(t, alive(t, idle[8], "OPTIONS"))
	require.True(t, alive(t, idle[9], "OPTIONS"))
	for range 2 {
		_, answered = connect(t, s, "127.0.0.2", "OPTIONS")
		require.True(t, answered)
	}
	for range 10 {
		_, answered = connect(t, s, "127.0.0.3", "OPTIONS")
		require.True(t, answered, "those of all others yield where there are no more at all")
	}
	require.True(t, alive(t, honest, "SUBSCRIBE"))
}

// A connection that the stack opens has room where others have proved nothing.
func TestOwnConnectionsHaveRoom(t *testing.T) {
	server := listen(t, stack.Config{Listen: []string{"tcp:127.0.0.1:0"}})
	serve(t, server, sipx.HandlerFunc(ok))
	s := listen(t, stack.Config{Listen: []string{"tcp:127.0.0.1:0"}, MaxConnections: 4})
	serve(t, s, sipx.HandlerFunc(ok))
	for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
		for range 2 {
			_, answered := connect(t, s, from, "OPTIONS")
			require.True(t, answered)
		}
	}
	res, err := sipx.Do(t.Context(), s, options("sip:"+address(server, "tcp")+";transport=tcp"))
	require.NoError(t, err)
	require.Equal(t, 200, res.Status)
	require.EqualValues(t, 1, s.Stats().Yielded)
}

// BSX-4: whoever names many hosts to connect to takes no room from those who
// connect.
func TestOwnConnectionsAreBounded(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"tcp:127.0.0.1:0"}, MaxConnections: 2})
	serve(t, s, sipx.HandlerFunc(ok))
	outcomes := make(chan error, 2)
	for range 2 {
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer silent.Close()
		s.Send(options("sip:"+silent.Addr().String()+";transport=tcp"),
			sipx.ResponseHandlerFunc(func(_ *sipx.Request, _ *sipx.Response, err error) { outcomes <- err }))
	}
	require.ErrorIs(t, <-outcomes, sipx.ErrQueueFull)
	c, err := net.Dial("tcp", address(s, "tcp"))
	require.NoError(t, err)
	defer c.Close()
	_, err = fmt.Fprint(c, message("TCP", "1", "Content-Length: 0\r\n"))
	require.NoError(t, err)
	require.Contains(t, read(t, c), "SIP/2.0 200 ")
}

func TestSourceRate(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0"}, SourceRate: 5})
	client := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	serve(t, s, sipx.HandlerFunc(ok))
	status := func(established bool) int {
		req := options("sip:" + address(s, "udp"))
		if established {
			req.Header.Add("SIP-If-Match", "1")
		}
		res, err := sipx.Do(t.Context(), client, req)
		require.NoError(t, err)
		return res.Status
	}
	refused := 0
	for range 20 {
		if status(false) == 503 {
			refused++
		}
	}
	require.Greater(t, refused, 5)
	require.Equal(t, 200, status(true), "refreshes are counted apart")
	refused = 0
	for range 60 { // anybody can say so
		if status(true) == 503 {
			refused++
		}
	}
	require.Greater(t, refused, 5)
}

// What requests and responses hold never gets into the log (BSP-2.10-7).
func TestLogsHoldNoSecrets(t *testing.T) {
	var log syncBuffer
	s := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"},
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), MaxMessage: 2000})
	serve(t, s, sipx.HandlerFunc(func(context.Context, sipx.ResponseWriter, *sipx.Request) { panic("planted") }))
	for _, transport := range []string{"udp", "tcp"} {
		c, err := net.Dial(transport, address(s, transport))
		require.NoError(t, err)
		for i, more := range []string{"", "Bad Field: x\r\n", "From: <sip:secret@\r\n", "Content-Length: 5000\r\n"} {
			_, err = fmt.Fprint(c, message(strings.ToUpper(transport), fmt.Sprint(i),
				"Authorization: secret\r\nX-BSS-rauth: secret\r\n"+more+map[string]string{"tcp": "l: 0\r\n"}[transport]))
			require.NoError(t, err)
			read(t, c)
		}
		require.NoError(t, c.Close())
	}
	shutdown(t, s)
	for _, line := range []string{"rejected", "planted"} {
		require.Eventually(t, func() bool { return strings.Contains(log.String(), line) }, patience, time.Millisecond)
	}
	require.NotContains(t, log.String(), "secret")
}

// BSX-7: a log that nobody reads stops nothing, and what it could not take is counted.
func TestLogBlocks(t *testing.T) {
	log := &stuckLog{slog.DiscardHandler, make(chan struct{})}
	s := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0"}, Logger: slog.New(log)})
	serve(t, s, sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, req *sipx.Request) {
		_ = w.Respond(sipx.NewResponse(200))
		panic("logged")
	}))
	c, err := net.Dial("udp", address(s, "udp"))
	require.NoError(t, err)
	for i := range 4000 {
		_, err = fmt.Fprint(c, message("UDP", fmt.Sprint(i), ""))
		require.NoError(t, err)
		require.Contains(t, read(t, c), "200 OK")
	}
	require.NoError(t, c.Close())
	require.NotZero(t, s.Stats().LogDropped)
	shutdown(t, s)
	close(log.free)
}

// stuckLog is a handler that blocks until it is freed.
type stuckLog struct {
	slog.Handler
	free chan struct{}
}

func (h *stuckLog) Enabled(context.Context, slog.Level) bool { return true }

func (h *stuckLog) Handle(context.Context, slog.Record) error {
	<-h.free
	return nil
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}
