package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/natsstore"
	"github.com/openblustar/blustar/sipx/stack"
)

const (
	password = "correct horse"
	serving  = "serving at " // what a node prints before its address
	tomsLine = "4711"
	annsLine = "4712"
)

// serve is a node: it serves beside the others until ctx ends, or it loses its lease.
// advertise is where clients reach one of the nodes, whichever it is. From in come the states of
// telephones.
func serve(ctx context.Context, in io.Reader, out io.Writer, name, urls, advertise, lease string) error {
	lasts, err := time.ParseDuration(lease)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	nc, err := nats.Connect(urls, nats.Name(name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(200*time.Millisecond)) // often enough for the lease
	if err != nil {
		return err
	}
	defer nc.Close()
	store, err := natsstore.Open(ctx, natsstore.Config{
		Conn: nc, Node: name, Replicas: 3, Lease: lasts, Logger: log,
	})
	if err != nil {
		return err
	}
	defer closing(store.Close)
	if err := store.Join(ctx); err != nil {
		return err
	}
	sip, err := stack.Listen(stack.Config{
		Listen: []string{"udp:127.0.0.1:0"}, Advertise: []string{advertise}, MaySend: store.Alive, Logger: log,
	})
	if err != nil {
		return err
	}
	defer closing(sip.Shutdown)
	var server *presence.Server
	users, guard, err := people(func(r auth.SessionRecord) { server.KeepSession(r) }) // no request comes before it is there
	if err != nil {
		return err
	}
	server, err = presence.New(presence.Config{
		Sender: store.Sender(sip), Store: store, Directory: users, Guard: guard, Domains: []string{"example.com"}, Logger: log,
	})
	if err != nil {
		return err
	}
	defer closing(server.Shutdown)
	if err := server.Restore(ctx); err != nil {
		return err
	}
	go sip.Serve(context.Background(), store.Handler(server)) // until Shutdown
	go feed(ctx, in, server.Feed(), log)                      // until the process ends
	fmt.Fprintln(out, serving+sip.Listening()[0].Local.String())
	select {
	case <-ctx.Done():
		return nil
	case <-store.Lost():
		return errors.New("this node has lost its lease") // start it again
	}
}

// feed stands for the link to a telephone system: what one node hears of a line, all nodes know.
func feed(ctx context.Context, in io.Reader, to presence.Feed, log *slog.Logger) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		dn, state, _ := strings.Cut(lines.Text(), " ")
		if err := to.SetLine(ctx, dn, presence.LineState{State: aa.LineState(state)}); err != nil {
			log.Warn("the state of a line is lost", "line", dn, "error", err)
		}
	}
}

// closing gives an end five seconds.
func closing(end func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = end(ctx)
}

// people are who is known, the same at every node. Who has signed in at one need not at another.
func people(keep func(auth.SessionRecord)) (*directory.Memory, *auth.Guard, error) {
	users, err := directory.NewMemory([]directory.Entry{
		{ID: "tom", Account: `DE\tom`, SIP: []string{"tom@example.com"}, Lines: []string{tomsLine}},
		{ID: "ann", Account: `DE\ann`, SIP: []string{"ann@example.com"}, Lines: []string{annsLine}},
	})
	if err != nil {
		return nil, nil, err
	}
	hash, err := auth.HashPassword([]byte(password))
	if err != nil {
		return nil, nil, err
	}
	accounts, err := auth.NewLocalAccounts([]auth.Account{
		{Account: `DE\tom`, PasswordHash: hash}, {Account: `DE\ann`, PasswordHash: hash},
	})
	if err != nil {
		return nil, nil, err
	}
	guard, err := auth.New(auth.Config{Verifier: accounts, KeepSession: keep})
	return users, guard, err
}
