package presence_test

import (
	"context"
	"fmt"
	"log"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// staff is the host's user database.
var staff = map[string]directory.Entry{
	"sip:tom@example.com": {ID: "1", Account: "tom", SIP: []string{"tom@example.com"}, Lines: []string{"2719"}},
	"sip:ann@example.com": {ID: "2", Account: "ann", SIP: []string{"ann@example.com"}},
}

func lookUp(_ context.Context, a directory.Address) (directory.Entry, error) {
	if entry, ok := staff[a.String()]; ok {
		return entry, nil
	}
	return directory.Entry{}, directory.ErrNotFound
}

func verify(_ context.Context, c auth.Credentials) (auth.Identity, error) {
	if string(c.Password.Reveal()) != "secret" {
		return auth.Identity{}, auth.ErrBadPassword
	}
	return auth.Identity{Account: c.Name.User}, nil // that of the directory's entry
}

// pbx is the host's PBX: what it says of each device.
type pbx map[string]chan aa.LineState

// MonitorLine implements presence.LineMonitor.
func (p pbx) MonitorLine(ctx context.Context, dn string, update func(presence.LineState)) error {
	for {
		select {
		case state := <-p[dn]:
			update(presence.LineState{State: state})
		case <-ctx.Done():
			return nil
		}
	}
}

// A host with a directory, a password check and a PBX of its own. The monitor of
// Tom's telephone runs while somebody watches Tom.
func ExampleLineMonitor() {
	ctx := context.Background()
	network := sipxtest.NewNetwork(sipxtest.Config{}) // in memory; stack.Listen, usually
	stack, phone := network.NewStack("192.0.2.1:5060"), network.NewStack("192.0.2.7:5060")
	guard, err := auth.New(auth.Config{Verifier: auth.VerifierFunc(verify)})
	if err != nil {
		log.Fatal(err)
	}
	lines := pbx{"2719": make(chan aa.LineState)}
	server, err := presence.New(presence.Config{
		Sender: stack, Directory: directory.Func(lookUp), Guard: guard, Lines: lines, Domains: []string{"example.com"},
	})
	if err != nil {
		log.Fatal(err)
	}
	go stack.Serve(ctx, server)

	credentials, err := auth.NewCredentials("ann", []byte("secret"))
	if err != nil {
		log.Fatal(err)
	}
	bss, err := sipx.ParseAddress(stack.Contact(sipx.Flow{}))
	if err != nil {
		log.Fatal(err)
	}
	ann, err := client.New(client.Config{
		Sender: phone, Server: bss.URI, Address: "sip:ann@example.com", Credentials: credentials,
	})
	if err != nil {
		log.Fatal(err)
	}
	go phone.Serve(ctx, ann)
	if err := ann.Watch(ctx, "sip:tom@example.com"); err != nil {
		log.Fatal(err)
	}
	lines["2719"] <- aa.LineBusy // Tom takes a call
	for n := range ann.Notifications(ctx) {
		if s := n.Summary(); s.Status == "busy" {
			fmt.Println(s)
			break
		}
	}

	_ = ann.Close(ctx)
	_ = server.Shutdown(ctx) // last NOTIFYs
	_ = stack.Shutdown(ctx)
	_ = phone.Shutdown(ctx)
	// Output: sip:tom@example.com busy "In a call" lines 2719=busy
}
