package publication_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/internal/deadline/deadlinetest"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/publication"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t *testing.T, cfg publication.Config) *publication.Store {
	s, err := publication.NewStore(cfg)
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

func status(s aa.Status, note string) *publication.Said {
	return &publication.Said{Status: s, Note: note}
}

// RFC 3903 §6: an entity-tag names a publication, is a new one with each change, and is
// of no use afterwards; a refresh keeps the state.
func TestSeparate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, publication.Config{MaxPublications: 2, MaxBytes: 10})
		r := publication.Request{Presentity: "tom", Rule: publication.Separate, Expires: time.Now().Add(time.Minute)}
		_, _, err := s.Publish(r)
		require.ErrorIs(t, err, publication.ErrNothing)
		r.Said = &publication.Said{Body: []byte("12345")}
		first, _, err := s.Publish(r)
		require.NoError(t, err)
		r.Said, r.IfMatch, r.Expires = nil, first.ETag, time.Now().Add(2*time.Minute)
		second, _, err := s.Publish(r)
		require.NoError(t, err)
		require.NotEqual(t, first.ETag, second.ETag)
		require.Equal(t, "12345", string(second.Body))
		require.Equal(t, first.Number, second.Number)
		_, _, err = s.Publish(r)
		require.ErrorIs(t, err, publication.ErrNoMatch)

		r.IfMatch, r.Said = "", &publication.Said{Body: []byte("123456")}
		_, _, err = s.Publish(r)
		require.ErrorIs(t, err, publication.ErrTooLarge)
		r.Said.Body = []byte("1")
		_, _, err = s.Publish(r)
		require.NoError(t, err)
		_, _, err = s.Publish(r)
		require.ErrorIs(t, err, publication.ErrTooMany)
		require.Equal(t, 2, s.Len())
		require.NoError(t, s.Remove("tom", second.ETag))
		require.ErrorIs(t, s.Remove("tom", second.ETag), publication.ErrNoMatch)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		require.Empty(t, s.Of("tom"))
		require.Zero(t, s.Len())
	})
}

// BSP-2.4-1, BSP-2.4-4, BSP-2.4-5, BSP-2.8-1: the clients of a user share one
// publication, whose entity-tag of up to nine digits stays; the longest lifetime
// counts; an old entity-tag with a body counts as none.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var expired []string
		s := newStore(t, publication.Config{Expired: func(c *publication.Contribution) { expired = append(expired, c.ETag) }})
		r := publication.Request{Presentity: "tom", Rule: publication.Shared, Owner: "desk", Expires: time.Now().Add(time.Hour), Said: status("busy", "HELLO")}
		first, _, err := s.Publish(r)
		require.NoError(t, err)
		require.Regexp(t, `^[0-9]{1,9}$`, first.ETag)
		r.Owner, r.IfMatch, r.Expires, r.Said = "mobile", "12x", time.Now().Add(time.Minute), &publication.Said{Status: "away", KeepNote: true}
		second, _, err := s.Publish(r)
		require.NoError(t, err)
		require.Equal(t, first.ETag, second.ETag)
		require.Equal(t, "mobile", second.Owner)
		require.Equal(t, "HELLO", second.Note)
		require.Equal(t, first.Expires, second.Expires, "the desk keeps it alive")
		r.Said = nil
		_, _, err = s.Publish(r)
		require.ErrorIs(t, err, publication.ErrNoMatch, "a refresh with an old entity-tag")
		require.Equal(t, aa.Status("busy"), first.Status, "what was returned does not change")
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Equal(t, []string{first.ETag}, expired)
	})
}

// A PUBLISH that a newer one of the same client has overtaken on its way is refused;
// once no request can be under way any more a lower CSeq is a client that counts anew.
func TestOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, publication.Config{})
		r := publication.Request{Presentity: "tom", Rule: publication.Shared, Expires: time.Now().Add(time.Hour), Said: status("busy", ""), CallID: "a", CSeq: 5}
		_, _, err := s.Publish(r)
		require.NoError(t, err)
		r.CSeq, r.Said = 4, status("away", "")
		_, _, err = s.Publish(r)
		require.ErrorIs(t, err, publication.ErrOvertaken)
		time.Sleep(33 * time.Second)
		c, _, err := s.Publish(r)
		require.NoError(t, err)
		require.Equal(t, aa.Status("away"), c.Status)
	})
}

// BSP-4.3-6: a forwarding goes by the entity-tag of what its user shares, and is none
// for a status.
func TestForwarding(t *testing.T) {
	s := newStore(t, publication.Config{})
	shared, _, err := s.Publish(publication.Request{Presentity: "tom", Rule: publication.Shared, Expires: time.Now().Add(time.Hour), Said: status("busy", "")})
	require.NoError(t, err)
	r := publication.Request{Presentity: "tom", Rule: publication.Forwarding, IfMatch: shared.ETag, Expires: time.Now().Add(time.Hour), Said: &publication.Said{Target: "sip:ann@example.com"}}
	forward, _, err := s.Publish(r)
	require.NoError(t, err)
	require.Equal(t, shared.ETag, forward.ETag)
	require.Equal(t, "sip:ann@example.com", s.One("tom", publication.Forwarding).Target)
	require.Equal(t, aa.Status("busy"), s.One("tom", publication.Shared).Status)
	require.Equal(t, forward, s.RemoveOne("tom", publication.Forwarding))
	require.Nil(t, s.RemoveOne("tom", publication.Forwarding))
	r.IfMatch = "1x"
	_, _, err = s.Publish(r)
	require.ErrorIs(t, err, publication.ErrNoMatch)
}

