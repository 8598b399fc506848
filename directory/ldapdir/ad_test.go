package ldapdir_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/directory/directorytest"
	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/internal/rig"
)

// BSP-2.1-1, BSP-2.1-2, BSP-2.1-9: the columns of Active Directory.
func TestADConformance(t *testing.T) {
	r := adRig(t)
	noLeaks(t)
	for name, server := range map[string]ldapdir.Server{
		"ldaps":    {URLs: []string{r["URL"]}, TLS: tlsConfig(t, r["CA_FILE"])},
		"StartTLS": {URLs: []string{r["URL_PLAIN"]}, StartTLS: true, TLS: tlsConfig(t, r["CA_FILE"])},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := adConfig(t, r)
			cfg.Server = server
			cfg.Timeout = soon
			directorytest.Run(t, open(t, cfg), directorytest.Expect{
				Found: ids(t, open(t, cfg),
					"sip:alice@example.test", "tel:+14255550101", "tel:5101",
					"sip:carol@example.test",      // only in proxyAddresses, with "sip:"
					"sip:david.dunn@example.test", // account, UPN and mail are others
					"sip:dave.mail@example.test",
					"sip:ivan.i@example.test",     // nested, stored in mixed case
					"sip:judy*(ops)@example.test", // metacharacters of filters
					"tel:+14255550102",            // stored as "+1 (425) 555-0102"
					"tel:+14255550118",            // otherTelephone
				),
				Missing: []string{
					"sip:nobody@example.test", "tel:5", "sip:*@example.test", "sip:alice*@example.test", "sip:a)(cn=*@example.test",
					"sip:vendor@example.test", "tel:+14255550199", // a contact is no user
					"sip:alice@corp.example.test", // a UPN is no SIP address
				},
				Ambiguous: []string{"tel:+14255550107"},
			})
		})
	}
}

func TestADEntry(t *testing.T) {
	r := adRig(t)
	d := open(t, adConfig(t, r))
	want := directory.Entry{
		Account: `CORP\alice`, DisplayName: "Alice Anderson", Mail: "alice@example.test",
		SIP: []string{"alice@example.test"}, Tel: []string{"+14255550101", "5101"}, Lines: []string{"+14255550101"},
	}
	for _, uri := range []string{"sip:alice@example.test", "tel:5101", "tel:+1-425-555-0101"} {
		got, err := lookup(t, d, uri)
		require.NoError(t, err)
		require.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, got.ID, "objectGUID")
		want.ID = got.ID
		require.Equal(t, want, got)
	}
}

// The groups of a policy are those of memberOf.
func TestADGroups(t *testing.T) {
	r := adRig(t)
	admin, err := ldap.DialURL(r["URL"], ldap.DialWithTLSConfig(tlsConfig(t, r["CA_FILE"])))
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.Bind(r["ADMIN_NT"], r["ADMIN_PW"]))
	group := "CN=Board," + r["PEOPLE_DN"]
	add := ldap.NewAddRequest(group, nil)
	add.Attribute("objectClass", []string{"group"})
	add.Attribute("sAMAccountName", []string{"board"})
	add.Attribute("member", []string{adUsers(t, r)["alice"].DN})
	require.NoError(t, admin.Add(add))
	cfg := adConfig(t, r)
	cfg.GroupAttributes = []string{"memberOf"}
	d := open(t, cfg)
	alice, err := lookup(t, d, "sip:alice@example.test")
	require.NoError(t, err)
	require.Equal(t, []string{group}, alice.Groups)
	bob, err := lookup(t, d, "sip:bob@example.test")
	require.NoError(t, err)
	require.Empty(t, bob.Groups)
}

