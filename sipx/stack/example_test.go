package stack_test

import (
	"context"
	"fmt"
	"log"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// A server that answers OPTIONS, and a client that asks it, over UDP.
func Example() {
	server, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	client, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	go server.Serve(ctx, sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, req *sipx.Request) {
		_ = w.Respond(sipx.NewResponse(200, sipx.Field{Name: "Allow", Value: "OPTIONS"}))
	}))
	go client.Serve(ctx, sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, _ *sipx.Request) {
		_ = w.Respond(sipx.NewResponse(405))
	}))

	target, err := sipx.ParseURI("sip:" + server.Listening()[0].Local.String())
	if err != nil {
		log.Fatal(err)
	}
	me, err := sipx.ParseAddress("<sip:tom@example.com>;tag=1")
	if err != nil {
		log.Fatal(err)
	}
	res, err := sipx.Do(ctx, client, &sipx.Request{
		Method: "OPTIONS", URI: target, From: me, To: sipx.Address{URI: target}, CallID: "1", CSeq: 1,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Status, res.Header.Get("Allow"))
	_ = client.Shutdown(ctx)
	_ = server.Shutdown(ctx)
	// Output: 200 OPTIONS
}
