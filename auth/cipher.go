package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/openblustar/blustar/auth/internal/tuz"
)

// Cipher encrypts credentials under the key of a challenge: Encrypt is the
// client's half, Decrypt the server's.
//
// The key is the value of X-BSS-auth. Decrypt returns [ErrWrongKey] where it can tell that the
// text was not encrypted with this key, and [ErrMalformed] where the text is no output of this
// cipher; neither counts against anybody. The plaintext that it returns is the caller's, who
// wipes it. Implementations are safe for concurrent use and do not keep what they are given.
type Cipher interface {
	Encrypt(key string, plaintext []byte) ([]byte, error)
	Decrypt(key string, ciphertext []byte) ([]byte, error)
}

// CipherNamed returns one of this package's ciphers, "tuz" or "aes-gcm".
func CipherNamed(name string) (Cipher, error) {
	switch name {
	case "tuz":
		return Tuz{}, nil
	case "aes-gcm":
		return AESGCM{}, nil
	}
	return nil, fmt.Errorf(`auth: no cipher %q, only "tuz" and "aes-gcm"`, name)
}

// Tuz is the vendor's cipher, that of encrypted configuration files (.tuz), as §2.10
// asks for: triple DES in ECB mode, of which Decrypt knows a wrong key by the first
// blocks. Only the first 48 characters of the key count.
// It protects nothing from who can see the challenge; use TLS.
type Tuz struct{}

// Encrypt returns a whole container. The plaintext should not end in NUL bytes, which
// are what pads it.
func (Tuz) Encrypt(key string, plaintext []byte) ([]byte, error) { return tuz.Encrypt(key, plaintext) }

// Decrypt returns [ErrWrongKey] or wraps [ErrMalformed].
func (Tuz) Decrypt(key string, ciphertext []byte) ([]byte, error) {
	text, err := tuz.Decrypt(key, ciphertext)
	switch {
	case errors.Is(err, tuz.ErrKey):
		return nil, ErrWrongKey
	case errors.Is(err, tuz.ErrForm):
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return text, err
}

// AESGCM is the cipher for clients that a host writes itself: AES-256-GCM with
// the SHA-256 of the challenge as key. Its output is nonce ‖ ciphertext ‖ tag.
// It knows a wrong key by the tag, and so cannot tell one from altered text.
type AESGCM struct{}

// Encrypt uses a new random nonce each time.
func (AESGCM) Encrypt(key string, plaintext []byte) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plaintext, nil), nil
}

// Decrypt returns [ErrWrongKey] where the tag does not fit.
func (AESGCM) Decrypt(key string, ciphertext []byte) ([]byte, error) {
	aead, err := gcm(key)
	if err != nil {
		return nil, err
	}
	if len(ciphertext) < aead.Overhead() {
		return nil, fmt.Errorf("%w: too short for aes-gcm", ErrMalformed)
	}
	text, err := aead.Open(nil, nil, ciphertext, nil)
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
	return cipher.NewGCMWithRandomNonce(block)
}
