package subscriber_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/subscriber"
	"github.com/openblustar/blustar/sipx"
)

func answer(req *sipx.Request, res *sipx.Response) (sipx.Field, error) {
	return subscriber.Digest(req, res, "tom", "s3cret")
}

func challenge(status int, value string) *sipx.Response {
	name := "WWW-Authenticate"
	if status == 407 {
		name = "Proxy-Authenticate"
	}
	return sipx.NewResponse(status, field(name, "Basic"), field(name, value))
}

// play gives the exchange one response after the other, and returns the last
// request and outcome.
func play(t *testing.T, x *subscriber.Exchange, responses ...*sipx.Response) (*sipx.Request, *subscriber.Failure) {
	var req *sipx.Request
	for i, res := range responses {
		req = &sipx.Request{Method: "PUBLISH", URI: ann, Body: []byte("open")}
		x.Complete(req)
		again, failure := x.Again(req, res)
		if i == len(responses)-1 {
			require.False(t, again)
			return req, failure
		}
		require.True(t, again, "response %d", i)
		require.Nil(t, failure)
	}
	return nil, nil
}

// Each kind of challenge is answered once, and once more after a stale nonce; the
// answers to both go together.
func TestChallenges(t *testing.T) {
	const one, stale = `Digest realm="r", nonce="1"`, `Digest realm="r", nonce="2", stale=true`
	ok := sipx.NewResponse(200)
	for name, test := range map[string]struct {
		responses []*sipx.Response
		refused   bool
	}{
		"both":         {[]*sipx.Response{challenge(407, one), challenge(401, one), ok}, false},
		"stale":        {[]*sipx.Response{challenge(407, one), challenge(401, one), challenge(401, stale), challenge(407, stale), ok}, false},
		"refused":      {[]*sipx.Response{challenge(407, one), challenge(401, one), challenge(401, one)}, true},
		"always stale": {[]*sipx.Response{challenge(401, one), challenge(407, stale), challenge(407, stale), challenge(407, stale)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			req, failure := play(t, &subscriber.Exchange{Answer: answer}, test.responses...)
			require.Equal(t, test.refused, failure != nil && failure.Refused())
			require.NotEmpty(t, req.Header.Get("Authorization"))
			require.NotEmpty(t, req.Header.Get("Proxy-Authorization"))
			require.Len(t, req.Header, 3, "with Expires")
		})
	}
}

// RFC 8760; auth-int covers the body (RFC 7616 §3.4.3).
func TestDigest(t *testing.T) {
	body := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("open")), nil }
	for _, value := range []string{`Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"`, `Digest realm="r", nonce="n", qop="auth-int"`} {
		req, failure := play(t, &subscriber.Exchange{Answer: answer}, challenge(407, value), sipx.NewResponse(200))
		require.Nil(t, failure)
		got, err := digest.ParseCredentials(req.Header.Get("Proxy-Authorization"))
		require.NoError(t, err)
		c, err := digest.ParseChallenge(value)
		require.NoError(t, err)
		want, err := digest.Digest(c, digest.Options{
			Method: "PUBLISH", URI: ann.String(), GetBody: body, Cnonce: got.Cnonce, Username: "tom", Password: "s3cret",
		})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestChallengeWithoutAnswer(t *testing.T) {
	long := `Digest realm="r", nonce="` + strings.Repeat("n", 2048) + `"`
	for _, value := range []string{"Digest", long, `Digest realm="r", nonce="n", algorithm=MD4`, `Digest realm="r", nonce="n", qop=other`} {
		_, failure := play(t, &subscriber.Exchange{Answer: answer}, challenge(401, value))
		require.ErrorContains(t, failure.Err, "cannot be answered")
		require.False(t, failure.Refused())
	}
	_, err := subscriber.Digest(&sipx.Request{}, challenge(401, `Digest realm="r", nonce="n"`), "", "")
	require.ErrorContains(t, err, "no credentials")
}

// RFC 6665 §4.1.2.1: 423 names the shortest lifetime.
func TestIntervalTooBrief(t *testing.T) {
	brief := func(least string) *sipx.Response { return sipx.NewResponse(423, field("Min-Expires", least)) }
	x := &subscriber.Exchange{Expires: time.Minute}
	req, failure := play(t, x, brief("120"), brief("240"))
	require.Equal(t, 423, failure.Status)
	require.Equal(t, "120", req.Header.Get("Expires"))

	require.Equal(t, 2*time.Minute, x.Granted(sipx.NewResponse(200)))
	for granted, want := range map[string]time.Duration{"60": time.Minute, "0": time.Second, "999999999999": 2 * time.Minute, "x": 2 * time.Minute} {
		require.Equal(t, want, x.Granted(sipx.NewResponse(200, field("Expires", granted))), granted)
	}
	for _, nonsense := range []string{"", "60", "86401", "99999999999", "x"} {
		_, failure := play(t, &subscriber.Exchange{Expires: time.Minute}, brief(nonsense))
		require.Equal(t, 423, failure.Status, nonsense)
	}
	_, failure = play(t, &subscriber.Exchange{}, brief("60"))
	require.Equal(t, 423, failure.Status, "an end has no lifetime")
}

func TestFailure(t *testing.T) {
	res := sipx.NewResponse(503, field("Retry-After", "20 (busy);duration=3"))
	res.Reason = strings.Repeat("x", 4000)
	_, failure := play(t, &subscriber.Exchange{}, res)
	require.Equal(t, &subscriber.Failure{Status: 503, Reason: strings.Repeat("x", 128), RetryAfter: 20 * time.Second}, failure)
	_, failure = play(t, &subscriber.Exchange{}, sipx.NewResponse(503, field("Retry-After", "999999999999")))
	require.Equal(t, time.Hour, failure.RetryAfter)
}

// FuzzChallenge shows that no challenge can harm, or make us tell the password.
func FuzzChallenge(f *testing.F) {
	for _, s := range []string{
		`Digest realm="pbx", nonce="1"`, `Digest realm="pbx", nonce="1", algorithm=SHA-256, qop="auth,auth-int", opaque="o", userhash=true`,
		`Digest realm="pbx", nonce="1", qop=auth-int, stale=TRUE, domain="sip:x"`, `Digest `, `Digest realm=",=`, `digest nonce=\"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		answer, err := answer(&sipx.Request{Method: "SUBSCRIBE", URI: ann}, challenge(401, value))
		require.Equal(t, err == nil, answer.Value != "")
		if !strings.Contains(value, "s3cret") {
			require.NotContains(t, answer.Value, "s3cret")
		}
	})
}
