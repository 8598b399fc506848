package presence

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/pidf"
)

// Memory is not used again before all that was written from it is written, and nobody reads from it what belongs to the
// PUBLISH before.
func TestLoan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, doc := new(Server), &pidf.Presence{Entity: "sip:tom@example.com"}
		l, first, second := s.loan(), new(original), new(original)
		l.lend(first, doc)
		got, held := first.borrow()
		require.Same(t, doc, got)
		_, again := first.borrow()
		taken := false
		go func() {
			s.takeBack(l)
			taken = true
		}()
		synctest.Wait()
		_, late := first.borrow()
		require.Nil(t, late, "a loan that was taken back")
		require.False(t, taken)
		held.giveBack()
		synctest.Wait()
		require.False(t, taken, "one page is still being written")
		again.giveBack()
		synctest.Wait()
		require.True(t, taken)

		l.lend(second, doc)
		first.lent.Store(l) // as who has looked at it just before it was taken back
		_, late = first.borrow()
		require.Nil(t, late, "a loan to another")
		s.takeBack(l)
	})
}
