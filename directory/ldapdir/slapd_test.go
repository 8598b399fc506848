package ldapdir_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/directory/directorytest"
	"github.com/openblustar/blustar/directory/ldapdir"
	"github.com/openblustar/blustar/internal/rig"
)

func ids(t *testing.T, d *ldapdir.Directory, uris ...string) map[string]string {
	t.Helper()
	m := make(map[string]string)
	for _, uri := range uris {
		e, err := lookup(t, d, uri)
		require.NoError(t, err, uri)
		m[uri] = e.ID
	}
	return m
}

// BSP-2.1-1, BSP-2.1-2, BSP-2.1-9: the columns of OpenLDAP.
func TestSlapdConformance(t *testing.T) {
	r := slapdRig(t)
	noLeaks(t)
	for name, server := range map[string]ldapdir.Server{
		"ldaps":    {URLs: []string{r["URL_TLS"]}, TLS: tlsConfig(t, r["CA_FILE"])},
		"StartTLS": {URLs: []string{r["URL"]}, StartTLS: true, TLS: tlsConfig(t, r["CA_FILE"])},
		"plain":    {URLs: []string{r["URL"]}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := slapdConfig(t, r)
			cfg.Server = server
			directorytest.Run(t, open(t, cfg), directorytest.Expect{
				Found: ids(t, open(t, cfg),
					"sip:alice@example.test", "tel:+14255550101",
					"sip:carol@example.test",               // only in mail
					"sip:david.dunn@example.test",          // only in sipAddress
					"sip:dave.mail@example.test",           // only in mail
					"sip:heidi.hill@example.test",          // second value
					"tel:+14255550118",                     // third value
					"sip:ivan.i@example.test",              // nested, stored in mixed case
					"sip:judy*(ops)@example.test",          // metacharacters of filters
					"tel:+14255550102", "tel:+14255550109", // stored with punctuation
				),
				Missing: []string{
					"sip:nobody@example.test", "tel:5", "sip:*@example.test", "sip:alice*@example.test",
					"sip:a)(uid=*@example.test", `sip:%5c2a@example.test`, "sip:svc-ldap@example.test",
				},
				Ambiguous: []string{"tel:+14255550107"},
			})
		})
	}
}

// BSP-2.1-7: every address leads to the one entry, which has all that is needed.
func TestSlapdEntry(t *testing.T) {
	d := open(t, slapdConfig(t, slapdRig(t)))
	want := directory.Entry{
		Account: "bob", DisplayName: "Bob Brown", Mail: "bob@example.test",
		SIP: []string{"bob@example.test"}, Tel: []string{"+14255550102"}, Lines: []string{"+14255550102"},
	}
	for _, uri := range []string{"sip:bob@example.test", "tel:+14255550102", "SIP:BOB@example.test:5060;transport=udp"} {
		got, err := lookup(t, d, uri)
		require.NoError(t, err)
		require.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, got.ID, "entryUUID")
		want.ID = got.ID
		require.Equal(t, want, got)
	}

	erin, err := lookup(t, d, "sip:erin@example.test")
	require.NoError(t, err)
	require.Equal(t, "Érin Ñúñez", erin.DisplayName)
}

// What is not configured as a column is not looked at; without columns of a scheme
// nothing is asked.
func TestColumns(t *testing.T) {
	cfg := slapdConfig(t, slapdRig(t))
	cfg.SIPAttributes, cfg.TelAttributes = []string{"sipAddress"}, nil
	d := open(t, cfg)
	_, err := lookup(t, d, "sip:carol@example.test") // has mail only
	require.ErrorIs(t, err, directory.ErrNotFound)
	_, err = lookup(t, d, "tel:+14255550101")
	require.ErrorIs(t, err, directory.ErrNotFound)
	require.EqualValues(t, 1, d.Stats().Searches)
}

// Two entries share a number: an answer of its own, logged once with both DNs.
func TestAmbiguous(t *testing.T) {
	r := slapdRig(t)
	cfg := slapdConfig(t, r)
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	d := open(t, cfg)
	for range 3 {
		_, err := lookup(t, d, "tel:+14255550107")
		var amb *directory.AmbiguousError
		require.ErrorAs(t, err, &amb)
		require.ElementsMatch(t, []string{"cn=Grace Green,ou=People,dc=example,dc=test", "cn=Heidi Hill,ou=People,dc=example,dc=test"}, amb.Entries)
	}
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("level=WARN")))
	require.Contains(t, log.String(), "Grace Green")
	require.Contains(t, log.String(), "Heidi Hill")
	require.EqualValues(t, 1, d.Stats().Searches, "remembered")
}

