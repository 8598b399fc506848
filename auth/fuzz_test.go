package auth_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/openblustar/blustar/auth"
)

// Whatever decrypts can be encrypted again, and then says the same.
func FuzzDecryptCredentials(f *testing.F) {
	f.Add("VUJDf4D4XJgP/K8mntoWjQSeSrU3n19P/J0fOiHb6U5Xz+lgE41HVEnql+HEji2WqWhuhzKmEP+W", digits)
	f.Add("VUJDf4D4XJgP/K8mntoWjQWeSrU3n19P/J0fOiHb6U5X\r\n 37GZ+bQD+tsiDCMybZGWyA==", digits)
	f.Add("VUJDf4D4XJgP/K8mntoWjQCeSrU3n19P/J0fOiHb6U5XuHoJzobnBpQ", digits)
	f.Add("VUJdf4D4XJgP/K8mntoWjQaJJYMr3NgESA41234+ctqYal3LLyZS6IoStfgJU1cH25xSkdJryoqeb", "")
	f.Add("", digits)
	f.Fuzz(func(t *testing.T, rauth, key string) {
		for name, cipher := range ciphers {
			c, err := auth.DecryptCredentials(cipher, key, rauth)
			if err != nil {
				continue
			}
			again, err := c.Encrypt(cipher, key)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			d, err := auth.DecryptCredentials(cipher, key, again)
			if err != nil || d.Name != c.Name || !bytes.Equal(d.Password.Reveal(), c.Password.Reveal()) {
				t.Fatalf("%s: %v %q became %v %q: %v", name, c.Name, c.Password.Reveal(), d.Name, d.Password.Reveal(), err)
			}
		}
	})
}

// Both ciphers give back what they were given, and nothing under another key.
func FuzzCiphers(f *testing.F) {
	f.Add(digits, []byte(`example\alice:secret`))
	f.Add("", []byte{})
	f.Add("foo123", []byte("AAAAAAAA"))
	f.Fuzz(func(t *testing.T, key string, text []byte) {
		for name, cipher := range ciphers {
			sealed, err := cipher.Encrypt(key, text)
			if err != nil {
				t.Fatal(name, err)
			}
			got, err := cipher.Decrypt(key, sealed)
			if err != nil || !bytes.Equal(got, text) {
				t.Fatalf("%s: %q became %q: %v", name, text, got, err)
			}
			if _, err := cipher.Decrypt("another "+key, sealed); err == nil {
				t.Fatalf("%s: decrypted with another key", name)
			}
		}
	})
}

// What parses has a name and a password that are safe to pass on, and prints as
// what parses again.
func FuzzParseCredentials(f *testing.F) {
	for _, s := range []string{`DE\tom:secret`, "tom@x.example:a:b", `\u:p\x`, ":", "a:", "\xff:\x00", "Ä\\ß:€"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := auth.ParseCredentials(text)
		if err != nil {
			return
		}
		name := c.Name.String()
		if c.Name.User == "" || c.Password.Len() == 0 || strings.ContainsAny(name, ":\x00\r\n") || bytes.ContainsAny(c.Password.Reveal(), "\x00\r\n") {
			t.Fatalf("%q gave %q", text, name)
		}
		again, err := auth.NewCredentials(name, c.Password.Reveal())
		if err != nil || again.Name.Account() != c.Name.Account() {
			t.Fatalf("%q became %q: %v", name, again.Name, err)
		}
	})
}

// No Authorization header brings the guard down, or lets anybody in without the
// password.
func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{
		`Basic realm="",uri="sip: 10.103.228.151:5060",username="de\ptest:h51%3k5$k3h"`,
		`Digest username="DE\\tom", realm="example.com", nonce="x", uri="sip:a", response="0", cnonce="c", qop=auth, nc=00000001`,
		`Basic username="a:b\"`, `Digest ,,=`, `basic a=b=c`, "Basic \t\r\n x=\"\\\"", "Digest a=\"\\\\\",b",
	} {
		f.Add(s)
	}
	guard, err := auth.New(auth.Config{
		Verifier: &verifier{}, Digest: localAccounts(f), Basic: auth.Anywhere, MaxFailures: -1,
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		for _, digest := range []bool{false, true} {
			r := auth.Request{Client: "c", Method: "SUBSCRIBE", Authorization: []string{header}, Digest: digest}
			if d := guard.Check(t.Context(), r); d.Verdict == auth.Accept || d.Verdict == auth.Unavailable {
				t.Fatalf("%v: %v", d.Verdict, d.Reason)
			}
		}
	})
}

// Names keep their account when printed and read again.
func FuzzParseName(f *testing.F) {
	for _, s := range []string{`DE\tom`, " tom ", "a@b", `\`, `a\b\c`, "\u200b", "ǅ\\ς", "İ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := auth.ParseName(s)
		if err != nil {
			return
		}
		again, err := auth.ParseName(n.String())
		if err != nil || again.Account() != n.Account() {
			t.Fatalf("%q became %q: %v", n, again, err)
		}
	})
}
