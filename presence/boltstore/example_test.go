package boltstore_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/boltstore"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// A server that is restarted goes on where it was.
func Example() {
	folder, err := os.MkdirTemp("", "presence")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	users, err := directory.NewMemory([]directory.Entry{{ID: "tom", SIP: []string{"tom@example.com"}, Lines: []string{"2719"}}})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	run := func(use func(*presence.Server)) {
		store, err := boltstore.Open(filepath.Join(folder, "presence.db"))
		if err != nil {
			log.Fatal(err)
		}
		defer store.Close() // after the server's Shutdown
		server, err := presence.New(presence.Config{Sender: new(sipxtest.NullSender), Directory: users, Store: store})
		if err != nil {
			log.Fatal(err)
		}
		if err := server.Restore(ctx); err != nil { // before the stack serves
			log.Fatal(err)
		}
		use(server)
		_ = server.Shutdown(ctx)
	}
	run(func(s *presence.Server) {
		_ = s.Feed().SetLine(ctx, "2719", presence.LineState{State: aa.LineBusy})
	})
	run(func(s *presence.Server) {
		line, _ := s.Feed().Line("2719")
		fmt.Println(line.Value.State)
	})
	// Output: busy
}
