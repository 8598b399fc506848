package client_test

import (
	"context"
	"fmt"

	"github.com/openblustar/blustar/pidf"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// A client signs in, watches someone and goes busy. The server here answers
// every SUBSCRIBE with one state; the stack is one in memory.
func Example() {
	network := sipxtest.NewNetwork(sipxtest.Config{})
	bss, stack := network.NewStack("192.0.2.1:5060"), network.NewStack("192.0.2.7:5060")
	go bss.Serve(context.Background(), oneState(bss))
	defer bss.Shutdown(context.Background())
	defer stack.Shutdown(context.Background())

	c, err := client.New(client.Config{
		Sender:  stack,
		Server:  sipx.URI{Scheme: "sip", Host: "192.0.2.1", Port: 5060},
		Address: "sip:tom@example.com",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Abandon()
	go stack.Serve(context.Background(), c)

	ctx := context.Background()
	if err := c.Watch(ctx, "sip:ann@example.com"); err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Publish(ctx, client.Publication{Status: aa.StatusBusy, Note: "Back at two"}); err != nil {
		fmt.Println(err)
		return
	}
	for n := range c.Notifications(ctx) {
		if n.Own {
			continue
		}
		fmt.Println(n.Summary())
		break
	}
	// Output: sip:ann@example.com busy "In a call" lines 2719=busy→6894 services global service
}

// A gateway has one stack and one Mux for all its users. Those of a mobile client
// controller share the Contact user "fmc" (§2.11).
func ExampleMux() {
	ctx := context.Background()
	network := sipxtest.NewNetwork(sipxtest.Config{})
	bss, stack := network.NewStack("192.0.2.1:5060"), network.NewStack("192.0.2.30:5060")
	go bss.Serve(ctx, sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, req *sipx.Request) {
		fmt.Println(req.Method, "of", req.From.URI, "from", req.Header.Get("Contact"))
		_ = w.Respond(sipx.NewResponse(200, field("SIP-ETag", "18762"), field("Expires", req.Header.Get("Expires"))))
	}))
	defer bss.Shutdown(ctx)
	defer stack.Shutdown(ctx)

	mux := new(client.Mux)
	go stack.Serve(ctx, mux)
	for _, user := range []string{"sip:tom@example.com", "sip:ann@example.com"} {
		c, err := client.New(client.Config{
			Sender:      stack, // stack.Listen, usually
			Mux:         mux,
			Server:      sipx.URI{Scheme: "sip", Host: "192.0.2.1", Port: 5060},
			Address:     user,
			ContactUser: "fmc",
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer c.Abandon()
		if err := c.Publish(ctx, client.Publication{Status: aa.StatusBusy, AsDefault: true}); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// PUBLISH of sip:tom@example.com from <sip:fmc@192.0.2.30:5060>
	// PUBLISH of sip:ann@example.com from <sip:fmc@192.0.2.30:5060>
}

// oneState is a server that accepts everything and tells one state.
func oneState(bss *sipxtest.Stack) sipx.Handler {
	return sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
		res := sipx.NewResponse(200, field("SIP-ETag", "18762"), field("Expires", req.Header.Get("Expires")))
		res.ToTag = "bss"
		_ = w.Respond(res)
		if req.Method != "SUBSCRIBE" {
			return
		}
		entity := req.To.URI.String()
		if req.Body != nil {
			entity = "sip:ann@example.com"
		}
		bss.Send(&sipx.Request{
			Method: "NOTIFY", URI: sipx.URI{Scheme: "sip", Host: "192.0.2.7", Port: 5060},
			From: req.To.WithTag("bss"), To: req.From, CallID: req.CallID, CSeq: 1,
			Header: sipx.Header{field("Event", "presence"), field("Subscription-State", "active"), field("Content-Type", pidf.TypePIDF)},
			Body:   []byte(busy(entity, "In a call")),
		}, sipx.ResponseHandlerFunc(func(*sipx.Request, *sipx.Response, error) {}))
	})
}