// Changed is told every change in its order, and what it was told rebuilds the store.
func TestChangedAndRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // calls for several presentities come at once
		kept := map[string]publication.Contribution{}
		s := newStore(t, publication.Config{Changed: func(before, after *publication.Contribution) {
			mu.Lock()
			defer mu.Unlock()
			if before != nil {
				delete(kept, before.Presentity+before.ETag)
			}
			if after != nil {
				kept[after.Presentity+after.ETag] = *after
			}
		}})
		for i := range 20 {
			_, _, err := s.Publish(publication.Request{Presentity: fmt.Sprint("u", i%5), Expires: time.Now().Add(time.Duration(i+1) * time.Minute),
				Rule: publication.Rule(i % 2), Said: &publication.Said{Status: "busy", Body: []byte(strings.Repeat("x", i))}})
			require.NoError(t, err)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		other := newStore(t, publication.Config{})
		for _, c := range kept {
			other.Restore(c)
			other.Restore(c)
		}
		want, got := s.All(), other.All()
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, []any{want[i].ETag, want[i].Expires, want[i].Number, want[i].Body}, []any{got[i].ETag, got[i].Expires, got[i].Number, got[i].Body})
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Zero(t, other.Len(), "expiry goes on")
		require.Empty(t, kept)
	})
}

// What Config.Read has read of a body stays with it, and is not read again by a refresh, nor
// where the host brings it.
func TestReading(t *testing.T) {
	read := 0
	s := newStore(t, publication.Config{Read: func(body []byte) any { read++; return len(body) }})
	r := publication.Request{Presentity: "tom", Expires: time.Now().Add(time.Hour), Said: &publication.Said{Body: []byte("12345")}}
	c, _, err := s.Publish(r)
	require.NoError(t, err)
	require.Equal(t, 5, c.Reading)
	r.IfMatch, r.Said = c.ETag, nil
	c, _, err = s.Publish(r)
	require.NoError(t, err)
	require.Equal(t, 5, c.Reading)
	r.IfMatch, r.Said = c.ETag, &publication.Said{Body: []byte("1"), Reading: "one"}
	c, _, err = s.Publish(r)
	require.NoError(t, err)
	require.Equal(t, "one", c.Reading)
	require.Equal(t, 1, read)
	other := newStore(t, publication.Config{Read: func(body []byte) any { return string(body) }})
	other.Restore(publication.Contribution{Presentity: "tom", ETag: "a", Body: []byte("text"), Expires: time.Now().Add(time.Hour)})
	require.Equal(t, "text", other.Of("tom")[0].Reading)
}

// Revert puts back what Publish and Remove have changed, and leaves what has changed since.
func TestRevert(t *testing.T) {
	s := newStore(t, publication.Config{MaxPublications: 2})
	r := publication.Request{Presentity: "tom", Expires: time.Now().Add(time.Hour), Said: &publication.Said{Body: []byte("1")}}
	first, none, err := s.Publish(r)
	require.NoError(t, err)
	require.Nil(t, none)
	r.IfMatch, r.Said = first.ETag, &publication.Said{Body: []byte("2")}
	second, before, err := s.Publish(r)
	require.NoError(t, err)
	require.Equal(t, first, before)
	require.True(t, s.Revert(second, before))
	require.Equal(t, "1", string(s.Of("tom")[0].Body))
	require.False(t, s.Revert(second, before), "it is not there any more")
	require.NoError(t, s.Remove("tom", first.ETag))
	require.True(t, s.Revert(nil, first))
	require.Equal(t, first.ETag, s.Of("tom")[0].ETag)
	r.IfMatch = ""
	third, _, err := s.Publish(r)
	require.NoError(t, err)
	require.False(t, s.Revert(nil, first), "there are as many as there may be")
	require.True(t, s.Revert(third, nil))
	require.Equal(t, 1, s.Len())
}

// A publication lasts as long as it was granted, though somebody sets the clock on the wall
// meanwhile; so does one of a former process (BSX-11).
func TestClockJumps(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		expired := make(chan time.Time, 2)
		s := newStore(t, publication.Config{Expired: func(*publication.Contribution) { expired <- time.Now() }})
		until := time.Now().Add(50 * time.Millisecond)
		c, _, err := s.Publish(publication.Request{Presentity: "tom", Rule: publication.Shared, Expires: deadlinetest.BeforeJump(t, until, by), Said: status("busy", "")})
		require.NoError(t, err)
		require.Zero(t, c.Expires.Sub(until))
		s.Restore(publication.Contribution{Presentity: "ann", ETag: "a", Number: 7, Expires: time.Now().Add(time.Hour).Round(0)})
		kept := s.Of("ann")[0].Expires
		require.InDelta(t, time.Hour, time.Until(deadlinetest.BeforeJump(t, kept, by)), float64(time.Minute))
		require.False(t, (<-expired).Before(until))
		require.Equal(t, 1, s.Len())
	}
}
