package auth_test

import (
	"context"
	stdbase64 "encoding/base64"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// fixture is a guard whose users are those of a map.
type fixture struct {
	*auth.Guard
	t        testing.TB
	cipher   auth.Cipher
	verifier *verifier
}

// verifier knows passwords by account, counts its calls, and may be overridden.
type verifier struct {
	passwords map[string]string
	calls     atomic.Int64
	override  func(ctx context.Context, c auth.Credentials) (auth.Identity, error)
}

func (v *verifier) Verify(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	v.calls.Add(1)
	if v.override != nil {
		return v.override(ctx, c)
	}
	want, ok := v.passwords[c.Name.Account()]
	switch {
	case !ok || c.AMCC:
		return auth.Identity{}, auth.ErrUnknownAccount
	case want != string(c.Password.Reveal()):
		return auth.Identity{}, auth.ErrBadPassword
	}
	return auth.Identity{Account: c.Name.String()}, nil
}

// unlocked is a verifier whose accounts no directory locks.
type unlocked struct{ auth.Verifier }

func (unlocked) LocksAccounts() bool { return false }

// newFixture makes a guard of defaults that edit may change.
func newFixture(t testing.TB, edit func(*auth.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, cipher: auth.Tuz{}, verifier: &verifier{passwords: map[string]string{
		`de\tom`: "secret", `de\bill`: "other", `de\ann`: `p:a\ß€`,
	}}}
	cfg := auth.Config{Verifier: f.verifier}
	if edit != nil {
		edit(&cfg)
	}
	if cfg.Cipher != nil {
		f.cipher = cfg.Cipher
	}
	g, err := auth.New(cfg)
	require.NoError(t, err)
	f.Guard = g
	return f
}

// Check is the guard's, within the test's life.
func (f *fixture) Check(r auth.Request) auth.Decision {
	return f.Guard.Check(f.t.Context(), r)
}

// request is a SUBSCRIBE of a user's client, each user at an address of his own.
func (f *fixture) request(user string) auth.Request {
	source := netip.AddrFrom4([4]byte{192, 0, 2, 0})
	for _, c := range []byte(user) {
		b := source.As4()
		b[3] = b[3]*31 + c
		source = netip.AddrFrom4(b)
	}
	return auth.Request{
		Client: "sip:" + user + "@example.com sip:" + user + "@20.20.20.20:5060", From: "sip:" + user + "@example.com", Source: source,
		UserAgent: "Aastra BluStar Client/3.0.1.0", Method: "SUBSCRIBE", URI: "sip:10.10.10.10:5060",
	}
}

// answer is the request again, with credentials for the challenge.
func (f *fixture) answer(r auth.Request, d auth.Decision, account, password string) auth.Request {
	f.t.Helper()
	c, err := auth.NewCredentials(account, []byte(password))
	require.NoError(f.t, err)
	r.Rauth, err = c.Encrypt(f.cipher, key(f.t, d))
	require.NoError(f.t, err)
	return r
}

// try is a request without credentials, if need be, and one with.
func (f *fixture) try(r auth.Request, account, password string) auth.Decision {
	f.t.Helper()
	r.Rauth = "AAAA" // makes sure of a challenge, also where there is a session
	d := f.Check(r)
	require.Equal(f.t, auth.Challenge, d.Verdict)
	return f.Check(f.answer(r, d, account, password))
}

// key is the X-BSS-auth of a 401.
func key(t testing.TB, d auth.Decision) string {
	t.Helper()
	require.Equal(t, auth.Challenge, d.Verdict)
	require.NotEmpty(t, d.Header)
	require.Equal(t, "X-BSS-auth", d.Header[0].Name)
	return d.Header[0].Value
}

func base64(b []byte) string { return stdbase64.StdEncoding.EncodeToString(b) }
