package auth_test

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/icholy/digest"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// newDigest is a guard with local accounts for everything, and a request of a
// Standard client.
func newDigest(t testing.TB, edit func(*auth.Config)) (*fixture, auth.Request) {
	f := newFixture(t, func(c *auth.Config) {
		local := localAccounts(t)
		c.Verifier, c.Digest = local, local
		if edit != nil {
			edit(c)
		}
	})
	r := f.request("tom")
	r.Digest, r.UserAgent = true, "baresip"
	return f, r
}

// challenges parses a Digest 401, with the client library.
func challenges(t testing.TB, d auth.Decision) []*digest.Challenge {
	t.Helper()
	require.Equal(t, auth.Challenge, d.Verdict)
	var list []*digest.Challenge
	for _, h := range d.Header {
		if h.Name == auth.HeaderAuth {
			continue
		}
		require.Equal(t, "WWW-Authenticate", h.Name)
		c, err := digest.ParseChallenge(h.Value)
		require.NoError(t, err)
		list = append(list, c)
	}
	require.Len(t, list, 2)
	return list
}

// respond makes an Authorization header with the client library.
func respond(t testing.TB, r auth.Request, c *digest.Challenge, user, password string, count int) auth.Request {
	t.Helper()
	answer, err := digest.Digest(c, digest.Options{
		Method: r.Method, URI: r.URI, Username: user, Password: password, Count: count,
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body)), nil },
	})
	require.NoError(t, err)
	r.Authorization = []string{answer.String()}
	return r
}

// RFC 8760 §2.3: SHA-256 is offered first, then MD5; both work.
func TestDigest(t *testing.T) {
	for i, algorithm := range []string{"SHA-256", "MD5"} {
		t.Run(algorithm, func(t *testing.T) {
			f, r := newDigest(t, nil)
			c := challenges(t, f.Check(r))[i]
			require.Equal(t, algorithm, c.Algorithm)
			require.Equal(t, "example.com", c.Realm)
			require.Equal(t, []string{"auth"}, c.QOP)
			require.False(t, c.Stale)

			d := f.Check(respond(t, r, c, `DE\tom`, "secret", 1))
			require.Equal(t, auth.Accept, d.Verdict, d.Reason)
			require.Equal(t, auth.Identity{Account: `de\tom`}, d.Identity)
			require.Equal(t, auth.Challenge, f.Check(r).Verdict, "no session: each request carries its proof")

			c.QOP = []string{"auth-int"}
			r.Body = []byte("<presence/>")
			require.Equal(t, auth.Accept, f.Check(respond(t, r, c, `DE\tom`, "secret", 2)).Verdict)
			altered := respond(t, r, c, `DE\tom`, "secret", 3)
			altered.Body = []byte("<altered/>")
			require.ErrorIs(t, f.Check(altered).Reason, auth.ErrBadPassword)
		})
	}
}

// RFC 7616 §3.9.1: the secret and the response of the RFC's example.
func TestDigestVectors(t *testing.T) {
	const user, realm, password = "Mufasa", "http-auth@example.org", "Circle of Life"
	require.Equal(t, "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232",
		auth.HA1(auth.SHA256, user, realm, []byte(password)))
	require.Equal(t, "3d78807defe7de2157e2b0b6573a855f", auth.HA1(auth.MD5, user, realm, []byte(password)))
}

// The account's name is escaped in a header, or not.
func TestDigestUsername(t *testing.T) {
	f, r := newDigest(t, nil)
	answer := respond(t, r, challenges(t, f.Check(r))[0], `DE\tom`, "secret", 1)
	require.Contains(t, answer.Authorization[0], `"DE\\tom"`)
	answer.Authorization[0] = strings.Replace(answer.Authorization[0], `DE\\tom`, `DE\tom`, 1)
	require.Equal(t, auth.Accept, f.Check(answer).Verdict)
}

