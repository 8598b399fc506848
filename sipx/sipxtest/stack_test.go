package sipxtest_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

const serverAddr, clientAddr = "192.0.2.1:5060", "192.0.2.7:5060"

// observed is a handler that also hears of lost connections.
type observed struct {
	sipx.HandlerFunc
	closed chan sipx.Flow
}

func (o observed) FlowClosed(f sipx.Flow) { o.closed <- f }

func ok(_ context.Context, w sipx.ResponseWriter, _ *sipx.Request) {
	_ = w.Respond(sipx.NewResponse(200))
}

func options(target string, n int) *sipx.Request {
	return sipxtest.NewRequest(fmt.Sprintf(`
OPTIONS %s SIP/2.0
From: <sip:alice@example.com>;tag=a
To: <sip:bob@example.com>
Call-ID: c1
CSeq: %d OPTIONS`, target, n))
}

// run starts two stacks in a bubble, of which the first serves h.
func run(t *testing.T, cfg sipxtest.Config, h sipx.Handler,
	f func(t *testing.T, n *sipxtest.Network, server, client *sipxtest.Stack)) {
	synctest.Test(t, func(t *testing.T) {
		n := sipxtest.NewNetwork(cfg)
		server, client := n.NewStack(serverAddr), n.NewStack(clientAddr)
		served := make(chan error, 1)
		go func() { served <- server.Serve(t.Context(), h) }()
		synctest.Wait()
		f(t, n, server, client)
		require.NoError(t, client.Shutdown(t.Context()))
		require.NoError(t, server.Shutdown(t.Context()))
		require.NoError(t, <-served)
	})
}

func TestRequestAndResponse(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			h := sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, r *sipx.Request) {
				res := sipx.NewResponse(200, sipx.Field{Name: "X-Flow", Value: r.Flow.Transport})
				res.Body = []byte("hello")
				_ = w.Respond(res)
			})
			run(t, sipxtest.Config{}, h, func(t *testing.T, _ *sipxtest.Network, _, client *sipxtest.Stack) {
				res, err := sipx.Do(t.Context(), client, options("sip:192.0.2.1;transport="+transport, 1))
				require.NoError(t, err)
				require.Equal(t, 200, res.Status)
				require.Equal(t, transport, res.Header.Get("X-Flow"))
				require.Equal(t, "hello", string(res.Body))
				require.NotEmpty(t, res.ToTag)
				require.Contains(t, res.Header.Get("Via"), "rport=")
			})
		})
	}
}

func TestLossIsRepaired(t *testing.T) {
	var mu sync.Mutex
	sent, calls := 0, 0
	cfg := sipxtest.Config{OnPacket: func(p sipxtest.Packet) sipxtest.Fate {
		mu.Lock()
		defer mu.Unlock()
		sent++
		// The first request and the first response are lost.
		return sipxtest.Fate{Drop: sent <= 1 || sent == 3}
	}}
	h := sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		calls++
		ok(ctx, w, r)
	})
	run(t, cfg, h, func(t *testing.T, _ *sipxtest.Network, _, client *sipxtest.Stack) {
		start := time.Now()
		res, err := sipx.Do(t.Context(), client, options("sip:192.0.2.1", 1))
		require.NoError(t, err)
		require.Equal(t, 200, res.Status)
		require.Equal(t, 1, calls, "the retransmission is absorbed")
		require.Equal(t, 1500*time.Millisecond, time.Since(start), "T1, then 2×T1")
	})
}

func TestBlackholeTimesOut(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			run(t, sipxtest.Config{}, sipx.HandlerFunc(ok), func(t *testing.T, n *sipxtest.Network, _, client *sipxtest.Stack) {
				n.Blackhole("192.0.2.1", true)
				start := time.Now()
				_, err := sipx.Do(t.Context(), client, options("sip:192.0.2.1;transport="+transport, 1))
				require.ErrorIs(t, err, sipx.ErrTimeout)
				require.Equal(t, 32*time.Second, time.Since(start))
				n.Blackhole("192.0.2.1", false)
				_, err = sipx.Do(t.Context(), client, options("sip:192.0.2.1;transport="+transport, 2))
				require.NoError(t, err)
			})
		})
	}
}

