package auth_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// The layout of aes-gcm, made here by hand: the key is the SHA-256 of the
// challenge's characters, the text is nonce ‖ ciphertext ‖ tag (BSP-2.10-5).
func TestAESGCMLayout(t *testing.T) {
	sum := sha256.Sum256([]byte(digits))
	block, err := aes.NewCipher(sum[:])
	require.NoError(t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(t, err)
	nonce := []byte("twelve bytes")
	sealed := aead.Seal(nonce, nonce, []byte(`example\alice:secret`), nil)

	c, err := auth.DecryptCredentials(auth.AESGCM{}, digits, base64(sealed))
	require.NoError(t, err)
	require.Equal(t, `example\alice`, c.Name.String())
	require.Equal(t, "secret", string(c.Password.Reveal()))

	ours, err := auth.AESGCM{}.Encrypt(digits, []byte("x"))
	require.NoError(t, err)
	text, err := aead.Open(nil, ours[:12], ours[12:], nil)
	require.NoError(t, err)
	require.Equal(t, "x", string(text))
	again, err := auth.AESGCM{}.Encrypt(digits, []byte("x"))
	require.NoError(t, err)
	require.NotEqual(t, ours, again, "a nonce is used once")

	sealed[20]++
	_, err = auth.AESGCM{}.Decrypt(digits, sealed)
	require.ErrorIs(t, err, auth.ErrWrongKey)
	_, err = auth.AESGCM{}.Decrypt(digits, sealed[:27])
	require.ErrorIs(t, err, auth.ErrMalformed)
}

// Any header that begins "Tuzo v" is that of a container; only the first 48
// characters of the key count.
func TestTuzTolerance(t *testing.T) {
	sealed, err := auth.Tuz{}.Encrypt(digits, []byte("d\\u:1234"))
	require.NoError(t, err)
	text, err := auth.Tuz{}.Decrypt(digits[:48]+"ignored", sealed)
	require.NoError(t, err)
	require.Equal(t, "d\\u:1234", string(text))
	_, err = auth.Tuz{}.Decrypt("x"+digits[1:], sealed)
	require.ErrorIs(t, err, auth.ErrWrongKey)

	// ECB: the header's second block may be swapped for any other.
	copy(sealed[25:33], sealed[33:41])
	text, err = auth.Tuz{}.Decrypt(digits, sealed)
	require.NoError(t, err)
	require.Equal(t, "d\\u:1234", string(text))
}

// ciphers are those of the package by name.
var ciphers = map[string]auth.Cipher{"tuz": auth.Tuz{}, "aes-gcm": auth.AESGCM{}}

func TestCipherNamed(t *testing.T) {
	for name, want := range ciphers {
		found, err := auth.CipherNamed(name)
		require.NoError(t, err)
		require.Equal(t, want, found)
	}
	_, err := auth.CipherNamed("rot13")
	require.EqualError(t, err, `auth: no cipher "rot13", only "tuz" and "aes-gcm"`)
}

// rot13 is a host's cipher that fails in its own words.
type rot13 struct{}

var errRot13 = errors.New("rot13: the password was " + canary)

func (rot13) Encrypt(string, []byte) ([]byte, error) { return nil, errRot13 }
func (rot13) Decrypt(string, []byte) ([]byte, error) { return nil, errRot13 }

// BSP-2.10-6: whatever a host's cipher says is a 401, and is not repeated.
func TestCipherFails(t *testing.T) {
	f := newFixture(t, func(c *auth.Config) { c.Cipher = rot13{} })
	r := f.request("tom")
	key(t, f.Check(r))
	r.Rauth = "AAAA"
	d := f.Check(r)
	require.Equal(t, auth.Challenge, d.Verdict)
	require.ErrorIs(t, d.Reason, auth.ErrMalformed)
	requireNoCanary(t, d.Reason.Error())

	c, err := auth.NewCredentials("tom", []byte("x"))
	require.NoError(t, err)
	_, err = c.Encrypt(rot13{}, digits)
	require.ErrorIs(t, err, errRot13)
}