// A list of hundreds takes a few searches, and the size limit of the server (500
// here by default; 7 there) does not hide anybody.
func TestSlapdLists(t *testing.T) {
	for _, limit := range []string{"500", "7"} {
		t.Run("size limit "+limit, func(t *testing.T) {
			r := rigs.Get(t, "slapd", "--users", "610", "--size-limit", limit)
			noLeaks(t)
			d := open(t, slapdConfig(t, r))
			var as []directory.Address
			for i := range 600 {
				as = append(as, address(t, fmt.Sprintf("sip:user%06d@example.test", i)))
			}
			as = append(as, address(t, "tel:+14255550107"), address(t, "sip:nobody@example.test"), address(t, "tel:+12060000005"))
			results := directory.LookupAll(t.Context(), d, as)
			for i, res := range results[:600] {
				require.NoError(t, res.Err)
				require.Equal(t, fmt.Sprintf("user%06d", i), res.Entry.Account)
			}
			require.ErrorIs(t, results[600].Err, directory.ErrAmbiguous)
			require.ErrorIs(t, results[601].Err, directory.ErrNotFound)
			require.Equal(t, "user000005", results[602].Entry.Account)
			if limit == "500" {
				require.LessOrEqual(t, d.Stats().Searches, uint64(13))
			}
			before := d.Stats().Searches
			directory.LookupAll(t.Context(), d, as)
			require.Equal(t, before, d.Stats().Searches, "all of it is remembered")
		})
	}
}

// With a limit of one entry not even an ambiguity can be told; it must not pass for
// a single entry.
func TestSlapdSizeLimitOfOne(t *testing.T) {
	r := rigs.Get(t, "slapd", "--size-limit", "1")
	d := open(t, slapdConfig(t, r))
	_, err := lookup(t, d, "tel:+14255550107")
	require.ErrorIs(t, err, ldapdir.ErrUnavailable)
	_, err = lookup(t, d, "tel:+14255550101")
	require.NoError(t, err)
}

// Below BaseDN is a reference to another server, where nothing listens; and a base
// there is no base.
func TestReferrals(t *testing.T) {
	r := slapdRig(t)
	cfg := slapdConfig(t, r)
	cfg.BaseDN = r["BASE_DN"]
	_, err := lookup(t, open(t, cfg), "sip:alice@example.test")
	require.NoError(t, err)
	cfg.BaseDN = "ou=Elsewhere," + r["BASE_DN"]
	_, err = lookup(t, open(t, cfg), "sip:alice@example.test")
	require.ErrorIs(t, err, ldapdir.ErrUnavailable)
	require.NotErrorIs(t, err, directory.ErrNotFound)
}

// BSP-2.1-8: whatever goes wrong in the directory, nobody is "not found".
func TestSlapdFailures(t *testing.T) {
	r := slapdRig(t)
	tests := map[string]func(*ldapdir.Config){
		"no such base":      func(c *ldapdir.Config) { c.BaseDN = "ou=Nowhere," + r["BASE_DN"] },
		"wrong password":    func(c *ldapdir.Config) { c.BindPassword = ldapdir.Password("wrong") },
		"no such account":   func(c *ldapdir.Config) { c.BindDN = "cn=nobody," + r["BASE_DN"] },
		"account is no DN":  func(c *ldapdir.Config) { c.BindDN = `EXAMPLE\alice` },
		"anonymous":         func(c *ldapdir.Config) { c.BindDN, c.BindPassword = "", ldapdir.PasswordSource{} },
		"empty password":    func(c *ldapdir.Config) { c.BindPassword = ldapdir.Password("") },
		"no password file":  func(c *ldapdir.Config) { c.BindPassword = ldapdir.PasswordFile("testdata/none") },
		"other CA":          func(c *ldapdir.Config) { c.TLS = tlsConfig(t, r["OTHER_CA_FILE"]) },
		"no CA":             func(c *ldapdir.Config) { c.TLS = nil },
		"other name":        func(c *ldapdir.Config) { c.TLS.ServerName = "dc.example.com" },
		"TLS on plain port": func(c *ldapdir.Config) { c.URLs = []string{"ldaps" + r["URL"][len("ldap"):]} },
		"plain on TLS port": func(c *ldapdir.Config) { c.URLs = []string{"ldap" + r["URL_TLS"][len("ldaps"):]} },
		"nothing listens":   func(c *ldapdir.Config) { c.URLs = []string{"ldap://127.0.0.1:1"} },
		"StartTLS, other CA": func(c *ldapdir.Config) {
			c.URLs, c.StartTLS, c.TLS = []string{r["URL"]}, true, tlsConfig(t, r["OTHER_CA_FILE"])
		},
		"entries without ID": func(c *ldapdir.Config) { c.IDAttribute = "employeeNumber" },
	}
	for _, code := range []string{"busy", "unavailable", "unwillingToPerform", "other", "operationsError", "timeLimitExceeded",
		"sizeLimitExceeded", "adminLimitExceeded", "insufficientAccess"} {
		tests[code] = func(c *ldapdir.Config) { c.BaseDN = "cn=" + code + ",ou=RetCodes," + r["BASE_DN"] }
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			cfg := slapdConfig(t, r)
			cfg.Timeout = soon / 4
			change(&cfg)
			d := open(t, cfg)
			as := []directory.Address{address(t, "sip:alice@example.test"), address(t, "tel:+14255550102")}
			for _, res := range d.LookupAll(t.Context(), as) {
				require.ErrorIs(t, res.Err, ldapdir.ErrUnavailable)
				require.NotErrorIs(t, res.Err, directory.ErrNotFound)
				require.NotErrorIs(t, res.Err, directory.ErrAmbiguous)
				require.NotContains(t, res.Err.Error(), r["BIND_PW"])
				require.Equal(t, directory.Entry{}, res.Entry)
			}
			if name != "entries without ID" && name != "anonymous" {
				require.ErrorIs(t, d.Ready(t.Context()), ldapdir.ErrUnavailable)
			}
		})
	}
}

