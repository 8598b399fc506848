package auth_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// BSP-2.10-1, BSP-2.10-6, BSP-2.10-8: no credentials, a challenge, an answer, and
// then a session.
func TestSignIn(t *testing.T) {
	f := newFixture(t, nil)
	r := f.request("tom")

	d := f.Check(r)
	require.Equal(t, auth.Challenge, d.Verdict)
	require.ErrorIs(t, d.Reason, auth.ErrNoCredentials)

	d = f.Check(f.answer(r, d, `DE\tom`, "secret"))
	require.Equal(t, auth.Accept, d.Verdict)
	require.Equal(t, auth.Identity{Account: `de\tom`}, d.Identity)

	d = f.Check(r)
	require.Equal(t, auth.Accept, d.Verdict)
	require.Equal(t, auth.Identity{Account: `de\tom`}, d.Identity)
	require.EqualValues(t, 1, f.verifier.calls.Load())
}
