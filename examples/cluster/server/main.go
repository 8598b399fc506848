// Command server is examples/server as one of several nodes: it takes store.nats in its
// configuration, and is the same in all else.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openblustar/blustar/examples/internal/server"
	"github.com/openblustar/blustar/internal/hostconfig"
	"github.com/openblustar/blustar/presence/console"
	"github.com/openblustar/blustar/presence/natsstore"
)

func main() { server.Main(open) }

// store is the store of this node, with its connection.
type store struct {
	*natsstore.Store
	conn   *nats.Conn
	asking chan struct{} // holds one while the nodes are asked for
}

// open connects to NATS, and opens the bucket. It waits for both until ctx ends, but not
// for what waiting does not help.
func open(ctx context.Context, config *hostconfig.Config, dialogs func() int, log *slog.Logger) (server.Nodes, error) {
	c := config.Store
	conn, err := connect(ctx, c, log)
	if err != nil {
		return nil, fmt.Errorf("NATS at %s: %w", strings.Join(c.NATS.URL, ", "), err)
	}
	site := "" // so that two sites do not share a bucket by mistake
	if len(config.Domains) > 0 {
		site = config.Domains[0]
	}
	s, err := natsstore.Open(ctx, natsstore.Config{
		Conn: conn, Bucket: c.NATS.Bucket, Replicas: c.NATS.Replicas, Node: c.Node, Lease: time.Duration(c.NATS.Lease),
		Site: site, Dialogs: dialogs, Logger: log,
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return store{s, conn, make(chan struct{}, 1)}, nil
}

func connect(ctx context.Context, c *hostconfig.Store, log *slog.Logger) (*nats.Conn, error) {
	lease := time.Duration(c.NATS.Lease)
	options := []nats.Option{
		nats.Name("blustar " + c.Node), nats.Timeout(lease / 4), // while it tries a server, its connection takes nothing
		// For ever, and often enough for the lease.
		nats.MaxReconnects(-1), nats.ReconnectWait(min(lease/20, 250*time.Millisecond)), nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(lease / 4), nats.MaxPingsOutstanding(2), // so that a server that is silent is left for another
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("the connection to NATS is lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { log.Info("connected to NATS again", "server", c.ConnectedUrlRedacted()) }),
	}
	if c.NATS.CredentialsFile != "" {
		options = append(options, nats.UserCredentials(c.NATS.CredentialsFile))
	}
	if c.NATS.CAFile != "" {
		options = append(options, nats.RootCAs(c.NATS.CAFile))
	}
	for {
		conn, err := nats.Connect(strings.Join(c.NATS.URL, ","), options...)
		if err == nil || !isAway(err) {
			return conn, err
		}
		log.Warn("NATS cannot be reached", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, cmp.Or(err, ctx.Err())
		}
	}
}

// isAway reports whether an error is that of servers that may be there later.
func isAway(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout)
}

// List implements [server.Nodes]. It returns when ctx ends, also where the connection is being made
// again: until a server that hangs is given up, that waits for nobody's context.
func (s store) List(ctx context.Context) ([]console.Node, error) {
	select {
	case s.asking <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var list []console.Node
	answered := make(chan error, 1)
	go func() {
		defer func() { <-s.asking }()
		var err error
		list, err = s.list(ctx)
		answered <- err
	}()
	select {
	case err := <-answered:
		return list, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s store) list(ctx context.Context) ([]console.Node, error) {
	nodes, err := s.Nodes(ctx)
	list := make([]console.Node, 0, len(nodes))
	for _, n := range nodes {
		state := "alive"
		if n.Renewed > n.Lease {
			state = "silent"
		}
		list = append(list, console.Node{
			Name: n.Name, ID: n.ID, This: n.ID == s.Node(), State: state, Lease: n.Lease.String(),
			Renewed: n.Renewed.Round(100 * time.Millisecond).String(), Dialogs: n.Dialogs,
		})
	}
	return list, err
}

// Close gives the lease back, and ends the connection.
func (s store) Close(ctx context.Context) error {
	defer s.conn.Close()
	return s.Store.Close(ctx)
}
