package auth_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// BSP-4.3-7: credentials in the clear are ignored, unless over TLS, or the host
// insists; then they open a session.
func TestBasic(t *testing.T) {
	for _, c := range []struct {
		basic  auth.Where
		secure bool
		want   auth.Verdict
	}{
		{auth.Nowhere, false, auth.Challenge},
		{auth.Nowhere, true, auth.Challenge},
		{auth.OverTLS, false, auth.Challenge},
		{auth.OverTLS, true, auth.Accept},
		{auth.Anywhere, false, auth.Accept},
		{auth.Anywhere, true, auth.Accept},
	} {
		f := newFixture(t, func(cfg *auth.Config) { cfg.Basic = c.basic })
		f.verifier.passwords[`de\ptest`] = `h51%3k5$k3h`
		r := f.request("tom")
		r.Secure = c.secure
		r.Authorization = []string{`Basic realm="",uri="sip: 10.103.228.151:5060",username="de\ptest:h51%3k5$k3h"`} // §4.3
		for range 3 {
			d := f.Check(r)
			require.Equal(t, c.want, d.Verdict, "%+v", c)
			if c.want == auth.Accept {
				require.Equal(t, `de\ptest`, d.Identity.Account)
				require.EqualValues(t, 1, f.verifier.calls.Load())
			}
		}
		r.Authorization = nil
		require.Equal(t, c.want, f.Check(r).Verdict)
	}
}

func TestBasicForms(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.Basic = auth.Anywhere })
	f.verifier.passwords = map[string]string{
		`de\tom`: "secret", `de\a`: `x"y`, `de\b`: `back\`, `de\c`: `b\d`, "u@x.example": ":a:b",
	}
	for header, want := range map[string]string{
		`Basic username="de\tom:secret"`:                    "",
		`basic   username = "de\tom:secret" , realm=""`:     "",
		"Basic realm=\"\",\r\n username=\"de\\tom:secret\"": "",
		`Basic username="de\\tom:secret"`:                   "",
		`Basic username="de\a:x\"y"`:                        "",
		`Basic username="de\b:back\"`:                       "",
		`Basic username="de\c:b\d"`:                         "",
		`Basic username="u@x.example::a:b"`:                 "",
		`Basic username="de\tom:wrong"`:                     "bad_password",
		`Basic username="de\tom:"`:                          "malformed",
		`Basic username="de\tom"`:                           "malformed",
		`Basic realm=""`:                                    "malformed",
		`Basic username="de\tom:secret`:                     "malformed",
		`Basic username="de\tom:secret" x`:                  "malformed",
		`Basic ZGVcdG9tOnNlY3JldA==`:                        "malformed",
		`Basic username="a:b",username="de\tom:secret"`:     "malformed",
		`Basicusername="de\tom:secret"`:                     "no_credentials",
	} {
		r := f.request("tom")
		r.Client = header
		r.Authorization = []string{"Digest x", header}
		d := f.Check(r)
		require.Equal(t, want, auth.Reason(d.Reason), header)
	}
}

// BSP-2.10-11 wins over BSP-4.3-7.
func TestBasicRequireTLS(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.Basic, c.RequireTLS = auth.Anywhere, true })
	r := f.request("tom")
	r.Authorization = []string{`Basic username="DE\tom:secret"`}
	require.ErrorIs(t, f.Check(r).Reason, auth.ErrTLSRequired)
	require.Zero(t, f.verifier.calls.Load())
}
