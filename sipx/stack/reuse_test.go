package stack_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// A request whose memory is used again is never another one for who handles it,
// whether it answers before it returns, after that, or both at once.
func TestReuseRequests(t *testing.T) {
	const clients, each = 4, 60
	server := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}, ReuseRequests: true})
	client := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	var answering sync.WaitGroup
	serve(t, server, sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		answer := func() {
			name := r.Header.Get("X-Name")
			_ = w.Respond(sipx.NewResponse(200, sipx.Field{Name: "X-Name", Value: name + " " + r.CallID}))
		}
		switch r.CSeq % 3 {
		case 0:
			answer()
		case 1:
			answering.Go(answer)
		case 2: // the goroutine is done, but maybe not its handler
			answered := make(chan struct{})
			answering.Go(func() {
				answer()
				close(answered)
			})
			<-answered
		}
	}))
	var asking sync.WaitGroup
	for i := range clients {
		for _, transport := range []string{"udp", "tcp"} {
			asking.Go(func() {
				for n := range each {
					req := options("sip:bob@" + address(server, transport) + ";transport=" + transport)
					req.CSeq = uint32(n)
					name := transport + strconv.Itoa(i) + "-" + strconv.Itoa(n)
					req.Header.Add("X-Name", name)
					res, err := sipx.Do(t.Context(), client, req)
					if err != nil || res.Header.Get("X-Name") != name+" "+req.CallID {
						t.Error(name, res, err)
						return
					}
				}
			})
		}
	}
	asking.Wait()
	shutdown(t, server) // no handler runs any more
	answering.Wait()
	require.Zero(t, server.Stats().Malformed)
}
