package auth_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/openblustar/blustar/auth"
)

// hash is a quick bcrypt hash.
func hash(t testing.TB, password string) string {
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	return string(h)
}

func localAccounts(t testing.TB) *auth.LocalAccounts {
	const realm = "example.com"
	l, err := auth.NewLocalAccounts([]auth.Account{
		{Account: `DE\tom`, PasswordHash: hash(t, "secret"), DigestHA1: &auth.DigestHA1{
			Realm:  realm,
			SHA256: auth.HA1(auth.SHA256, `DE\tom`, realm, []byte("secret")),
			MD5:    strings.ToUpper(auth.HA1(auth.MD5, `DE\tom`, realm, []byte("secret"))),
		}},
		{Account: "bill", PasswordHash: hash(t, "other")},
		{Account: "amcc", PasswordHash: hash(t, "amccpw"), AMCC: true},
		{Account: "digestonly", DigestHA1: &auth.DigestHA1{Realm: realm, MD5: auth.HA1(auth.MD5, "digestonly", realm, []byte("secret"))}},
	})
	require.NoError(t, err)
	return l
}

func TestLocalAccounts(t *testing.T) {
	l := localAccounts(t)
	require.Equal(t, 4, l.Len())
	require.Equal(t, []string{"example.com"}, l.Realms())
	for _, c := range []struct {
		name, password string
		amcc           bool
		want           string
		err            error
	}{
		{`DE\tom`, "secret", false, `de\tom`, nil},
		{` de\TOM `, "secret", false, `de\tom`, nil},
		{`DE\tom`, "wrong", false, "", auth.ErrBadPassword},
		{`DE\tom`, "Secret", false, "", auth.ErrBadPassword},
		{`FR\tom`, "secret", false, "", auth.ErrUnknownAccount},
		{"tom", "secret", false, "", auth.ErrUnknownAccount},
		{`DE\bill`, "other", false, "bill", nil},
		{"bill@example.com", "other", false, "bill", nil},
		{"amcc", "amccpw", true, "amcc", nil},
		{"amcc", "amccpw", false, "", auth.ErrUnknownAccount}, // BSP-2.11-1
		{"bill", "other", true, "", auth.ErrUnknownAccount},   // BSP-2.11-1
		{"digestonly", "secret", false, "", auth.ErrUnknownAccount},
		{"bill", "other" + strings.Repeat("x", 72), false, "", auth.ErrBadPassword},
	} {
		credentials, err := auth.NewCredentials(c.name, []byte(c.password))
		require.NoError(t, err)
		credentials.AMCC = c.amcc
		id, err := l.Verify(t.Context(), credentials)
		require.ErrorIs(t, err, c.err, "%+v", c)
		require.Equal(t, c.err == nil, id.Stamp != "")
		require.Equal(t, c.err == nil, l.HasAccount(id))
		id.Stamp = ""
		require.Equal(t, auth.Identity{Account: c.want, AMCC: c.amcc && c.err == nil}, id)
	}
}

// BSP-2.11-1, BSP-2.11-2: a controller signs in with a local account, never by
// the users' verifier, and each of its users is a client of its own.
func TestAMCC(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.AMCC = localAccounts(t) })
	tom, bill := f.request("tom"), f.request("bill")
	tom.AMCC, bill.AMCC = true, true
	tom.Source, bill.Source = f.request("fmc").Source, f.request("fmc").Source
	first, second := f.Check(tom), f.Check(bill)
	require.NotEqual(t, key(t, first), key(t, second))

	d := f.Check(f.answer(tom, first, "amcc", "amccpw"))
	require.Equal(t, auth.Accept, d.Verdict)
	require.Equal(t, auth.Identity{Account: "amcc", AMCC: true}, d.Identity)
	require.Equal(t, auth.Challenge, f.Check(bill).Verdict)
	require.Equal(t, auth.Accept, f.Check(f.answer(bill, f.Check(bill), "amcc", "amccpw")).Verdict)
	require.Equal(t, auth.Identity{Account: "amcc", AMCC: true}, f.Check(tom).Identity)

	require.ErrorIs(t, f.try(tom, `DE\tom`, "secret").Reason, auth.ErrBadCredentials)
	require.Zero(t, f.verifier.calls.Load(), "never the users' verifier")

	user := f.request("tom")
	require.ErrorIs(t, f.try(user, "amcc", "amccpw").Reason, auth.ErrBadCredentials)
}

func TestNoAMCCAccounts(t *testing.T) {
	f := newFixture(t, nil)
	r := f.request("tom")
	r.AMCC = true
	require.ErrorIs(t, f.try(r, `DE\tom`, "secret").Reason, auth.ErrUnknownAccount)
	require.Zero(t, f.verifier.calls.Load())
}