func TestDelayReordersDatagramsOnly(t *testing.T) {
	for transport, want := range map[string]string{"udp": "2 1", "tcp": "1 2"} {
		t.Run(transport, func(t *testing.T) {
			cfg := sipxtest.Config{OnPacket: func(p sipxtest.Packet) sipxtest.Fate {
				if strings.Contains(string(p.Data), "CSeq: 1 OPTIONS\r\n") && strings.HasPrefix(string(p.Data), "OPTIONS") {
					return sipxtest.Fate{Delay: 100 * time.Millisecond}
				}
				return sipxtest.Fate{}
			}}
			var got []string
			h := sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
				got = append(got, strconv.Itoa(int(r.CSeq)))
				ok(ctx, w, r)
			})
			run(t, cfg, h, func(t *testing.T, _ *sipxtest.Network, _, client *sipxtest.Stack) {
				done := sipx.ResponseHandlerFunc(func(*sipx.Request, *sipx.Response, error) {})
				client.Send(options("sip:192.0.2.1;transport="+transport, 1), done)
				client.Send(options("sip:192.0.2.1;transport="+transport, 2), done)
				time.Sleep(time.Second)
				synctest.Wait()
				require.Equal(t, want, strings.Join(got, " "))
			})
		})
	}
}

func TestLostConnection(t *testing.T) {
	h := observed{ok, make(chan sipx.Flow, 1)}
	run(t, sipxtest.Config{}, h, func(t *testing.T, _ *sipxtest.Network, server, client *sipxtest.Stack) {
		_, err := sipx.Do(t.Context(), client, options("sip:192.0.2.1;transport=tcp", 1))
		require.NoError(t, err)
		flow := server.Flows()[0]
		client.CloseFlow(client.Flows()[0])
		require.Equal(t, flow, <-h.closed)

		back := options("sip:192.0.2.7", 1)
		back.Flow = flow
		_, err = sipx.Do(t.Context(), server, back)
		require.ErrorIs(t, err, sipx.ErrFlowClosed)
	})
}

func TestHandlersOfOneSenderRunInOrder(t *testing.T) {
	var got []string
	h := sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		time.Sleep(time.Duration(100-r.CSeq) * time.Millisecond)
		got = append(got, strconv.Itoa(int(r.CSeq)))
		ok(ctx, w, r)
	})
	run(t, sipxtest.Config{}, h, func(t *testing.T, _ *sipxtest.Network, _, client *sipxtest.Stack) {
		var group sync.WaitGroup
		var want []string
		for i := range 50 {
			group.Add(1)
			want = append(want, strconv.Itoa(i))
			client.Send(options("sip:192.0.2.1;transport=tcp", i),
				sipx.ResponseHandlerFunc(func(*sipx.Request, *sipx.Response, error) { group.Done() }))
		}
		group.Wait()
		require.Equal(t, want, got)
	})
}

func TestOverload(t *testing.T) {
	release := make(chan struct{})
	h := sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		if r.To.Tag() == "" {
			<-release
		}
		ok(ctx, w, r)
	})
	cfg := sipxtest.Config{MaxHandlers: 4, MaxWaiting: 8}
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		n := sipxtest.NewNetwork(cfg)
		server, client := n.NewStack(serverAddr), n.NewStack(clientAddr)
		go func() { _ = server.Serve(t.Context(), h) }()
		synctest.Wait()
		var refused, served int
		for i := range 10 {
			r := options("sip:192.0.2.1;transport=tcp", i)
			r.From.URI.User = "u" + strconv.Itoa(i)
			client.Send(r, sipx.ResponseHandlerFunc(func(_ *sipx.Request, res *sipx.Response, err error) {
				switch {
				case err == nil && res.Status == 503 && res.Header.Get("Retry-After") != "":
					refused++
				case err == nil && res.Status == 200:
					served++
				}
			}))
		}
		synctest.Wait()
		require.Equal(t, 4, refused, "three run, and three wait: half of those that may")
		// A refresh finds room that a flood of new requests cannot take.
		refresh := options("sip:192.0.2.1;transport=tcp", 11)
		refresh.To = refresh.To.WithTag("b")
		res, err := sipx.Do(t.Context(), client, refresh)
		require.NoError(t, err)
		require.Equal(t, 200, res.Status)
		close(release)
		synctest.Wait()
		require.Equal(t, 6, served)
		require.NoError(t, client.Shutdown(t.Context()))
		require.NoError(t, server.Shutdown(t.Context()))
	})
}