// BSX-10: unknown accounts, and those without a Digest secret, look like wrong
// passwords.
func TestDigestRefuses(t *testing.T) {
	f, r := newDigest(t, nil)
	for _, c := range []struct {
		user, password string
		verdict        auth.Verdict
		reason         error
	}{
		{`DE\tom`, "wrong", auth.Challenge, auth.ErrBadPassword},
		{"nobody", "secret", auth.Challenge, auth.ErrUnknownAccount},
		{"amcc", "amccpw", auth.Challenge, auth.ErrUnknownAccount},
		{"bill", "other", auth.Challenge, auth.ErrNoDigest},
		{"digestonly", "secret", auth.Challenge, auth.ErrNoDigest}, // has MD5 alone
	} {
		d := f.Check(respond(t, r, challenges(t, f.Check(r))[0], c.user, c.password, 1))
		require.Equal(t, c.verdict, d.Verdict, c.user)
		require.ErrorIs(t, d.Reason, c.reason, c.user)
	}
	require.Equal(t, auth.Accept, f.Check(respond(t, r, challenges(t, f.Check(r))[1], "digestonly", "secret", 1)).Verdict)

}

// Where no account has a Digest secret, Digest is neither offered nor looked at.
func TestNoDigest(t *testing.T) {
	none, err := auth.NewLocalAccounts([]auth.Account{{Account: `DE\tom`, PasswordHash: hash(t, "secret")}})
	require.NoError(t, err)
	with, r := newDigest(t, nil)
	answer := respond(t, r, challenges(t, with.Check(r))[0], `DE\tom`, "wrong", 1)
	for name, accounts := range map[string]auth.DigestAccounts{"none": nil, "no secrets": none} {
		t.Run(name, func(t *testing.T) {
			f, _ := newDigest(t, func(c *auth.Config) { c.Digest = accounts })
			for range 30 {
				d := f.Check(answer)
				require.ErrorIs(t, d.Reason, auth.ErrNoCredentials)
				require.Len(t, d.Header, 1)
			}
			require.Zero(t, f.Stats().Failures)
			require.Equal(t, auth.Accept, f.try(r, `DE\tom`, "secret").Verdict)
		})
	}
}

// BSP-2.10-2: a client that nothing marks as one of BluStar, since an SBC strips its
// User-Agent or it is of another name, gets X-BSS-auth beside Digest. One that
// answered with Digest gets Digest alone.
func TestUnmarkedClient(t *testing.T) {
	f, r := newDigest(t, nil)
	d := f.Check(r)
	require.Len(t, d.Header, 3)
	require.Equal(t, auth.Accept, f.Check(f.answer(r, d, `DE\tom`, "secret")).Verdict)
	r = f.request("bill")
	r.Digest = true
	d = f.Check(respond(t, r, challenges(t, f.Check(r))[0], `DE\tom`, "wrong", 1))
	require.Len(t, challenges(t, d), 2)
	require.Len(t, d.Header, 2)
	r.Digest = false
	require.Len(t, f.Check(r).Header, 1, "a marked client gets no Digest")
}

// RFC 7616 §3.4: a nonce count is used once; those that overtake each other are
// all accepted.
func TestNonceCount(t *testing.T) {
	f, r := newDigest(t, nil)
	c := challenges(t, f.Check(r))[0]
	for _, s := range []struct {
		count int
		fresh bool
	}{
		{1, true}, {1, false}, {3, true}, {2, true}, {2, false}, {3, false}, {100, true}, {37, true}, {36, false}, {101, true}, {99, true}, {99, false},
	} {
		d := f.Check(respond(t, r, c, `DE\tom`, "secret", s.count))
		if s.fresh {
			require.Equal(t, auth.Accept, d.Verdict, s.count)
			continue
		}
		require.ErrorIs(t, d.Reason, auth.ErrStale, s.count)
		require.True(t, challenges(t, d)[0].Stale)
	}
	require.Zero(t, f.Stats().Failures, "a replay is no failure")
}

// RFC 7616 §3.3: a nonce that has expired, or that is not ours, is stale.
func TestStaleNonce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := newDigest(t, nil)
		c := challenges(t, f.Check(r))[0]
		good := c.Nonce
		for _, nonce := range []string{"x", good[1:], "1" + good[1:], good[:len(good)-3] + "AAA", strings.Repeat("!", len(good))} {
			c.Nonce = nonce
			d := f.Check(respond(t, r, c, `DE\tom`, "secret", 1))
			require.ErrorIs(t, d.Reason, auth.ErrStale, nonce)
			require.True(t, challenges(t, d)[1].Stale)
		}
		c.Nonce = good
		time.Sleep(5*time.Minute - time.Second)
		require.Equal(t, auth.Accept, f.Check(respond(t, r, c, `DE\tom`, "secret", 1)).Verdict)
		time.Sleep(time.Second)
		require.ErrorIs(t, f.Check(respond(t, r, c, `DE\tom`, "secret", 2)).Reason, auth.ErrStale)
		require.Zero(t, f.Stats().Failures)
	})
}

