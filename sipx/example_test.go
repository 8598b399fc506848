package sipx_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/openblustar/blustar/sipx"
)

func ExampleParseAddress() {
	a, err := sipx.ParseAddress(`"Tom Hanks" <sip:tom.hanks@example.com:5060;transport=tcp>;tag=93521f1ee5`)
	if err != nil {
		panic(err)
	}
	transport, _ := a.URI.Param("transport")
	fmt.Println(a.Display, a.URI.User, a.URI.Host, a.URI.Port, transport, a.Tag())
	// Output: Tom Hanks tom.hanks example.com 5060 tcp 93521f1ee5
}

func ExampleRequest_AppendTo() {
	uri, _ := sipx.ParseURI("sip:67251@192.0.2.151:5060")
	from, _ := sipx.ParseAddress("<sip:tom.hanks@example.com>;tag=4711")
	to, _ := sipx.ParseAddress("<sip:67251@example.com>;tag=3b3da890af")
	notify := &sipx.Request{
		Method: "NOTIFY", URI: uri, From: from, To: to, CallID: "8cc08471fb350dcb", CSeq: 7,
		Header: sipx.Header{
			{Name: "Event", Value: "presence"},
			{Name: "Subscription-State", Value: "active;expires=300"},
		},
	}
	text := notify.AppendTo(nil, "SIP/2.0/UDP 192.0.2.130:5060;branch=z9hG4bK1")
	fmt.Print(strings.ReplaceAll(string(text), "\r\n", "\n"))
	// Output:
	// NOTIFY sip:67251@192.0.2.151:5060 SIP/2.0
	// Via: SIP/2.0/UDP 192.0.2.130:5060;branch=z9hG4bK1
	// Max-Forwards: 70
	// From: <sip:tom.hanks@example.com>;tag=4711
	// To: <sip:67251@example.com>;tag=3b3da890af
	// Call-ID: 8cc08471fb350dcb
	// CSeq: 7 NOTIFY
	// Event: presence
	// Subscription-State: active;expires=300
	// Content-Length: 0
}

func ExampleHandlerFunc() {
	h := sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, r *sipx.Request) {
		event, ok := sipx.ParseEvent(r.Header.Get("Event"))
		if !ok || event.Package != "presence" {
			_ = w.Respond(sipx.NewResponse(489, sipx.Field{Name: "Allow-Events", Value: "presence"}))
			return
		}
		_ = w.Respond(sipx.NewResponse(200))
	})
	r := &sipx.Request{Method: "SUBSCRIBE", Header: sipx.Header{{Name: "Event", Value: "dialog"}}}
	h.ServeSIP(context.Background(), printer{}, r)
	// Output: 489 Bad Event
}

// printer is a ResponseWriter that prints.
type printer struct{}

func (printer) Respond(res *sipx.Response) error {
	_, err := fmt.Fprintln(os.Stdout, res.Status, res.ReasonPhrase())
	return err
}

func ExampleErrorf() {
	check := func(expires int) error {
		if expires < 60 {
			return sipx.Errorf(423, "at least 60 s")
		}
		return nil
	}
	err := check(10)
	if e, ok := errors.AsType[*sipx.Error](err); ok {
		fmt.Println(e.Response().Status, e.Response().ReasonPhrase())
	}
	// Output: 423 at least 60 s
}
