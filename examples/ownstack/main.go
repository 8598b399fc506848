// Command ownstack puts a presence server on the sockets of a SIP library that a
// program has already. It needs no arguments, and shows that Tom's telephone rings and
// Ann sees it. The README says what such a library cannot promise.
//
// A program that can open its sockets with package stack is better off: there a library
// of its own lives on the same sockets as a stack.Tap.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ownstack:", err)
		os.Exit(1)
	}
}

const password = "correct horse"

// newServer makes the presence server that a sends for.
func newServer(a *adapter) (*presence.Server, error) {
	users, err := directory.NewMemory([]directory.Entry{
		{ID: "tom", Account: `DE\tom`, SIP: []string{"tom@example.com"}, Lines: []string{"2719"}},
		{ID: "ann", Account: `DE\ann`, SIP: []string{"ann@example.com"}},
	})
	if err != nil {
		return nil, err
	}
	hash, err := auth.HashPassword([]byte(password))
	if err != nil {
		return nil, err
	}
	accounts, err := auth.NewLocalAccounts([]auth.Account{{Account: `DE\ann`, PasswordHash: hash}})
	if err != nil {
		return nil, err
	}
	guard, err := auth.New(auth.Config{Verifier: accounts})
	if err != nil {
		return nil, err
	}
	return presence.New(presence.Config{Sender: a, Directory: users, Guard: guard, Domains: []string{"example.com"}})
}

func run(ctx context.Context, out io.Writer) error {
	a, err := newAdapter("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer a.close(ctx)
	server, err := newServer(a)
	if err != nil {
		return err
	}
	defer server.Shutdown(ctx)
	a.serve(server)
	fmt.Fprintf(out, "The library listens on udp %s, and the presence server with it.\n", a.lib.addr())

	phone, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	if err != nil {
		return err
	}
	defer phone.Shutdown(ctx)
	bss, err := sipx.ParseAddress(a.Contact(sipx.Flow{}))
	if err != nil {
		return err
	}
	credentials, err := auth.NewCredentials(`DE\ann`, []byte(password))
	if err != nil {
		return err
	}
	heard := make(chan client.Notification, 64)
	ann, err := client.New(client.Config{
		Sender: phone, Server: bss.URI, Address: "sip:ann@example.com", Credentials: credentials,
		Notify: func(n client.Notification) { heard <- n },
	})
	if err != nil {
		return err
	}
	go phone.Serve(context.Background(), ann) // until phone.Shutdown
	defer ann.Abandon()
	if err := ann.Watch(ctx, "sip:tom@example.com"); err != nil {
		return err
	}
	if err := server.Feed().SetLine(ctx, "2719", presence.LineState{State: aa.LineRinging}); err != nil {
		return err
	}
	fmt.Fprintln(out, "Tom's telephone rings.")
	deadline := time.After(10 * time.Second)
	for {
		select {
		case n := <-heard:
			if s := n.Summary(); len(s.Lines) > 0 && s.Lines[0].State == aa.LineRinging {
				fmt.Fprintf(out, "Ann sees that line %s of Tom is %s.\n", s.Lines[0].DN, s.Lines[0].State)
				return ann.Close(ctx)
			}
		case <-deadline:
			return errors.New("no NOTIFY told Ann")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