// BSX-4, BSX-8: nonces that are asked for take no room, so that nobody pushes out
// another's. Those that were used take some, of their account, and what falls out of it
// cannot be replayed.
func TestNoncesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := newDigest(t, func(c *auth.Config) { c.MaxRecords = 32 })
		first := challenges(t, f.Check(r))[0]
		for range 1000 {
			f.Check(r)
		}
		require.Zero(t, f.Stats().Nonces)
		require.Equal(t, auth.Accept, f.Check(respond(t, r, first, `DE\tom`, "secret", 1)).Verdict)

		var answers []auth.Request
		for range 30 {
			time.Sleep(time.Second)
			c := challenges(t, f.Check(r))[0]
			answers = append(answers, respond(t, r, c, `DE\tom`, "secret", 1))
			require.Equal(t, auth.Accept, f.Check(answers[len(answers)-1]).Verdict)
		}
		require.Equal(t, 2, f.Stats().Nonces)
		for _, a := range answers {
			d := f.Check(a)
			require.ErrorIs(t, d.Reason, auth.ErrStale)
			require.True(t, challenges(t, d)[0].Stale)
		}
		time.Sleep(5 * time.Minute)
		require.Zero(t, f.Stats().Nonces)
	})
}

// BSP-2.10-8: Digest failures count like others. No directory locks the account, so
// the guesses of a stranger hold back that stranger alone, and make others wait.
func TestDigestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := newDigest(t, nil)
		try := func(r auth.Request, password string) auth.Decision {
			return f.Check(respond(t, r, challenges(t, f.Check(r))[0], `DE\tom`, password, 1))
		}
		require.Equal(t, auth.Accept, try(r, "secret").Verdict)
		attacker := f.from("198.51.100.1")
		attacker.Digest = true
		for i := range 4 {
			require.ErrorIs(t, try(attacker, fmt.Sprint(i)).Reason, auth.ErrBadPassword)
		}
		start := time.Now()
		for range 2 {
			d := try(attacker, "secret")
			require.ErrorIs(t, d.Reason, auth.ErrThrottled)
			require.Equal(t, 15*time.Minute, d.RetryAfter)
		}
		require.Equal(t, auth.Accept, try(r, "secret").Verdict, "is known")
		require.Zero(t, time.Since(start))
		require.ErrorIs(t, try(attacker, "secret").Reason, auth.ErrThrottled, "a success elsewhere does not free the attacker")
		for i := range 4 {
			attacker.Source = attacker.Source.Next()
			require.ErrorIs(t, try(attacker, fmt.Sprint(i)).Reason, auth.ErrBadPassword)
		}
		device := f.from("203.0.113.1")
		device.Digest = true
		require.Equal(t, auth.Accept, try(device, "secret").Verdict, "a new device waits")
		require.Equal(t, time.Second, time.Since(start))
	})
}

// BSX-10: a nonce is good for the source that it was given to. Four forged datagrams
// with a nonce that was fetched elsewhere count against nobody.
func TestForeignNonce(t *testing.T) {
	f, r := newDigest(t, nil)
	elsewhere := r
	elsewhere.Source = netip.MustParseAddr("198.51.100.1")
	c := challenges(t, f.Check(elsewhere))[0]
	for i := range 30 {
		d := f.Check(respond(t, r, c, `DE\tom`, "wrong", i+1))
		require.ErrorIs(t, d.Reason, auth.ErrStale)
		require.True(t, challenges(t, d)[0].Stale)
	}
	require.Zero(t, f.Stats().Failures)
	f, _ = newDigest(t, func(c *auth.Config) { c.AnySource = true })
	c = challenges(t, f.Check(elsewhere))[0]
	require.Equal(t, auth.Accept, f.Check(respond(t, r, c, `DE\tom`, "secret", 1)).Verdict)
}

