package presence_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
)

// RFC 3903 §4.1: a publication is replaced and removed by its entity-tag, and by
// the one that has its newest revision.
func TestMemoryStore(t *testing.T) {
	ctx := t.Context()
	s := presence.NewMemoryStore()
	p := presence.Publication{Presentity: "tom", ETag: "a", Document: []byte("<presence/>"), Expires: time.Unix(1, 0)}
	first, err := s.Put(ctx, p, "")
	require.NoError(t, err)
	_, err = s.Put(ctx, p, "")
	require.ErrorIs(t, err, presence.ErrConflict, "an entity-tag is there once")
	other := presence.Publication{Presentity: "tom", ETag: "b"}
	_, err = s.Put(ctx, other, "")
	require.NoError(t, err)
	_, err = s.Put(ctx, presence.Publication{Presentity: "ann", ETag: "a"}, "")
	require.NoError(t, err, "entity-tags are of a presentity")

	next := p
	next.ETag = "c"
	_, err = s.Put(ctx, next, "a")
	require.ErrorIs(t, err, presence.ErrConflict, "of no revision")
	next.Revision = first
	second, err := s.Put(ctx, next, "a")
	require.NoError(t, err)
	require.Greater(t, second, first)
	_, err = s.Put(ctx, next, "a")
	require.ErrorIs(t, err, presence.ErrNoPublication, "that was replaced")
	next.ETag, next.Revision = "b", second
	_, err = s.Put(ctx, next, "c")
	require.ErrorIs(t, err, presence.ErrConflict, "the entity-tag of another")

	list, err := s.List(ctx, "tom")
	require.NoError(t, err)
	require.Len(t, list, 2, "expired ones are there too")
	require.Equal(t, []string{"c", "b"}, []string{list[0].ETag, list[1].ETag}, "the oldest first")
	list[0].ETag = "changed"
	require.NoError(t, s.Delete(ctx, "tom", "c"), "what List returned was a copy")
	require.ErrorIs(t, s.Delete(ctx, "tom", "c"), presence.ErrNoPublication)
	require.NoError(t, s.Delete(ctx, "tom", "b"))
	list, err = s.List(ctx, "tom")
	require.NoError(t, err)
	require.Empty(t, list)
	list, err = s.List(ctx, "ann")
	require.NoError(t, err)
	require.Len(t, list, 1)
}
