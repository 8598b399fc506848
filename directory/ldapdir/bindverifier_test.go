package ldapdir_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/internal/rig"
)

func bindVerifier(t testing.TB, r rig.Rig, change func(*ldapdir.BindConfig)) *ldapdir.BindVerifier {
	t.Helper()
	cfg := ldapdir.BindConfig{
		Server:       ldapdir.Server{URLs: []string{r["URL_TLS"]}, TLS: tlsConfig(t, r["CA_FILE"]), Timeout: soon},
		BindDN:       r["BIND_DN"],
		BindPassword: ldapdir.Password(r["BIND_PW"]),
		BaseDN:       r["BASE_DN"],
		Domain:       "EXAMPLE",
	}
	if change != nil {
		change(&cfg)
	}
	v, err := ldapdir.NewBindVerifier(cfg)
	require.NoError(t, err)
	t.Cleanup(v.Close)
	return v
}

// BSP-2.10-7, BSP-2.4-7: a plain LDAP directory, by search and bind.
func TestBindIdentity(t *testing.T) {
	r := slapdRig(t)
	noLeaks(t)
	v := bindVerifier(t, r, nil)
	d := open(t, slapdConfig(t, r))
	for _, tt := range []struct{ name, password, account, sip string }{
		{"alice", r["USER_PW"], `example\alice`, "sip:alice@example.test"},
		{`EXAMPLE\alice`, r["USER_PW"], `example\alice`, "sip:alice@example.test"},
		{` example \ ALICE `, r["USER_PW"], `example\alice`, "sip:alice@example.test"},
		{`EXAMPLE\erin`, r["ERIN_PW"], `example\erin`, "sip:erin@example.test"},
		{`EXAMPLE\frank (qa)`, r["FRANK_PW"], `example\frank (qa)`, "sip:frank@example.test"},
	} {
		got, err := v.Verify(t.Context(), credentials(t, tt.name, tt.password))
		require.NoError(t, err, tt.name)
		entry, err := lookup(t, d, tt.sip)
		require.NoError(t, err)
		require.Equal(t, tt.account, got.Account)
		require.Equal(t, entry.ID, got.ID)
		require.NotEmpty(t, got.DN)
		require.True(t, auth.SameAccount(got, entry.Account, entry.ID))
	}
	require.NoError(t, v.Ready(t.Context()))
}

func TestBindReasons(t *testing.T) {
	r := rig.Start(t, "slapd", "--ppolicy")
	noLeaks(t)
	v := bindVerifier(t, r, nil)
	const wrong = "Wr0ng-Pa55"
	for _, tt := range []struct {
		name, password string
		want           error
	}{
		{"alice", wrong, auth.ErrBadPassword},
		{"nobody", r["USER_PW"], auth.ErrUnknownAccount},
		{"*", r["USER_PW"], auth.ErrUnknownAccount},
		{"alic*", r["USER_PW"], auth.ErrUnknownAccount},
		{"x)(uid=alice", r["USER_PW"], auth.ErrUnknownAccount},
		{`CORP\alice`, r["USER_PW"], auth.ErrUnknownAccount},
		{"alice@example.test", r["USER_PW"], auth.ErrUnknownAccount},
		{"mustchange", r["USER_PW"], auth.ErrMustChange},
		{"locked", r["USER_PW"], auth.ErrAccountLocked},
		{"locked", wrong, auth.ErrAccountLocked},
		// Five wrong ones lock.
		{"lockme", wrong, auth.ErrBadPassword},
		{"lockme", wrong, auth.ErrBadPassword},
		{"lockme", wrong, auth.ErrBadPassword},
		{"lockme", wrong, auth.ErrBadPassword},
		{"lockme", wrong, nil}, // either, depending on when the server counts
		{"lockme", r["USER_PW"], auth.ErrAccountLocked},
	} {
		_, err := v.Verify(t.Context(), credentials(t, tt.name, tt.password))
		require.ErrorIs(t, err, auth.ErrBadCredentials, tt.name)
		if tt.want != nil {
			require.ErrorIs(t, err, tt.want, tt.name)
		}
		require.NotContains(t, err.Error(), tt.password)
	}
}

// BSP-2.10-9: result 13 (TLS required) and the like are no bad credentials.
func TestBindUnavailable(t *testing.T) {
	strict := rigs.Get(t, "slapd", "--require-tls")
	r := slapdRig(t)
	for name, v := range map[string]*ldapdir.BindVerifier{
		"no TLS (result 13)": bindVerifier(t, strict, func(c *ldapdir.BindConfig) {
			c.URLs, c.AllowPlaintext = []string{strict["URL"]}, true
		}),
		"wrong service password": bindVerifier(t, r, func(c *ldapdir.BindConfig) { c.BindPassword = ldapdir.Password("wrong") }),
		"busy":                   bindVerifier(t, r, func(c *ldapdir.BindConfig) { c.BaseDN = "cn=busy,ou=RetCodes," + r["BASE_DN"] }),
		"no such base":           bindVerifier(t, r, func(c *ldapdir.BindConfig) { c.BaseDN = "ou=None," + r["BASE_DN"] }),
		"two of the name":        bindVerifier(t, r, func(c *ldapdir.BindConfig) { c.AccountAttribute = "telephoneNumber" }),
	} {
		t.Run(name, func(t *testing.T) {
			user := "alice"
			if name == "two of the name" {
				user = "+14255550107"
			}
			_, err := v.Verify(t.Context(), credentials(t, user, strict["USER_PW"]))
			require.ErrorIs(t, err, ldapdir.ErrUnavailable)
			require.NotErrorIs(t, err, auth.ErrBadCredentials)
		})
	}
	v := bindVerifier(t, strict, nil)
	_, err := v.Verify(t.Context(), credentials(t, "alice", strict["USER_PW"]))
	require.NoError(t, err, "with TLS it is fine")
}

// A server that lets an empty password in as nobody (RFC 4513 §5.1.2) is never
// given the chance.
func TestBindEmptyPassword(t *testing.T) {
	r := rigs.Get(t, "slapd", "--allow-unauth-bind")
	v := bindVerifier(t, r, nil)
	_, err := v.Verify(t.Context(), auth.Credentials{Name: auth.Name{User: "alice"}, Password: auth.NewSecret(nil)})
	require.ErrorIs(t, err, auth.ErrBadPassword)

	cfg := slapdConfig(t, r)
	cfg.BindPassword = ldapdir.PasswordFunc(func() (string, error) { return "", nil })
	_, err = lookup(t, open(t, cfg), "sip:alice@example.test")
	require.ErrorIs(t, err, ldapdir.ErrUnavailable)
}

func TestBindSignInsLeakNothing(t *testing.T) {
	r := slapdRig(t)
	noLeaks(t)
	d := new(countingDialer)
	v := bindVerifier(t, r, func(c *ldapdir.BindConfig) { c.Dial = d.dial })
	c := credentials(t, "alice", r["USER_PW"])
	for range 200 {
		_, err := v.Verify(t.Context(), c)
		require.NoError(t, err)
		require.EqualValues(t, 1, d.open.Load(), "the one that searches")
	}
}
