package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/openblustar/blustar/internal/hostconfig"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/console"
	"github.com/openblustar/blustar/sipx"
)

// Join opens the store that a configuration names for several nodes, and waits for it until
// ctx ends. Dialogs, which may be nil, tells how many subscriptions this node has.
type Join func(ctx context.Context, c *hostconfig.Config, dialogs func() int, log *slog.Logger) (Nodes, error)

// Nodes is that store, as a *natsstore.Store of presence/natsstore is: a module of its own,
// so that who has one machine does without NATS.
type Nodes interface {
	presence.Shared
	Join(context.Context) error
	Alive() bool           // this node may speak
	Lost() <-chan struct{} // it will never again
	Sender(sipx.Sender) sipx.Sender
	Handler(sipx.Handler) sipx.Handler
	List(context.Context) ([]console.Node, error)
	Close(context.Context) error
}

var (
	errOneNode = errors.New("this program is one node alone; examples/cluster/server is the same with store.nats")
	errLost    = errors.New("another node has taken this one's place: start it again")
)

func (c *config) isNode() bool { return c.Store != nil && c.Store.NATS != nil }

// describeNodes says what the store is for.
func describeNodes(s *hostconfig.Store) string {
	return fmt.Sprintf("be the node %q, and keep its state in the bucket %q of NATS at %s, in %d replicas, with a lease of %v",
		s.Node, s.NATS.Bucket, list(s.NATS.URL), s.NATS.Replicas, time.Duration(s.NATS.Lease))
}

// joinNodes has this node live beside the others, where there are several.
func (s *server) joinNodes(ctx context.Context, join Join) (Nodes, error) {
	if !s.cfg.isNode() {
		return nil, nil
	}
	nodes, err := join(ctx, s.cfg.Config, func() int {
		if server := s.restored.Load(); server != nil {
			return server.Stats().Subscriptions
		}
		return 0
	}, s.log)
	if err != nil {
		return nil, err
	}
	if err := nodes.Join(ctx); err != nil {
		return nil, errors.Join(err, nodes.Close(context.WithoutCancel(ctx)))
	}
	return nodes, nil
}

// handler is what the stack serves.
func (s *server) handler() sipx.Handler {
	h := s.sources.Handler(s.presence)
	if s.nodes != nil {
		h = s.nodes.Handler(h)
	}
	return h
}

// storeQuestion asks the store for the nodes that there are.
func (c *config) storeQuestion(join Join, log *slog.Logger) hostconfig.Question {
	return hostconfig.Question{Name: "store", Ask: func(ctx context.Context) (string, error) {
		nodes, err := join(ctx, c.Config, nil, log)
		if err != nil {
			return "", err
		}
		defer nodes.Close(context.WithoutCancel(ctx))
		there, err := nodes.List(ctx)
		return fmt.Sprintf(" has %d nodes", len(there)), err
	}}
}