// RFC 7616 §3.4.6: a Digest is for its Request-URI, in any spelling.
func TestDigestURI(t *testing.T) {
	f, r := newDigest(t, nil)
	for _, c := range []struct {
		signed, request string
		same            bool
	}{
		{"sip:tom@example.com", "sip:tom@example.com", true},
		{"sip:tom@example.com", "SIP:Tom@EXAMPLE.com:5060;transport=tcp", true},
		{"sips:tom@example.com?a=b", "sip:tom:pw@example.com", true},
		{"sip:10.0.0.1:5060", "sip:10.0.0.1", true},
		{"sip:tom@[2001:db8::1]:5060", "sip:tom@[2001:db8::1]", true},
		{"tel:200;phone-context=x", "tel:200", true},
		{"sip:tom@example.com", "sip:bill@example.com", false},
		{"sip:tom@example.com", "sip:tom@example.org", false},
		{"sip:example.com", "sip:tom@example.com", false},
		{"tel:200", "tel:201", false},
	} {
		signed := r
		signed.URI = c.signed
		answer := respond(t, signed, challenges(t, f.Check(r))[0], `DE\tom`, "secret", 1)
		answer.URI = c.request
		d := f.Check(answer)
		require.Equal(t, c.same, d.Verdict == auth.Accept, "%v: %v", c, d.Reason)
		if !c.same {
			require.ErrorIs(t, d.Reason, auth.ErrMalformed)
		}
	}
	require.Zero(t, f.Stats().Failures)
}

func TestDigestMalformed(t *testing.T) {
	f, r := newDigest(t, nil)
	const good = `username="u", realm="example.com", nonce="n", uri="sip:a", response="0", cnonce="c", qop=auth, nc=00000001`
	for _, c := range []struct{ header, want string }{
		{"Digest " + good, "stale"},
		{"Digest " + strings.Replace(good, "qop=auth, ", "", 1), "malformed"},
		{"Digest " + strings.Replace(good, "auth", "auth-conf", 1), "malformed"},
		{"Digest " + strings.Replace(good, `cnonce="c"`, `cnonce=""`, 1), "malformed"},
		{"Digest " + strings.Replace(good, "00000001", "1", 1), "malformed"},
		{"Digest " + strings.Replace(good, "00000001", "+0000001", 1), "malformed"},
		{"Digest " + strings.Replace(good, `"u"`, `"a:b"`, 1), "malformed"},
		{"Digest " + good + ", algorithm=SHA-512-256", "malformed"},
		{"Digest " + good + `, username="v"`, "malformed"},
		{"Digest " + good + `, x="`, "malformed"},
		{"Digest " + strings.Repeat("a=b,", 2000), "malformed"},
		{"Digest " + strings.Replace(good, "example.com", "elsewhere", 1), "no_credentials"},
		{"Digest", "no_credentials"},
		{"Bearer x", "no_credentials"},
	} {
		r.Authorization = []string{c.header}
		d := f.Check(r)
		require.Equal(t, auth.Challenge, d.Verdict, c.header)
		require.Equal(t, c.want, auth.Reason(d.Reason), c.header)
	}
	require.Zero(t, f.Stats().Failures)
}

// RFC 2069 §2.1.2: Digest without qop, where it is allowed. Its nonce is good for one
// request, and the next gets another.
func TestOldDigest(t *testing.T) {
	answer := func(t *testing.T, r auth.Request, c *digest.Challenge, more string) auth.Request {
		t.Helper()
		old := *c
		old.QOP = nil
		r = respond(t, r, &old, `DE\tom`, "secret", 1)
		require.NotContains(t, r.Authorization[0], "qop")
		r.Authorization[0] += more
		return r
	}
	for _, tt := range []struct {
		allowed auth.Where
		secure  bool
		want    auth.Verdict
	}{
		{auth.Nowhere, true, auth.Challenge},
		{auth.OverTLS, false, auth.Challenge},
		{auth.OverTLS, true, auth.Accept},
		{auth.Anywhere, false, auth.Accept},
		{auth.Anywhere, true, auth.Accept},
	} {
		t.Run(fmt.Sprintf("%q secure=%t", tt.allowed, tt.secure), func(t *testing.T) {
			f, r := newDigest(t, func(c *auth.Config) { c.OldDigest = tt.allowed })
			r.Secure = tt.secure
			offered := challenges(t, f.Check(r))
			old := answer(t, r, offered[1], `, nc="00000001"`) // Pidgin counts, and does not say so in its hash
			d := f.Check(old)
			require.Equal(t, tt.want, d.Verdict, d.Reason)
			if tt.want != auth.Accept {
				require.Equal(t, "malformed", auth.Reason(d.Reason))
				return
			}
			require.Equal(t, auth.Identity{Account: `de\tom`}, d.Identity)
			d = f.Check(old)
			require.ErrorIs(t, d.Reason, auth.ErrStale, "a replay")
			require.True(t, challenges(t, d)[1].Stale)
			require.Equal(t, auth.Accept, f.Check(answer(t, r, challenges(t, d)[1], "")).Verdict)

			wrong := answer(t, r, challenges(t, f.Check(r))[1], "")
			wrong.Method = "PUBLISH"
			require.ErrorIs(t, f.Check(wrong).Reason, auth.ErrBadPassword)
			require.Equal(t, "malformed", auth.Reason(f.Check(answer(t, r, offered[0], "")).Reason), "MD5 alone")
		})
	}
}

