package subscription_test

import (
	"context"
	"fmt"
	"time"

	"github.com/openblustar/blustar/presence/subscription"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// voicemail is the event package of RFC 3842, of one mailbox.
type voicemail struct{ messages int }

func (v *voicemail) Current() subscription.State { return waiting(v.messages) }
func (v *voicemail) Joined(w *subscription.Watch, _ subscription.View) {
	fmt.Println("joined:", w.Entity())
}
func (v *voicemail) Left(w *subscription.Watch, _ subscription.View) {
	fmt.Println("left:", w.Entity())
}

// waiting is its state: how many messages there are.
type waiting int

func (n waiting) Version(subscription.View) uint64 { return uint64(n) }
func (n waiting) Body(room []byte, _ subscription.Showing) (body []byte, own bool) {
	return fmt.Appendf(room, "Messages-Waiting: yes\nVoice-Message: %d/0\n", int(n)), true
}

// printer is a sender that prints NOTIFYs, and answers them.
type printer struct{}

func (printer) Contact(sipx.Flow) string { return "<sip:192.0.2.1>" }
func (printer) Send(req *sipx.Request, done sipx.ResponseHandler) {
	fmt.Printf("%s %d, %s\n%s", req.Method, req.CSeq, req.Header.Get("Subscription-State"), req.Body)
	done.HandleResponse(req, sipx.NewResponse(200), nil)
}

// The registry serving an event package of the host's own: message waiting
// (RFC 3842). The host looks at the request, says who may see what, and sends the
// response; the registry does the rest of RFC 6665.
func Example() {
	registry, err := subscription.New(subscription.Config{Sender: printer{}})
	if err != nil {
		panic(err)
	}
	messages := &subscription.Package{Name: "message-summary", MediaType: "application/simple-message-summary"}
	mailbox := &voicemail{messages: 2}

	req := sipxtest.NewRequest(`SUBSCRIBE sip:ann@example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1
From: <sip:ann@example.com>;tag=1
To: <sip:ann@example.com>
Call-ID: 1
CSeq: 1 SUBSCRIBE
Contact: <sip:ann@192.0.2.7>
Event: message-summary`)
	contact, err := subscription.ContactOf(req)
	if err != nil {
		panic(err)
	}
	dialog, err := registry.Open(subscription.Opening{
		Request: req, Contact: contact.URI, Package: messages, Expires: time.Hour, From: req.To.URI,
		Items: []subscription.Item{{Entity: "sip:ann@example.com", Resource: mailbox}},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("answer:", dialog.Accept(req, time.Hour).Status) // to be sent before the first NOTIFY
	dialog.Start()

	mailbox.messages = 3
	subscription.Notify(dialog.Watches())

	_ = registry.Shutdown(context.Background(), subscription.ReasonDeactivated)
	// Output:
	// joined: sip:ann@example.com
	// answer: 200
	// NOTIFY 1, active;expires=3600
	// Messages-Waiting: yes
	// Voice-Message: 2/0
	// NOTIFY 2, active;expires=3600
	// Messages-Waiting: yes
	// Voice-Message: 3/0
	// left: sip:ann@example.com
	// NOTIFY 3, terminated;reason=deactivated
	// Messages-Waiting: yes
	// Voice-Message: 3/0
}
