package ldapdir_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/internal/rig"
)

// rigs are the servers that tests share. A test that freezes or stops one undoes that, and
// runs beside no other that needs it.
var rigs rig.Pool

// slapdRig and adRig return the servers that most tests use. Three wrong passwords lock
// an account of the second.
func slapdRig(t testing.TB) rig.Rig { return rigs.Get(t, "slapd", "--ppolicy", "--errors") }
func adRig(t testing.TB) rig.Rig {
	return rigs.Get(t, "ad", "--extra-users", "500", "--index-tel", "--lockout-threshold", "3")
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := rigs.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// noLeaks fails the test if goroutines are left when everything is closed.
func noLeaks(t *testing.T) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
}

func tlsConfig(t testing.TB, caFile string) *tls.Config {
	t.Helper()
	pool, err := ldapdir.LoadCA(caFile)
	require.NoError(t, err)
	return &tls.Config{RootCAs: pool}
}

// slapdConfig is for the OpenLDAP rig, over ldaps.
func slapdConfig(t testing.TB, r rig.Rig) ldapdir.Config {
	return ldapdir.Config{
		Server:        ldapdir.Server{URLs: []string{r["URL_TLS"]}, TLS: tlsConfig(t, r["CA_FILE"]), Timeout: soon},
		BindDN:        r["BIND_DN"],
		BindPassword:  ldapdir.Password(r["BIND_PW"]),
		BaseDN:        r["BASE_DN"],
		SIPAttributes: []string{"sipAddress", "mail"},
		TelAttributes: []string{"telephoneNumber"},
	}
}

// adConfig is for the Active Directory rig.
func adConfig(t testing.TB, r rig.Rig) ldapdir.Config {
	cfg := ldapdir.ActiveDirectory()
	cfg.Server = ldapdir.Server{URLs: []string{r["URL"]}, TLS: tlsConfig(t, r["CA_FILE"]), Timeout: soon}
	cfg.BindDN, cfg.BindPassword = r["BIND_NT"], ldapdir.Password(r["BIND_PW"])
	cfg.BaseDN = r["BASE_DN"]
	cfg.Domain = r["DOMAIN"]
	return cfg
}

func open(t testing.TB, cfg ldapdir.Config) *ldapdir.Directory {
	t.Helper()
	d, err := ldapdir.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		require.NoError(t, d.Close(ctx))
	})
	return d
}

func address(t testing.TB, uri string) directory.Address {
	t.Helper()
	a, err := directory.ParseAddress(uri)
	require.NoError(t, err)
	return a
}

func lookup(t testing.TB, d *ldapdir.Directory, uri string) (directory.Entry, error) {
	t.Helper()
	return d.Lookup(t.Context(), address(t, uri))
}

// adUser is an account of the Active Directory rig.
type adUser struct {
	DN, SAM, UPN, NT, Password, SIP, Expect, Data string
}

func adUsers(t testing.TB, r rig.Rig) map[string]adUser {
	t.Helper()
	text, err := os.ReadFile(r["USERS_FILE"])
	require.NoError(t, err)
	var file struct{ Users []adUser }
	require.NoError(t, json.Unmarshal(text, &file))
	users := make(map[string]adUser)
	for _, u := range file.Users {
		users[u.SAM] = u
	}
	return users
}

// soon is how long a test waits for what should happen in a moment.
const soon = 30 * time.Second