// RFC 8760 §2.3: the algorithms are offered in the order of the setting, and no others
// are taken.
func TestDigestAlgorithms(t *testing.T) {
	offered := func(algorithms ...auth.Algorithm) (list []string, f *fixture, r auth.Request) {
		f, r = newDigest(t, func(c *auth.Config) { c.Algorithms = algorithms })
		for _, h := range f.Check(r).Header {
			if h.Name == "WWW-Authenticate" {
				c, err := digest.ParseChallenge(h.Value)
				require.NoError(t, err)
				list = append(list, c.Algorithm)
			}
		}
		return list, f, r
	}
	list, _, _ := offered(auth.MD5, auth.SHA256)
	require.Equal(t, []string{"MD5", "SHA-256"}, list)
	list, f, r := offered(auth.SHA256)
	require.Equal(t, []string{"SHA-256"}, list)
	c, err := digest.ParseChallenge(f.Check(r).Header[1].Value)
	require.NoError(t, err)
	require.Equal(t, auth.Accept, f.Check(respond(t, r, c, `DE\tom`, "secret", 1)).Verdict)
	c.Algorithm = "MD5"
	require.Equal(t, "malformed", auth.Reason(f.Check(respond(t, r, c, `DE\tom`, "secret", 2)).Reason))
	list, _, _ = offered([]auth.Algorithm{}...)
	require.Equal(t, []string{"SHA-256", "MD5"}, list)

	for _, bad := range []auth.Config{
		{Algorithms: []auth.Algorithm{"SHA-512"}},
		{Algorithms: []auth.Algorithm{auth.MD5, auth.MD5}},
		{Algorithms: []auth.Algorithm{auth.SHA256}, OldDigest: auth.OverTLS},
		{OldDigest: "yes"},
	} {
		bad.Mode = auth.ModeOff
		_, err := auth.New(bad)
		require.Error(t, err)
	}
}

// A client of the Digest dialect that brings X-BSS-rauth is taken by that.
func TestRauthBeforeDigest(t *testing.T) {
	f, r := newDigest(t, nil)
	r.Rauth = "AAAA"
	d := f.Check(r)
	d = f.Check(f.answer(r, d, `DE\tom`, "secret"))
	require.Equal(t, auth.Accept, d.Verdict)
	r.Rauth = ""
	require.Equal(t, auth.Accept, f.Check(r).Verdict)
}

// BSP-2.10-2: mode optional asks for Digest by the User-Agent as well.
func TestDigestOptional(t *testing.T) {
	f, r := newDigest(t, func(c *auth.Config) {
		c.Mode = auth.ModeOptional
		c.Capable = func(userAgent string) bool { return strings.HasPrefix(userAgent, "Linphone/") }
	})
	require.Equal(t, auth.Accept, f.Check(r).Verdict)
	r.UserAgent = "Linphone/5"
	require.Equal(t, auth.Challenge, f.Check(r).Verdict)
}

// There are clients that give up at an algorithm that they do not know: only those
// for which there are secrets are offered.
func TestDigestOffersWhatAccountsHave(t *testing.T) {
	local, err := auth.NewLocalAccounts([]auth.Account{{
		Account:   "tom",
		DigestHA1: &auth.DigestHA1{Realm: "example.com", MD5: auth.HA1(auth.MD5, "tom", "example.com", []byte("secret"))},
	}})
	require.NoError(t, err)
	require.Equal(t, []auth.Algorithm{auth.MD5}, local.Algorithms())
	f, r := newDigest(t, func(c *auth.Config) { c.Verifier, c.Digest = local, local })
	d := f.Guard.Check(t.Context(), r)
	require.Len(t, d.Header, 2)
	require.Contains(t, d.Header[1].Value, "algorithm=MD5")
	c, err := digest.ParseChallenge(d.Header[1].Value)
	require.NoError(t, err)
	require.Equal(t, auth.Accept, f.Guard.Check(t.Context(), respond(t, r, c, "tom", "secret", 1)).Verdict)
}