func TestPanicIsAnswered(t *testing.T) {
	h := sipx.HandlerFunc(func(context.Context, sipx.ResponseWriter, *sipx.Request) { panic("planted") })
	run(t, sipxtest.Config{}, h, func(t *testing.T, _ *sipxtest.Network, _, client *sipxtest.Stack) {
		res, err := sipx.Do(t.Context(), client, options("sip:192.0.2.1", 1))
		require.NoError(t, err)
		require.Equal(t, 500, res.Status)
	})
}

func TestShutdownCutShort(t *testing.T) {
	run(t, sipxtest.Config{}, sipx.HandlerFunc(ok), func(t *testing.T, n *sipxtest.Network, _, _ *sipxtest.Stack) {
		third := n.NewStack("192.0.2.9:5060")
		outcome := make(chan error, 1)
		third.Send(options("sip:203.0.113.1", 1),
			sipx.ResponseHandlerFunc(func(_ *sipx.Request, _ *sipx.Response, err error) { outcome <- err }))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, third.Shutdown(ctx), context.DeadlineExceeded)
		require.ErrorIs(t, <-outcome, sipx.ErrStackClosed)
		require.NoError(t, third.Shutdown(t.Context()), "later calls return at once")
		_, err := sipx.Do(t.Context(), third, options("sip:192.0.2.1", 1))
		require.ErrorIs(t, err, sipx.ErrStackClosed)
	})
}

func TestRecorder(t *testing.T) {
	var w sipxtest.Recorder
	go ok(t.Context(), &w, nil)
	require.Equal(t, 200, w.Wait(t.Context()).Status)
	require.Error(t, w.Respond(sipx.NewResponse(404)), "a second response is an error")
	require.Equal(t, 200, w.Response().Status)
	require.Equal(t, 2, w.Calls())
}

func Example() {
	network := sipxtest.NewNetwork(sipxtest.Config{})
	server := network.NewStack("192.0.2.1:5060")
	go server.Serve(context.Background(), sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		_ = w.Respond(sipx.NewResponse(200))
	}))
	defer server.Shutdown(context.Background())

	client := network.NewStack("192.0.2.7:5060")
	defer client.Shutdown(context.Background())
	res, err := sipx.Do(context.Background(), client, sipxtest.NewRequest(`
OPTIONS sip:192.0.2.1 SIP/2.0
From: <sip:alice@example.com>;tag=1928301774
To: <sip:bob@example.com>
Call-ID: a84b4c76e66710
CSeq: 63104 OPTIONS`))
	fmt.Println(res.Status, res.ReasonPhrase(), err)
	// Output: 200 OK <nil>
}

// RFC 3261 §17.1.2.2: nothing is repeated once a request has its outcome, also
// where that comes while it is being repeated.
func TestNothingIsRepeatedAfterTheOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var client *sipxtest.Stack
		var sent atomic.Int32
		network := sipxtest.NewNetwork(sipxtest.Config{OnPacket: func(sipxtest.Packet) sipxtest.Fate {
			if sent.Add(1) == 2 {
				_ = client.Shutdown(ctx) // that is an outcome
			}
			return sipxtest.Fate{Drop: true}
		}})
		client = network.NewStack("192.0.2.7:5060")
		_, err := sipx.Do(t.Context(), client, options("sip:192.0.2.1", 1))
		require.ErrorIs(t, err, sipx.ErrStackClosed)
		time.Sleep(time.Minute)
		require.EqualValues(t, 2, sent.Load())
	})
}
