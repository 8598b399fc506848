package natsstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/natsstore"
	"github.com/openblustar/blustar/presence/storetest"
)

// start starts a NATS server in this process, on a port of its own.
func start(t *testing.T) *server.Server {
	t.Helper()
	// An address of its own, where nobody else takes the port while it is away.
	host := fmt.Sprintf("127.%d.%d.%d", 64+rand.N(128), rand.N(256), 1+rand.N(254))
	return run(t, host, server.RANDOM_PORT, t.TempDir())
}

// restart stops a server and starts it again, on the same port with the same files.
func restart(t *testing.T, s *server.Server) *server.Server {
	t.Helper()
	at, dir := s.Addr().(*net.TCPAddr), s.StoreDir()
	s.Shutdown()
	s.WaitForShutdown()
	return run(t, at.IP.String(), at.Port, filepath.Dir(dir))
}

func run(t *testing.T, host string, port int, dir string) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "nats", Host: host, Port: port, JetStream: true, StoreDir: dir, NoSigs: true,
	})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(time.Minute))
	return s
}

func connect(t *testing.T, s *server.Server, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL(), append(options, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// open opens a store that has joined.
func open(t *testing.T, cfg natsstore.Config) *natsstore.Store {
	t.Helper()
	s, err := natsstore.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	require.NoError(t, s.Join(t.Context()))
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, before presence.Store) presence.Store {
		if s, ok := before.(alone); ok {
			require.NoError(t, s.Close(t.Context()))
			return alone{open(t, natsstore.Config{Conn: s.Conn(), Node: "again"})}
		}
		return alone{open(t, natsstore.Config{Conn: connect(t, start(t)), Node: "first"})}
	})
}

// alone leaves out what nodes say of each other.
type alone struct{ *natsstore.Store }

func (s alone) Load(ctx context.Context, f func(presence.Record) error) error {
	return s.Store.Load(ctx, func(r presence.Record) error {
		if r.Kind == presence.KindHeir {
			return nil
		}
		return f(r)
	})
}

// What is no record keeps nobody from starting: it is passed over.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := open(t, natsstore.Config{Conn: connect(t, s)})
	_, err := a.Apply(t.Context(), []presence.Write{record("one", "1")})
	require.NoError(t, err)
	js, err := jetstream.New(a.Conn())
	require.NoError(t, err)
	for _, m := range []*nats.Msg{
		{Subject: "blustar.record.x"}, {Subject: "blustar.record.aw.!"},
		{Subject: "blustar.record.aw.aw", Header: nats.Header{"Blustar-Expires": {"soon"}}},
	} {
		_, err = js.PublishMsg(t.Context(), m)
		require.NoError(t, err)
	}
	_, err = a.Apply(t.Context(), []presence.Write{record("two", "2")})
	require.NoError(t, err)
	n := 0
	require.NoError(t, a.Load(t.Context(), func(r presence.Record) error { n++; return nil }))
	require.Equal(t, 2, n)
}
