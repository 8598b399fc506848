package ldapdir_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/directory/ldapdir"
)

func TestConfigErrors(t *testing.T) {
	for want, change := range map[string]func(*ldapdir.Config){
		"URLs: missing":           func(c *ldapdir.Config) { c.URLs = nil },
		"URLs[1]":                 func(c *ldapdir.Config) { c.URLs = []string{"ldap://a", "http://b"} },
		"URLs[0]: not a URL":      func(c *ldapdir.Config) { c.URLs = []string{"ldap://a:b:c%zz"} },
		"not of the form":         func(c *ldapdir.Config) { c.URLs = []string{"ldap://a/dc=x??sub"} },
		`"ldap://u:xxxxx@a"`:      func(c *ldapdir.Config) { c.URLs = []string{"ldap://u:secret@a"} },
		"BaseDN: missing":         func(c *ldapdir.Config) { c.BaseDN = "" },
		"BaseDN: ":                func(c *ldapdir.Config) { c.BaseDN = "nonsense" },
		"Filter":                  func(c *ldapdir.Config) { c.Filter = "(objectClass=person" },
		"SIPAttributes and":       func(c *ldapdir.Config) { c.SIPAttributes, c.TelAttributes = nil, nil },
		`SIPAttributes: "a)(b"`:   func(c *ldapdir.Config) { c.SIPAttributes = []string{"a)(b"} },
		"TelAttributes: an empty": func(c *ldapdir.Config) { c.TelAttributes = []string{""} },
		"LineAttributes":          func(c *ldapdir.Config) { c.LineAttributes = []string{"*"} },
		"IDAttribute":             func(c *ldapdir.Config) { c.IDAttribute = "a b" },
		"TelFormats":              func(c *ldapdir.Config) { c.TelFormats = []string{"+1 425"} },
		"neither a digit":         func(c *ldapdir.Config) { c.TelFormats = []string{"+1 *###"} },
		"BindDN and":              func(c *ldapdir.Config) { c.BindPassword = ldapdir.PasswordSource{} },
		"Timeout":                 func(c *ldapdir.Config) { c.Timeout = -1 },
		"MaxConns":                func(c *ldapdir.Config) { c.MaxConns = -1 },
	} {
		cfg := newFakeServer().config()
		change(&cfg)
		_, err := ldapdir.New(cfg)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "ldapdir: ")
		require.NotContains(t, err.Error(), "secret")
	}

	_, err := ldapdir.NewADVerifier(ldapdir.ADConfig{Server: ldapdir.Server{URLs: []string{"ldap://a"}}})
	require.ErrorContains(t, err, "passwords need ldaps or StartTLS")
	_, err = ldapdir.NewADVerifier(ldapdir.ADConfig{Server: ldapdir.Server{URLs: []string{"ldaps://a"}}, DefaultDomain: `CORP\`})
	require.ErrorContains(t, err, "DefaultDomain")
	_, err = ldapdir.NewBindVerifier(ldapdir.BindConfig{Server: ldapdir.Server{URLs: []string{"ldaps://a"}}})
	require.ErrorContains(t, err, "BaseDN")
}

func TestLoadCA(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ca.pem")
	_, err := ldapdir.LoadCA(name)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(name, []byte("nonsense"), 0o600))
	_, err = ldapdir.LoadCA(name)
	require.ErrorContains(t, err, "no PEM certificate")
}

func TestSecret(t *testing.T) {
	b, err := json.Marshal(map[string]any{"s": ldapdir.Password("canary")})
	require.NoError(t, err)
	require.JSONEq(t, `{"s":"`+auth.Redacted+`"}`, string(b))
}

// What comes from outside cannot leave its place in a filter (RFC 4515 §3).
func TestFilter(t *testing.T) {
	build, err := ldapdir.Query("(objectClass=person)", []string{"mail", "proxyAddresses"}, []string{"telephoneNumber", "msRTCSIP-Line"}, []string{"+1 (###) ###-####"})
	require.NoError(t, err)
	for uri, want := range map[string]string{
		"sip:tom@x": "(&(objectClass=person)(|(mail=tom@x)(mail=sip:tom@x)(proxyAddresses=tom@x)(proxyAddresses=sip:tom@x)))",
		"tel:200":   "(&(objectClass=person)(|(telephoneNumber=200)(telephoneNumber=tel:200)(msRTCSIP-Line=200)(msRTCSIP-Line=tel:200)(msRTCSIP-Line=tel:200;*)))",
		"tel:+14255550102": "(&(objectClass=person)(|(telephoneNumber=+14255550102)(telephoneNumber=tel:+14255550102)(telephoneNumber=+1 \\28425\\29 555-0102)" +
			"(msRTCSIP-Line=+14255550102)(msRTCSIP-Line=tel:+14255550102)(msRTCSIP-Line=+1 \\28425\\29 555-0102)(msRTCSIP-Line=tel:+14255550102;*)))",
	} {
		require.Equal(t, want, build(address(t, uri)))
	}
	require.Contains(t, build(address(t, "sip:a*(b)%5c@x")), `(mail=a\2a\28b\29\5c@x)`)
}

func FuzzFilter(f *testing.F) {
	for _, uri := range []string{"sip:tom@x", "sip:a*(b)%5c@x", "sip:)(uid=*@x", "tel:+14255550102", "sip:%C3%A9@x", "tel:*#"} {
		f.Add(uri)
	}
	build, err := ldapdir.Query("(objectClass=person)", []string{"mail"}, []string{"telephoneNumber"}, []string{})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, uri string) {
		a, err := directory.ParseAddress(uri)
		if err != nil {
			return
		}
		p, err := ldap.CompileFilter(build(a))
		require.NoError(t, err)
		require.EqualValues(t, ldap.FilterAnd, p.Tag)
		require.Len(t, p.Children, 2)
		or := p.Children[1]
		require.EqualValues(t, ldap.FilterOr, or.Tag)
		for i, match := range or.Children {
			require.EqualValues(t, ldap.FilterEqualityMatch, match.Tag, "no presence, no substrings")
			require.Contains(t, []string{"mail", "telephoneNumber"}, match.Children[0].Data.String())
			if i == 0 {
				require.Equal(t, a.Value, match.Children[1].Data.String())
			}
		}
	})
}

func TestADReasonTexts(t *testing.T) {
	text := func(code string) string {
		return "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data " + code + ", v1db1\x00"
	}
	for code, want := range map[string]error{
		"525": auth.ErrUnknownAccount, "52e": auth.ErrBadPassword, "52f": auth.ErrNotPermitted, "530": auth.ErrNotPermitted,
		"531": auth.ErrNotPermitted, "532": auth.ErrPasswordExpired, "533": auth.ErrAccountDisabled, "569": auth.ErrNotPermitted,
		"701": auth.ErrAccountExpired, "773": auth.ErrMustChange, "775": auth.ErrAccountLocked, "52E": auth.ErrBadPassword,
		"0": auth.ErrBadCredentials, "zz": auth.ErrBadCredentials, "": auth.ErrBadCredentials,
	} {
		err := ldapdir.ADReason(text(code))
		require.ErrorIs(t, err, want, code)
		require.ErrorIs(t, err, auth.ErrBadCredentials, code)
	}
	// The user's own domain cannot be asked: BSP-2.10-9.
	for _, code := range []string{"51f", "6fd"} {
		err := ldapdir.ADReason(text(code))
		require.NotErrorIs(t, err, auth.ErrBadCredentials)
		require.ErrorIs(t, err, ldapdir.ErrUnavailable)
	}
	require.ErrorIs(t, ldapdir.ADReason(""), auth.ErrBadCredentials)
}

func FuzzADReason(f *testing.F) {
	for _, s := range []string{"", ", data 52e,", ", data ffffffffffff,", "80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 775, v1db1\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := ldapdir.ADReason(text)
		require.NotEqual(t, errors.Is(err, auth.ErrBadCredentials), errors.Is(err, ldapdir.ErrUnavailable), "one of both")
		require.Less(t, len(err.Error()), 600)
		require.False(t, strings.ContainsAny(err.Error(), "\x00\r\n"))
	})
}

func TestFormatGUID(t *testing.T) {
	require.Equal(t, "878ce8b7-2713-41a9-a765-5e3905ab5ef2", ldapdir.FormatGUID([16]byte{
		0xb7, 0xe8, 0x8c, 0x87, 0x13, 0x27, 0xa9, 0x41, 0xa7, 0x65, 0x5e, 0x39, 0x05, 0xab, 0x5e, 0xf2,
	}))
}
