package stack_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
	"github.com/openblustar/blustar/sipx/stack"
)

// notification is a NOTIFY whose memory serves the next one as soon as its outcome is known, as that of a host does.
type notification struct {
	sipx.Request
	t    *testing.T
	free *sync.Pool
	told atomic.Int32 // outcomes
	seq  uint32
	done *sync.WaitGroup
	room chan struct{} // what the buffers of the peer's socket have room for
	none *atomic.Int64 // outcomes without an answer
}

func (n *notification) HandleResponse(req *sipx.Request, res *sipx.Response, err error) {
	seq := n.seq
	switch {
	case n.told.Add(1) != 1:
		n.t.Errorf("NOTIFY %d: a second outcome: %v, %v", seq, res, err)
		return
	case req != &n.Request || req.CSeq != seq:
		n.t.Errorf("NOTIFY %d: the outcome is that of %d", seq, req.CSeq)
	case err != nil:
		n.none.Add(1)
	case uint32(res.Status) != statusOf(seq):
		n.t.Errorf("NOTIFY %d: %d, and the peer said %d", seq, res.Status, statusOf(seq))
	}
	done, room := n.done, n.room
	n.Request = sipx.Request{Method: "gone"}
	n.free.Put(n)
	<-room
	done.Done()
}

// statusOf is what the peer answers to the NOTIFY with a CSeq.
func statusOf(seq uint32) uint32 { return [3]uint32{200, 481, 202}[seq%3] }

// Requests and transactions are used again while answers are lost, come twice, or come late, when others have their
// memory: each request has one outcome, its own, also where the stack is shut down in the middle of it.
func TestOutcomes(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"answered": 0, "too late": 300 * time.Millisecond, "shut down": time.Second} {
		t.Run(name, func(t *testing.T) {
			peer, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
			require.NoError(t, err)
			s := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0"}, TransactionTimeout: timeout})
			serve(t, s, sipx.HandlerFunc(ok))
			var answering sync.WaitGroup
			answering.Go(func() { answerBadly(peer) })
			defer func() { _ = peer.Close(); answering.Wait() }()

			var free sync.Pool
			var done sync.WaitGroup
			room := make(chan struct{}, 128)
			var none atomic.Int64
			var seq atomic.Uint32
			to, err := sipx.ParseURI("sip:tom@" + peer.LocalAddr().String())
			require.NoError(t, err)
			model := sipxtest.NewRequest("NOTIFY sip:tom@example.com SIP/2.0\n" + strings.ReplaceAll(fields, "OPTIONS", "NOTIFY") + "Call-ID: x")
			var senders sync.WaitGroup
			for range 4 {
				senders.Go(func() {
					for range 150 {
						room <- struct{}{}
						n, _ := free.Get().(*notification)
						if n == nil {
							n = &notification{}
						}
						n.t, n.free, n.done, n.room, n.none, n.seq = t, &free, &done, room, &none, seq.Add(1)
						n.told.Store(0)
						n.Request = *model
						n.URI, n.CSeq = to, n.seq
						done.Add(1)
						s.Send(&n.Request, n)
					}
				})
			}
			if name == "shut down" {
				shutdownNow(s)
			}
			senders.Wait()
			done.Wait()
			if name == "answered" {
				require.Zero(t, none.Load(), "requests without an answer")
			}
		})
	}
}

// answerBadly answers requests: some not at first, some twice, some late, and some with a provisional response before.
func answerBadly(c *net.UDPConn) {
	r := rand.New(rand.NewPCG(1, 2))
	var late [][]byte
	seen := make(map[uint32]bool)
	var from netip.AddrPort
	buf := make([]byte, 64<<10)
	for {
		n, addr, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		from = addr
		req, err := sipx.ParseRequest(buf[:n])
		if err != nil {
			continue
		}
		head := func(status uint32) []byte {
			var b strings.Builder
			fmt.Fprintf(&b, "SIP/2.0 %d x\r\n", status)
			for line := range strings.SplitSeq(string(buf[:n]), "\r\n") {
				for _, name := range []string{"Via:", "From:", "To:", "Call-ID:", "CSeq:"} {
					if strings.HasPrefix(line, name) {
						b.WriteString(line + "\r\n")
					}
				}
			}
			return []byte(b.String() + "Content-Length: 0\r\n\r\n")
		}
		final := head(statusOf(req.CSeq))
		action := r.IntN(8)
		if seen[req.CSeq] {
			action = 3
		}
		seen[req.CSeq] = true
		switch action {
		case 0: // lost
		case 1:
			late = append(late, final)
		case 2:
			_, _ = c.WriteToUDPAddrPort(head(100), addr)
			_, _ = c.WriteToUDPAddrPort(final, addr)
			late = append(late, final, final)
		case 3:
			_, _ = c.WriteToUDPAddrPort(final, addr)
			late = append(late, final)
		default:
			_, _ = c.WriteToUDPAddrPort(final, addr)
		}
		for len(late) > 64 {
			i := r.IntN(len(late))
			_, _ = c.WriteToUDPAddrPort(late[i], from)
			late[i] = late[len(late)-1]
			late = late[:len(late)-1]
		}
	}
}

// shutdownNow waits for nothing.
func shutdownNow(s sipx.Stack) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Shutdown(ctx)
}
