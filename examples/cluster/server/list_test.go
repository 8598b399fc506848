//go:build linux

package main

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence/natsstore"
)

// silence is the way to NATS, and then to a server that takes connections and says nothing.
type silence struct {
	reached chan struct{} // closed when it is tried

	mu    sync.Mutex
	began bool
	conns []net.Conn
}

// Dial implements [nats.CustomDialer].
func (s *silence) Dial(network, address string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.began {
		conn, err := net.Dial(network, address)
		s.conns = append(s.conns, conn)
		return conn, err
	}
	near, far := net.Pipe()
	if s.conns = append(s.conns, far); len(s.conns) == 2 {
		close(s.reached)
	}
	return near, nil
}

// turn begins the silence, and ends it.
func (s *silence) turn(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = on
	for _, c := range s.conns {
		_ = c.Close()
	}
}

// Who asks for the nodes is told in time that there is no answer, whatever the connection does.
func TestListDoesNotWait(t *testing.T) {
	nats1, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true})
	require.NoError(t, err)
	nats1.Start()
	t.Cleanup(func() { nats1.Shutdown(); nats1.WaitForShutdown() })
	require.True(t, nats1.ReadyForConnections(patience))
	way := &silence{reached: make(chan struct{})}
	conn, err := nats.Connect(nats1.ClientURL(), nats.SetCustomDialer(way), nats.Timeout(time.Hour), nats.MaxReconnects(-1), nats.ReconnectWait(tick))
	require.NoError(t, err)
	shared, err := natsstore.Open(t.Context(), natsstore.Config{Conn: conn, Node: "a"})
	require.NoError(t, err)
	s := store{shared, conn, make(chan struct{}, 1)}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	require.NoError(t, s.Join(t.Context()))
	list, err := s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)

	way.turn(true)
	<-way.reached
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), tick)
		_, err = s.List(ctx)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	way.turn(false)
	require.Eventually(t, func() bool {
		list, err = s.List(t.Context())
		return err == nil && len(list) == 1
	}, patience, tick)
}
