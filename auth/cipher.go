package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
)

// Cipher encrypts credentials under the key of a challenge: Encrypt is the
// client's half, Decrypt the server's.
//
// The key is the value of X-BSS-auth. Decrypt returns [ErrWrongKey] where it can
// tell that the text was not encrypted with this key, and [ErrMalformed] where
// the text is no output of this cipher; neither counts against anybody. The
// plaintext that it returns is the caller's, who wipes it. Implementations are
// safe for concurrent use and do not keep what they are given.
type Cipher interface {
	Encrypt(key string, plaintext []byte) ([]byte, error)
	Decrypt(key string, ciphertext []byte) ([]byte, error)
}

// Ciphers is a set of ciphers by their configured name. A host may add its own
// to the map that [StandardCiphers] returns.
type Ciphers map[string]Cipher

// StandardCiphers returns a new map of this package's ciphers: "tuz" and
// "aes-gcm".
func StandardCiphers() Ciphers {
	return Ciphers{"tuz": Tuz{}, "aes-gcm": AESGCM{}}
}

// Lookup returns the cipher of that name. The error lists the names.
func (c Ciphers) Lookup(name string) (Cipher, error) {
	if found := c[name]; found != nil {
		return found, nil
	}
	names := make([]string, 0, len(c))
	for n := range c {
		names = append(names, n)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("auth: no cipher %q, only %q", name, names)
}

// AESGCM is the cipher for clients that a host writes itself: AES-256-GCM with
// the SHA-256 of the challenge as key. Its output is nonce ‖ ciphertext ‖ tag.
// It knows a wrong key by the tag, and so cannot tell one from altered text.
type AESGCM struct{}

var _ Cipher = AESGCM{}

const gcmNonce = 12

// Encrypt uses a new random nonce each time.
func (AESGCM) Encrypt(key string, plaintext []byte) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	out := make([]byte, gcmNonce, gcmNonce+len(plaintext)+aead.Overhead())
	_, _ = rand.Read(out) // never fails, see crypto/rand
	return aead.Seal(out, out, plaintext, nil), nil
}

// Decrypt returns [ErrWrongKey] where the tag does not fit.
func (AESGCM) Decrypt(key string, ciphertext []byte) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	if len(ciphertext) < gcmNonce+aead.Overhead() {
		return nil, fmt.Errorf("%w: too short for aes-gcm", ErrMalformed)
	}
	text, err := aead.Open(nil, ciphertext[:gcmNonce], ciphertext[gcmNonce:], nil)
	if err != nil {
		return nil, ErrWrongKey
	}
	return text, nil
}

func gcm(key string) (cipher.AEAD, error) {
	sum := sha256.Sum256([]byte(key))
	defer clear(sum[:])
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		return nil, fmt.Errorf("auth: aes-gcm: %w", err)
	}
	return cipher.NewGCM(block)
}
