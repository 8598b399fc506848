package presence_test

import (
	"context"
	"fmt"
	"log"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx/stack"
)

// A presence server in a host's process: on a SIP stack of its own, with users
// and accounts in memory, and a line state from the host's PBX.
func Example() {
	sip, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	users, err := directory.NewMemory([]directory.Entry{
		{ID: "tom", Account: `DE\tom`, SIP: []string{"tom@example.com"}, Lines: []string{"2719"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	hash, err := auth.HashPassword([]byte("tom's password"))
	if err != nil {
		log.Fatal(err)
	}
	accounts, err := auth.NewLocalAccounts([]auth.Account{{Account: `DE\tom`, PasswordHash: hash}})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := auth.New(auth.Config{Verifier: accounts})
	if err != nil {
		log.Fatal(err)
	}
	server, err := presence.New(presence.Config{Sender: sip, Directory: users, Guard: guard, Domains: []string{"example.com"}})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	go sip.Serve(ctx, server)

	_ = server.Feed().SetLine(ctx, "2719", presence.LineState{State: aa.LineBusy})
	view, _ := server.Presence(ctx, "sip:tom@example.com")
	fmt.Println(view.Result.Status, "/", view.Result.Note) // busy / In a call

	_ = server.Shutdown(ctx) // last NOTIFYs
	_ = sip.Shutdown(ctx)
	// Output: busy / In a call
}
