package natsstore_test

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence/natsstore"
)

// Nodes are listed while they have their leases; one of another site does not come in
// (BSX-12).
func TestNodes(t *testing.T) {
	t.Parallel()
	s := start(t)
	dialogs := func() int { return 7 }
	a := open(t, natsstore.Config{Conn: connect(t, s), Node: "a", Site: "example.com", Dialogs: dialogs})
	require.Eventually(t, func() bool { // it is counted with each renewal
		nodes, err := a.Nodes(t.Context())
		return err == nil && len(nodes) == 1 && nodes[0].Dialogs == 7
	}, time.Minute, 20*time.Millisecond)
	_, err := natsstore.Open(t.Context(), natsstore.Config{Conn: connect(t, s), Node: "b", Site: "example.org"})
	require.ErrorIs(t, err, natsstore.ErrSite)
	require.ErrorContains(t, err, `node "a" serves "example.com", this one "example.org"`)

	b := open(t, natsstore.Config{Conn: connect(t, s), Node: "a", Site: "example.com", Lease: natsstore.MinLease})
	nodes, err := b.Nodes(t.Context())
	require.NoError(t, err)
	require.Len(t, nodes, 2, "with one name")
	for _, n := range nodes {
		require.Equal(t, "a", n.Name)
		require.Equal(t, n.ID == b.Node(), n.Lease == natsstore.MinLease)
	}
	living := func(s *natsstore.Store, ids ...string) {
		require.Eventually(t, func() bool {
			have := s.Living()
			slices.Sort(have)
			return slices.Equal(have, slices.Sorted(slices.Values(ids)))
		}, time.Minute, 20*time.Millisecond)
	}
	living(a, a.Node(), b.Node())
	living(b, a.Node(), b.Node())
	require.NoError(t, a.Close(t.Context()))
	living(b, b.Node())
	nodes, err = b.Nodes(t.Context())
	require.NoError(t, err)
	require.Len(t, nodes, 1)
	require.NoError(t, b.Close(t.Context()))
	_, err = natsstore.Open(t.Context(), natsstore.Config{Conn: connect(t, s), Node: "b", Site: "example.org"})
	require.NoError(t, err, "nobody is there any more")
}

// logged is a log that remembers what was said about names.
type logged struct {
	slog.Handler
	names chan string
}

func (l logged) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l logged) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "another node has the same name" {
		r.Attrs(func(a slog.Attr) bool { l.names <- a.Value.String(); return false })
	}
	return nil
}

// Of two nodes that live under one name the second says so, and no node of one that has died
// under its name (BSX-12).
func TestOneName(t *testing.T) {
	t.Parallel()
	s := start(t)
	join := func(name string) (*natsstore.Store, chan string) {
		log := logged{slog.NewTextHandler(io.Discard, nil), make(chan string, 8)}
		return open(t, natsstore.Config{Conn: connect(t, s), Node: name, Lease: 4 * time.Second, Logger: slog.New(log)}), log.names
	}
	a, names := join("same")
	_, more := join("same")
	require.Equal(t, a.Node(), <-more)
	c, none := join("other")
	natsstore.Pause(c)
	d, none2 := join("other")
	require.NotEmpty(t, heir(t, d, c.Node()))
	for _, names := range []chan string{names, more, none, none2} {
		require.Empty(t, names)
	}
}
