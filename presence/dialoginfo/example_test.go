package dialoginfo_test

import (
	"context"
	"fmt"
	"log"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/dialoginfo"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// A monitor on a stack of its own, here one in memory. With a presence server
// the last two steps are its Config and
//
//	stack.Serve(ctx, monitor.Handler(server))
func Example() {
	network := sipxtest.NewNetwork(sipxtest.Config{})
	network.Name("pbx.example.com", "192.0.2.1:5060")
	pbx := network.NewStack("192.0.2.1:5060")
	go pbx.Serve(context.Background(), examplePBX(pbx))

	stack := network.NewStack("192.0.2.7:5060") // stack.Listen, usually
	monitor, err := dialoginfo.New(dialoginfo.Config{
		Sender: stack,
		PBX:    sipx.URI{Scheme: "sip", Host: "pbx.example.com"},
		From:   sipx.URI{Scheme: "sip", User: "presence", Host: "example.com"},
	})
	if err != nil {
		log.Fatal(err)
	}
	go stack.Serve(context.Background(), monitor)

	ctx, cancel := context.WithCancel(context.Background())
	err = monitor.MonitorLine(ctx, "2719", func(s presence.LineState) {
		fmt.Println("2719 is", s.State)
		cancel() // enough for an example
	})
	fmt.Println("ended:", err)

	// The subscription at the PBX has ended too when the stack is down.
	stack.Shutdown(context.Background())
	pbx.Shutdown(context.Background())
	// Output:
	// 2719 is busy
	// ended: <nil>
}

// examplePBX grants every subscription; all its devices are busy.
func examplePBX(stack *sipxtest.Stack) sipx.Handler {
	return sipx.HandlerFunc(func(ctx context.Context, w sipx.ResponseWriter, req *sipx.Request) {
		res := sipx.NewResponse(200,
			sipx.Field{Name: "Expires", Value: req.Header.Get("Expires")},
			sipx.Field{Name: "Contact", Value: "<sip:192.0.2.1>"})
		res.ToTag = "pbx"
		w.Respond(res)
		if req.To.Tag() != "" {
			return
		}
		contact, _ := sipx.ParseAddress(req.Header.Get("Contact"))
		sipx.Do(ctx, stack, &sipx.Request{
			Method: "NOTIFY", URI: contact.URI,
			From: req.To.WithTag("pbx"), To: req.From, CallID: req.CallID, CSeq: 1,
			Header: sipx.Header{
				{Name: "Event", Value: "dialog"},
				{Name: "Subscription-State", Value: "active;expires=300"},
				{Name: "Content-Type", Value: "application/dialog-info+xml"},
			},
			Body: []byte(`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="0" state="full"
				entity="sip:2719@pbx.example.com">
				<dialog id="1" direction="recipient"><state>confirmed</state></dialog>
			</dialog-info>`),
		})
	})
}
