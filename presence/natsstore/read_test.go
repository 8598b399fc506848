package natsstore_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/natsstore"
)

// loses is the way to a NATS that does not hear of some consumers that it is asked for, as one
// does that was stopped in the middle.
type loses struct{ left atomic.Int64 }

// Dial implements [nats.CustomDialer].
func (l *loses) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	return losing{conn, l}, err
}

type losing struct {
	net.Conn
	*loses
}

func (c losing) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("CONSUMER.CREATE")) && c.left.Add(-1) >= 0 {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// within waits for what takes seconds, by clocks and not by work, and would take far longer if
// it waited for an answer that does not come.
func within(t *testing.T, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(20 * time.Second):
		require.Fail(t, "it waits for what does not come")
		return nil
	}
}

// Who reads does not wait long for a server that does not answer, but asks again, and ends when
// it is told to, whether there is an answer or not (BSX-12).
func TestReadingAsksAgain(t *testing.T) {
	t.Parallel()
	var way loses
	a := open(t, natsstore.Config{Conn: connect(t, start(t), nats.SetCustomDialer(&way)), Lease: natsstore.MaxLease})
	_, err := a.Apply(t.Context(), []presence.Write{record("one", "1"), record("two", "2")})
	require.NoError(t, err)
	ended := make(chan error, 1)

	way.left.Store(2)
	n := 0
	go func() { ended <- a.Load(t.Context(), func(presence.Record) error { n++; return nil }) }()
	require.NoError(t, within(t, ended))
	require.Equal(t, 2, n)

	way.left.Store(1)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan presence.Record, 2)
	go func() { ended <- a.Watch(ctx, 0, []string{"k"}, func(r presence.Record) { got <- r }) }()
	require.Equal(t, "one", (<-got).Key)
	require.Equal(t, "two", (<-got).Key)
	cancel()
	require.ErrorIs(t, within(t, ended), context.Canceled)

	way.left.Store(1 << 30)
	ctx, cancel = context.WithCancel(t.Context())
	go func() { ended <- a.Watch(ctx, 0, []string{"k"}, nil) }()
	require.Eventually(t, func() bool { return way.left.Load() < 1<<30 }, time.Minute, time.Millisecond)
	cancel()
	require.ErrorIs(t, within(t, ended), context.Canceled)
}

// A watch goes on over another connection, and leaves nothing out (BSX-12).
func TestWatchGoesOn(t *testing.T) {
	t.Parallel()
	s := start(t)
	var l line
	a := open(t, natsstore.Config{Conn: connect(t, s), Lease: natsstore.MaxLease})
	b := open(t, natsstore.Config{Conn: connect(t, s, nats.SetCustomDialer(&l)), Lease: natsstore.MaxLease})
	ctx, cancel := context.WithCancel(t.Context())
	got, ended := make(chan presence.Record, 64), make(chan error, 1)
	go func() { ended <- b.Watch(ctx, 0, []string{"k"}, func(r presence.Record) { got <- r }) }()
	for i := range 12 {
		l.cut(i%3 == 1)
		_, err := a.Apply(t.Context(), []presence.Write{record(fmt.Sprint("key ", i), "1")})
		require.NoError(t, err)
		if i%3 == 2 {
			for j := i - 2; j <= i; j++ {
				require.Equal(t, fmt.Sprint("key ", j), (<-got).Key)
			}
		}
	}
	cancel()
	require.ErrorIs(t, within(t, ended), context.Canceled)
	require.Empty(t, got)
}

// behind is the way to a replica that has nothing yet when it is asked, and says so.
type behind struct{ net.Conn }

// Dial implements [nats.CustomDialer].
func (behind) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	return behind{conn}, err
}

func (c behind) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	const pending = `"num_pending":`
	if i := bytes.Index(b[:n], []byte(pending)); i >= 0 && i+len(pending) < n {
		b[i+len(pending)] = '0'
	}
	return n, err
}

// What a replica says of itself does not end a load: it may be behind (BSX-12).
func TestLoadFromBehind(t *testing.T) {
	t.Parallel()
	a := open(t, natsstore.Config{Conn: connect(t, start(t), nats.SetCustomDialer(behind{})), Lease: natsstore.MaxLease})
	_, err := a.Apply(t.Context(), []presence.Write{record("one", "1"), record("two", "2")})
	require.NoError(t, err)
	n := 0
	require.NoError(t, a.Load(t.Context(), func(presence.Record) error { n++; return nil }))
	require.Equal(t, 2, n)
}
