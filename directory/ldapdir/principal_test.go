package ldapdir_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory/ldapdir"
)

// BSP-2.10-8: dave's user principal name has nothing in common with his account
// name, and yet failures of both count together, so that guessing by turns does
// not lock him out of the domain.
func TestADFailuresOfAllNamesCountAsOne(t *testing.T) {
	r := adRig(t) // locks after 3
	noLeaks(t)
	users := open(t, adConfig(t, r))
	v := adVerifier(t, r, func(c *ldapdir.ADConfig) { c.Users = users })
	guard, err := auth.New(auth.Config{Verifier: v, MaxFailures: 2, Basic: auth.Anywhere})
	require.NoError(t, err)
	attempt := 0
	try := func(name, password string) auth.Decision {
		attempt++ // each from elsewhere
		return guard.Check(t.Context(), auth.Request{
			Client: fmt.Sprint("client ", attempt), Source: netip.AddrFrom4([4]byte{192, 0, 2, byte(attempt)}),
			Authorization: []string{fmt.Sprintf(`Basic realm="",uri="sip:x",username="%s:%s"`, name, password)},
		})
	}
	dave := adUsers(t, r)["dave"]
	for _, name := range []string{"dave.d@example.test", `CORP\dave`} {
		d := try(name, "Wr0ng-Pa55")
		require.Equal(t, auth.Challenge, d.Verdict)
		require.ErrorIs(t, d.Reason, auth.ErrBadPassword, name)
	}
	for _, name := range []string{"DAVE.D@example.test", "dave@corp.example.test", `corp\DAVE`, "dave"} {
		d := try(name, dave.Password)
		require.Equal(t, auth.Forbid, d.Verdict, name)
		require.ErrorIs(t, d.Reason, auth.ErrThrottled, name)
	}
	require.Equal(t, auth.Accept, try(`CORP\alice`, r["USER_PW"]).Verdict)
	_, err = v.Verify(t.Context(), credentials(t, `CORP\dave`, dave.Password))
	require.NoError(t, err, "he is not locked out")
}

// A name is looked up once, whether somebody has it or not; names that hold the
// account are not, nor any without Users.
func TestADAccountKey(t *testing.T) {
	r := adRig(t)
	noLeaks(t)
	users := open(t, adConfig(t, r))
	v := adVerifier(t, r, func(c *ldapdir.ADConfig) { c.Users = users })
	for range 2 {
		for name, want := range map[string]string{
			"dave.d@example.test": "dave", "Dave.D@Example.Test": "dave",
			"dave@corp.example.test": "", "*@example.test": "", "nobody@example.test": "",
			`CORP\dave`: "", "dave": "",
		} {
			n, err := auth.ParseName(name)
			require.NoError(t, err)
			got, err := v.AccountKey(t.Context(), n)
			require.NoError(t, err)
			require.Equal(t, want, got, name)
		}
	}
	require.EqualValues(t, 4, users.Stats().Searches)

	got, err := adVerifier(t, r, nil).AccountKey(t.Context(), auth.Name{User: "dave.d@example.test"})
	require.NoError(t, err)
	require.Empty(t, got)
}

// BSP-2.10-9: while nobody can say whose name it is, an attempt is neither counted
// nor let through.
func TestADAccountKeyUnavailable(t *testing.T) {
	f := newFakeServer()
	f.refuses.Store(true)
	users := open(t, f.config())
	v, err := ldapdir.NewADVerifier(ldapdir.ADConfig{
		Server: ldapdir.Server{URLs: []string{"ldaps://fake"}, Dial: f.dial}, Users: users,
	})
	require.NoError(t, err)
	_, err = v.AccountKey(t.Context(), auth.Name{User: "dave.d@example.test"})
	require.ErrorIs(t, err, ldapdir.ErrUnavailable)
}
