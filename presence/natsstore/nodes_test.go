package natsstore_test

import (
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