func TestReadAccounts(t *testing.T) {
	const h = "$2a$04$5Q4MgUzuNVuXKw2S6zcGEO9L2vdCSK.mqY1H4pVm4TtH2Y6hYVtJa"
	list, err := auth.ReadAccounts(strings.NewReader(`{"accounts":[
		{"account":"DE\\tom","password_hash":"` + h + `","digest_ha1":{"realm":"example.com","md5":"0123456789abcdef0123456789ABCDEF"}},
		{"account":"amcc","password_hash":"` + h + `","amcc":true}]}`))
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.True(t, list[1].AMCC)
	require.Equal(t, "example.com", list[0].DigestHA1.Realm)

	for input, want := range map[string]string{
		`{"accounts":[{"account":"a","pasword_hash":"x"}]}`: "accounts[0].pasword_hash: unknown key",
		`{"acounts":[]}`: "acounts: unknown key",
		`{"accounts":[{"account":"a","digest_ha1":{"realm":"x","sha":"y"}}]}`:       "accounts[0].digest_ha1.sha: unknown key",
		`{"accounts":[{"account":""}]}`:                                             `account ""`,
		`{"accounts":[{"account":"a:b"}]}`:                                          `account "a:b"`,
		`{"accounts":[{"account":"a","password_hash":"plain"}]}`:                    `account "a": password_hash`,
		`{"accounts":[{"account":"a","digest_ha1":{"md5":"x"}}]}`:                   "without realm",
		`{"accounts":[{"account":"a","digest_ha1":{"realm":"r","sha256":"abcd"}}]}`: "digest_ha1.sha256",
		`{"accounts":[]} x`: "text after the end",
		`{"accounts":`:      "no complete JSON value",
		"{\"accounts\":[\n{\"account\":\"a\",\n}]}":                "accounts: line 3: ",
		"{\"accounts\":[\n{\"account\":\"a\"},\n{\"account\":7}]}": "accounts[1].account: want a string",
	} {
		_, err := auth.ReadAccounts(strings.NewReader(input))
		require.ErrorContains(t, err, want, input)
	}
}

func TestLoadAccounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"accounts":[{"account":"a"},{"account":"A"}]}`), 0o600))
	_, err := auth.LoadAccounts(path)
	require.ErrorContains(t, err, "twice")
	require.ErrorContains(t, err, path)
	_, err = auth.LoadAccounts(path + "x")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte(`{"accounts":[{"account":"a"}]}`), 0o600))
	l, err := auth.LoadAccounts(path)
	require.NoError(t, err)
	require.Equal(t, 1, l.Len())
}

func TestHashPassword(t *testing.T) {
	h, err := auth.HashPassword([]byte("sécret:x"))
	require.NoError(t, err)
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(h), []byte("sécret:x")))
	for _, bad := range []string{"", "a\nb", "\xff", strings.Repeat("x", 73)} {
		_, err := auth.HashPassword([]byte(bad))
		require.ErrorIs(t, err, auth.ErrMalformed, "%q", bad)
	}
}

// An account prints as its name.
func TestAccountPrints(t *testing.T) {
	a := auth.Account{Account: "tom", PasswordHash: "canary", DigestHA1: &auth.DigestHA1{Realm: "r", MD5: "canary"}}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		require.NotContains(t, fmt.Sprintf(format, a), "canary")
		require.NotContains(t, fmt.Sprintf(format, a.DigestHA1), "canary")
		require.NotContains(t, fmt.Sprintf(format, []auth.Account{a}), "canary")
	}
}

// An account that does not exist costs a comparison, too: with a hash that is as dear as
// the dearest, and that bcrypt computes to the end (the same 401 in the same time; see
// BenchmarkVerify).
func TestUnknownAccountCostsTheSame(t *testing.T) {
	l, err := auth.NewLocalAccounts([]auth.Account{
		{Account: "ann", PasswordHash: hashOfCost(t, 4)}, {Account: "tom", PasswordHash: hashOfCost(t, 6)},
		{Account: "digest", DigestHA1: &auth.DigestHA1{Realm: "r", MD5: strings.Repeat("a", 32)}},
	})
	require.NoError(t, err)
	for _, name := range []string{"nobody", "digest"} {
		c, err := auth.NewCredentials(name, []byte("wrong"))
		require.NoError(t, err)
		hash := l.HashFor(c)
		cost, err := bcrypt.Cost([]byte(hash))
		require.NoError(t, err)
		require.Equal(t, 6, cost)
		require.ErrorIs(t, bcrypt.CompareHashAndPassword([]byte(hash), []byte("wrong")), bcrypt.ErrMismatchedHashAndPassword)
		_, err = l.Verify(t.Context(), c)
		require.ErrorIs(t, err, auth.ErrUnknownAccount)
	}
}

func hashOfCost(t testing.TB, cost int) string {
	h, err := bcrypt.GenerateFromPassword([]byte("secret"), cost)
	require.NoError(t, err)
	return string(h)
}
