package presence_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// BenchmarkFanOutUDP measures PUBLISH → NOTIFY over real UDP on loopback: server
// and watchers, each on a stack of their own in this process, until every
// NOTIFY has arrived.
func BenchmarkFanOutUDP(b *testing.B) {
	for _, watchers := range []int{1, 10, 100, 1000} {
		b.Run(strconv.Itoa(watchers), func(b *testing.B) {
			listen := func() *stack.Stack {
				sip, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
				require.NoError(b, err)
				b.Cleanup(func() { _ = sip.Shutdown(context.Background()) })
				return sip
			}
			sip, peer := listen(), listen()
			dir, err := directory.NewMemory([]directory.Entry{{ID: "u0", SIP: []string{"u0@example.com"}}})
			require.NoError(b, err)
			server, err := presence.New(presence.Config{Sender: sip, Directory: dir, Domains: []string{"example.com"}})
			require.NoError(b, err)
			b.Cleanup(func() { _ = server.Shutdown(context.Background()) })
			arrived := make(chan struct{}, watchers)
			go sip.Serve(context.Background(), server)
			go peer.Serve(context.Background(), sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, req *sipx.Request) {
				_ = w.Respond(sipx.NewResponse(200))
				arrived <- struct{}{}
			}))
			all := func() {
				for range watchers {
					<-arrived
				}
			}
			do := func(req *sipx.Request) *sipx.Response {
				req.Header = append(sipx.Header{{Name: "Contact", Value: peer.Contact(sipx.Flow{Transport: "udp"})}},
					withoutRouting(req.Header)...)
				req.Flow = sipx.Flow{Transport: "udp", Remote: sip.Listening()[0].Local}
				res, err := sipx.Do(b.Context(), peer, req)
				require.NoError(b, err)
				require.Equal(b, 200, res.Status)
				return res
			}
			for i := range watchers {
				req := benchRequest("SUBSCRIBE", i, "u0", "", "Expires: 300")
				do(req)
			}
			all()
			tag, cseq := "", uint32(0)
			publish := func(note string) {
				cseq++
				req := benchRequest("PUBLISH", watchers, "u0", bluStarBody("busy", note), "Expires: 3600", "Content-Type: application/pidf+xml")
				req.CSeq = cseq // each is a request of its own (RFC 3261 §8.2.2.2)
				if tag != "" {
					req.Header.Add("SIP-If-Match", tag)
				}
				tag = etag(do(req))
				all()
			}
			publish("first")
			n := 0
			for b.Loop() {
				n++
				publish(strconv.Itoa(n))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*watchers), "ns/notify")
		})
	}
}

// withoutRouting leaves out what the stack writes.
func withoutRouting(h sipx.Header) sipx.Header {
	var kept sipx.Header
	for _, f := range h {
		if f.Name != "Via" && f.Name != "Contact" {
			kept = append(kept, f)
		}
	}
	return kept
}