// addUser adds a user to the directory, with a password unless that is "", and returns what
// removes it.
func addUser(t *testing.T, r rig.Rig, cn, uid, password string) (remove func()) {
	t.Helper()
	admin, err := ldap.DialURL(r["URL"])
	require.NoError(t, err)
	t.Cleanup(func() { _ = admin.Close() })
	require.NoError(t, admin.Bind(r["ADMIN_DN"], r["ADMIN_PW"]))
	dn := "cn=" + cn + "," + r["PEOPLE_DN"]
	add := ldap.NewAddRequest(dn, nil)
	for name, value := range map[string]string{
		"objectClass": "inetOrgPerson", "cn": cn, "sn": "x", "uid": uid, "mail": uid + "@example.test", "userPassword": password,
	} {
		if value != "" {
			add.Attribute(name, []string{value})
		}
	}
	require.NoError(t, admin.Add(add))
	return func() { require.NoError(t, admin.Del(ldap.NewDelRequest(dn, nil))) }
}

// BSX-10: an account that was removed is found out, whatever is remembered; a directory
// that does not answer says nothing about it.
func TestHasAccount(t *testing.T) {
	r := slapdRig(t)
	cfg := slapdConfig(t, r)
	cfg.Domain = "CORP"
	d := open(t, cfg)
	remove := addUser(t, r, "Leaver (x)", "leaver", "")
	leaver := auth.Identity{Account: `corp\leaver`}
	has := func(d *ldapdir.Directory, id auth.Identity) bool {
		found, err := d.HasAccount(t.Context(), id)
		require.NoError(t, err)
		return found
	}
	require.True(t, has(d, leaver))
	require.False(t, has(d, auth.Identity{Account: `other\leaver`}))
	require.False(t, has(d, auth.Identity{Account: `corp\lea*`}))
	_, err := lookup(t, d, "sip:leaver@example.test")
	require.NoError(t, err)
	remove()
	require.False(t, has(d, leaver))
	require.True(t, has(d, auth.Identity{Account: `corp\alice`}))
	cfg.URLs = []string{"ldaps://127.0.0.1:1"}
	_, err = open(t, cfg).HasAccount(t.Context(), leaver)
	require.ErrorIs(t, err, ldapdir.ErrUnavailable)
}

// BSX-13: what an identity was verified with is told from the password of today.
func TestHasAccountPasswordChanged(t *testing.T) {
	r := slapdRig(t)
	cfg := slapdConfig(t, r)
	cfg.Domain = "EXAMPLE"
	d := open(t, cfg)
	defer addUser(t, r, "Changer", "changer", "F1rst-Pa55word")()
	id, err := bindVerifier(t, r, nil).Verify(t.Context(), credentials(t, "changer", "F1rst-Pa55word"))
	require.NoError(t, err)
	require.NotEmpty(t, id.Stamp)
	has := func(id auth.Identity) bool {
		found, err := d.HasAccount(t.Context(), id)
		require.NoError(t, err)
		return found
	}
	require.True(t, has(id))
	password := "F1rst-Pa55word"
	change := func(to string) {
		user, err := ldap.DialURL(r["URL"])
		require.NoError(t, err)
		defer user.Close()
		require.NoError(t, user.Bind("cn=Changer,"+r["PEOPLE_DN"], password))
		change := ldap.NewModifyRequest("cn=Changer,"+r["PEOPLE_DN"], nil)
		change.Replace("userPassword", []string{to})
		require.NoError(t, user.Modify(change))
		password = to
	}
	change("Sec0nd-Pa55word")
	require.False(t, has(id), "the first change")
	id, err = bindVerifier(t, r, nil).Verify(t.Context(), credentials(t, "changer", password))
	require.NoError(t, err)
	require.True(t, has(id))
	for i := 0; has(id); i++ { // the server counts in seconds
		change(fmt.Sprint("An0ther-Pa55word", i))
	}
	for _, other := range []string{"", "pwdLastSet 1"} {
		id.Stamp = other
		require.True(t, has(id), "who verified was not this directory")
	}
}

func TestReady(t *testing.T) {
	d := open(t, slapdConfig(t, slapdRig(t)))
	require.NoError(t, d.Ready(t.Context()))
	require.True(t, d.Stats().Up)
	require.Equal(t, 1, d.Stats().Conns)
}