// A contact with a SIP address is found where the filter lets it, as an entry
// without account; Lync's line URI has parameters.
func TestADColumns(t *testing.T) {
	r := adRig(t)
	cfg := adConfig(t, r)
	cfg.Filter = "(objectClass=person)"
	cfg.TelAttributes = []string{"msRTCSIP-Line"}
	cfg.LineAttributes = nil
	d := open(t, cfg)
	vendor, err := lookup(t, d, "sip:vendor@example.test")
	require.NoError(t, err)
	require.Empty(t, vendor.Account)
	alice, err := lookup(t, d, "tel:+14255550101") // tel:+14255550101;ext=101
	require.NoError(t, err)
	require.Equal(t, `CORP\alice`, alice.Account)
	require.Equal(t, []string{"+14255550101"}, alice.Lines)
	_, err = lookup(t, d, "tel:+1425555010")
	require.ErrorIs(t, err, directory.ErrNotFound)
}

// BSP-2.1-8: simple binds without TLS are refused with result 8, and a wrong
// authority by us.
func TestADFailures(t *testing.T) {
	r := adRig(t)
	for name, change := range map[string]func(*ldapdir.Config){
		"plain":          func(c *ldapdir.Config) { c.URLs = []string{r["URL_PLAIN"]} },
		"other CA":       func(c *ldapdir.Config) { c.TLS = tlsConfig(t, r["OTHER_CA_FILE"]) },
		"anonymous":      func(c *ldapdir.Config) { c.BindDN, c.BindPassword = "", ldapdir.PasswordSource{} },
		"wrong password": func(c *ldapdir.Config) { c.BindPassword = ldapdir.Password("wrong") },
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			cfg := adConfig(t, r)
			change(&cfg)
			_, err := lookup(t, open(t, cfg), "sip:alice@example.test")
			require.ErrorIs(t, err, ldapdir.ErrUnavailable)
			require.NotErrorIs(t, err, directory.ErrNotFound)
		})
	}
}

func TestADLists(t *testing.T) {
	r := adRig(t)
	noLeaks(t)
	d := open(t, adConfig(t, r))
	var as []directory.Address
	for i := range 500 {
		as = append(as, address(t, fmt.Sprintf("sip:user%06d@example.test", i)))
	}
	for i, res := range directory.LookupAll(t.Context(), d, as) {
		require.NoError(t, res.Err)
		require.Equal(t, fmt.Sprintf(`CORP\user%06d`, i), res.Entry.Account)
	}
	require.LessOrEqual(t, d.Stats().Searches, uint64(10))
}

func adVerifier(t testing.TB, r rig.Rig, change func(*ldapdir.ADConfig)) *ldapdir.ADVerifier {
	t.Helper()
	cfg := ldapdir.ADConfig{
		Server:        ldapdir.Server{URLs: []string{r["URL"]}, TLS: tlsConfig(t, r["CA_FILE"]), Timeout: soon},
		DefaultDomain: r["DOMAIN"],
	}
	if change != nil {
		change(&cfg)
	}
	v, err := ldapdir.NewADVerifier(cfg)
	require.NoError(t, err)
	return v
}

func credentials(t testing.TB, name, password string) auth.Credentials {
	t.Helper()
	c, err := auth.NewCredentials(name, []byte(password))
	require.NoError(t, err)
	t.Cleanup(c.Wipe)
	return c
}

// BSP-2.10-7, BSP-2.4-7: whatever the name that Active Directory takes for alice,
// the identity is the one of her entry, and the directory's entry has the same ID.
func TestADIdentity(t *testing.T) {
	r := adRig(t)
	noLeaks(t)
	v := adVerifier(t, r, nil)
	d := open(t, adConfig(t, r))
	users := adUsers(t, r)
	for account, names := range map[string][]string{
		"alice":      {`CORP\alice`, `corp\ALICE`, ` CORP \ alice `, "alice", "alice@corp.example.test", "ALICE@CORP.EXAMPLE.TEST", "alice@corp"},
		"dave":       {`CORP\dave`, "dave.d@example.test", "dave@corp.example.test"},
		"erin":       {`CORP\erin`, "erin@corp.example.test"},
		"frank (qa)": {`CORP\frank (qa)`, "frank.qa@corp.example.test"},
		"ivan":       {`CORP\ivan`},
	} {
		for _, name := range names {
			got, err := v.Verify(t.Context(), credentials(t, name, users[account].Password))
			require.NoError(t, err, name)
			require.Equal(t, `corp\`+account, got.Account, name)
			require.False(t, got.AMCC)
			require.True(t, strings.EqualFold(users[account].DN, got.DN), got.DN)

			entry, err := lookup(t, d, strings.ToLower(users[account].SIP))
			require.NoError(t, err)
			require.Equal(t, entry.ID, got.ID)
			require.True(t, auth.SameAccount(got, entry.Account, entry.ID))
			require.True(t, auth.SameAccount(auth.Identity{Account: got.Account}, entry.Account, ""))
		}
	}
}

// BSX-13: what an identity was verified with is told from the password of today.
func TestADPasswordChanged(t *testing.T) {
	r := adRig(t)
	d := open(t, adConfig(t, r))
	ivan := adUsers(t, r)["ivan"]
	id, err := adVerifier(t, r, nil).Verify(t.Context(), credentials(t, `CORP\ivan`, ivan.Password))
	require.NoError(t, err)
	require.NotEmpty(t, id.Stamp)
	found, err := d.HasAccount(t.Context(), id)
	require.NoError(t, err)
	require.True(t, found)

	admin, err := ldap.DialURL(r["URL"], ldap.DialWithTLSConfig(tlsConfig(t, r["CA_FILE"])))
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.Bind(r["ADMIN_NT"], r["ADMIN_PW"]))
	var quoted []byte // in UTF-16
	for _, c := range []byte(`"` + ivan.Password + `"`) {
		quoted = append(quoted, c, 0)
	}
	change := ldap.NewModifyRequest(ivan.DN, nil)
	change.Replace("unicodePwd", []string{string(quoted)})
	require.NoError(t, admin.Modify(change))
	found, err = d.HasAccount(t.Context(), id)
	require.NoError(t, err)
	require.False(t, found)
}

// BSP-2.10-7: each refusal has its reason, and all of them are bad credentials.
func TestADReasons(t *testing.T) {
	r := adRig(t)
	noLeaks(t)
	v := adVerifier(t, r, nil)
	pw := r["USER_PW"]
	for _, tt := range []struct {
		name, password string
		want           error
	}{
		{`CORP\alice`, "Wr0ng-Pa55", auth.ErrBadPassword},
		{`CORP\nobody`, pw, auth.ErrBadPassword}, // Active Directory does not tell
		{`ELSEWHERE\alice`, pw, auth.ErrBadPassword},
		{`CORP\disabled`, pw, auth.ErrAccountDisabled},
		{`CORP\disabled`, "Wr0ng-Pa55", auth.ErrBadPassword},
		{`CORP\mustchange`, pw, auth.ErrMustChange},
		{`CORP\expiredpw`, pw, auth.ErrPasswordExpired},
		{`CORP\expiredacct`, pw, auth.ErrAccountExpired},
		{`CORP\locked`, pw, auth.ErrAccountLocked},
		{"locked", "Wr0ng-Pa55", auth.ErrAccountLocked},
	} {
		id, err := v.Verify(t.Context(), credentials(t, tt.name, tt.password))
		require.ErrorIs(t, err, tt.want, tt.name)
		require.ErrorIs(t, err, auth.ErrBadCredentials, tt.name)
		require.NotErrorIs(t, err, ldapdir.ErrUnavailable)
		require.NotContains(t, err.Error(), tt.password)
		require.Equal(t, auth.Identity{}, id)
	}
}

// A few wrong passwords, here three, lock the account, and that is told apart.
func TestADLockout(t *testing.T) {
	r := adRig(t)
	v := adVerifier(t, r, nil)
	for range 3 {
		_, err := v.Verify(t.Context(), credentials(t, `CORP\lockme`, "wrong"))
		require.ErrorIs(t, err, auth.ErrBadPassword)
	}
	_, err := v.Verify(t.Context(), credentials(t, `CORP\lockme`, r["USER_PW"]))
	require.ErrorIs(t, err, auth.ErrAccountLocked)
}

// BSP-2.10-8: whoever can reach the server cannot have an account locked, though it is
// called by all of its names, from everywhere and at once; and where its user signed
// in before, the right password goes on to be taken.
func TestGuardLocksNobody(t *testing.T) {
	r := adRig(t) // three wrong passwords lock an account there
	noLeaks(t)
	users := open(t, adConfig(t, r))
	v := adVerifier(t, r, func(c *ldapdir.ADConfig) { c.Users = users })
	guard, err := auth.New(auth.Config{Verifier: v, MaxFailures: 2})
	require.NoError(t, err)
	dave := adUsers(t, r)["dave"]
	check := func(source byte, name, password string) auth.Decision {
		req := auth.Request{Client: fmt.Sprint("client ", source), From: "sip:dave@example.test", Source: netip.AddrFrom4([4]byte{192, 0, 2, source})}
		req.Rauth = "AAAA" // makes sure of a challenge
		c, err := auth.NewCredentials(name, []byte(password))
		require.NoError(t, err)
		req.Rauth, err = c.Encrypt(auth.Tuz{}, guard.Check(t.Context(), req).Header[0].Value)
		require.NoError(t, err)
		return guard.Check(t.Context(), req)
	}
	d := check(1, `CORP\dave`, dave.Password)
	require.Equal(t, auth.Accept, d.Verdict, d.Reason)
	names := []string{`CORP\dave`, "dave.d@example.test", "dave@corp.example.test", "dave", `corp\DAVE`}
	for range 3 {
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() { check(byte(10+i), names[i%len(names)], fmt.Sprint("guess ", i)) })
		}
		wg.Wait()
		d := check(1, `CORP\dave`, dave.Password)
		require.Equal(t, auth.Accept, d.Verdict, d.Reason)
	}
	for range 3 {
		check(1, `CORP\dave`, "mistyped")
	}
	_, err = v.Verify(t.Context(), credentials(t, `CORP\dave`, dave.Password))
	require.NoError(t, err, "is not locked")
}

// countingDialer counts connections.
type countingDialer struct {
	net.Dialer
	dialed, open atomic.Int64
}

func (d *countingDialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.dialed.Add(1)
	d.open.Add(1)
	return &countedConn{Conn: c, d: d}, nil
}

type countedConn struct {
	net.Conn
	d      *countingDialer
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.d.open.Add(-1)
	}
	return c.Conn.Close()
}

// BSP-2.10-7: what must not reach the directory does not, whoever let it through.
func TestVerifierRefusesBeforeTheWire(t *testing.T) {
	d := new(countingDialer)
	server := ldapdir.Server{URLs: []string{"ldaps://127.0.0.1:1"}, Dial: d.dial}
	ad, err := ldapdir.NewADVerifier(ldapdir.ADConfig{Server: server})
	require.NoError(t, err)
	bind, err := ldapdir.NewBindVerifier(ldapdir.BindConfig{Server: server, BaseDN: "dc=x"})
	require.NoError(t, err)
	t.Cleanup(bind.Close)
	secret := func(s string) auth.Secret { return auth.NewSecret([]byte(s)) }
	good := auth.Name{Domain: "CORP", User: "alice"}
	for _, v := range []auth.Verifier{ad, bind} {
		for _, tt := range []struct {
			c    auth.Credentials
			want error
		}{
			{auth.Credentials{Name: good}, auth.ErrBadPassword},
			{auth.Credentials{Name: good, Password: secret("")}, auth.ErrBadPassword},
			{auth.Credentials{Name: good, Password: secret("a\x00b")}, auth.ErrBadPassword},
			{auth.Credentials{Name: good, Password: secret("\xff")}, auth.ErrBadPassword},
			{auth.Credentials{Name: good, Password: secret(strings.Repeat("x", 1025))}, auth.ErrBadPassword},
			{auth.Credentials{Password: secret("x")}, auth.ErrUnknownAccount},
			{auth.Credentials{Name: auth.Name{User: "a\nb"}, Password: secret("x")}, auth.ErrUnknownAccount},
			{auth.Credentials{Name: auth.Name{User: strings.Repeat("x", 300)}, Password: secret("x")}, auth.ErrUnknownAccount},
			{auth.Credentials{Name: good, Password: secret("x"), AMCC: true}, auth.ErrUnknownAccount},
		} {
			_, err := v.Verify(t.Context(), tt.c)
			require.ErrorIs(t, err, tt.want)
			require.ErrorIs(t, err, auth.ErrBadCredentials)
		}
	}
	// Without a default domain nobody can be meant by a plain name.
	_, err = ad.Verify(t.Context(), auth.Credentials{Name: auth.Name{User: "alice"}, Password: secret("x")})
	require.ErrorIs(t, err, auth.ErrUnknownAccount)
	// Nor by a domain that is not the directory's.
	_, err = bind.Verify(t.Context(), auth.Credentials{Name: good, Password: secret("x")})
	require.ErrorIs(t, err, auth.ErrUnknownAccount)
	require.Zero(t, d.dialed.Load())
}

// BSP-2.10-9: what is wrong with the server or the configuration is not held
// against the user.
func TestADVerifierUnavailable(t *testing.T) {
	r := adRig(t)
	for name, change := range map[string]func(*ldapdir.ADConfig){
		"no TLS (result 8)": func(c *ldapdir.ADConfig) { c.URLs, c.AllowPlaintext = []string{r["URL_PLAIN"]}, true },
		"other CA":          func(c *ldapdir.ADConfig) { c.TLS = tlsConfig(t, r["OTHER_CA_FILE"]) },
		"nothing listens":   func(c *ldapdir.ADConfig) { c.URLs = []string{"ldaps://127.0.0.1:1"} },
		"no such base":      func(c *ldapdir.ADConfig) { c.BaseDN = "OU=None," + r["BASE_DN"] },
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			v := adVerifier(t, r, change)
			_, err := v.Verify(t.Context(), credentials(t, `CORP\alice`, r["USER_PW"]))
			require.ErrorIs(t, err, ldapdir.ErrUnavailable)
			require.NotErrorIs(t, err, auth.ErrBadCredentials)
			require.NotContains(t, err.Error(), r["USER_PW"])
		})
	}
	require.NoError(t, adVerifier(t, r, nil).Ready(t.Context()))

	// An account below another base is not one of ours.
	v := adVerifier(t, r, func(c *ldapdir.ADConfig) { c.BaseDN = "OU=Special," + r["BASE_DN"] })
	_, err := v.Verify(t.Context(), credentials(t, `CORP\alice`, r["USER_PW"]))
	require.ErrorIs(t, err, auth.ErrUnknownAccount)
}

// Sign-ins in a row leave no connection and no goroutine behind, none of them.
func TestADSignInsLeakNothing(t *testing.T) {
	r := adRig(t)
	noLeaks(t)
	const n = 200
	d := new(countingDialer)
	v := adVerifier(t, r, func(c *ldapdir.ADConfig) { c.Dial = d.dial })
	good := credentials(t, `CORP\alice`, r["USER_PW"])
	bad := credentials(t, `CORP\nobody`, "wrong")
	for i := range n {
		c, want := good, error(nil)
		if i%10 == 9 {
			c, want = bad, auth.ErrBadPassword
		}
		_, err := v.Verify(t.Context(), c)
		require.ErrorIs(t, err, want)
		require.Zero(t, d.open.Load())
	}
	require.EqualValues(t, n, d.dialed.Load(), "a connection for each")
}
