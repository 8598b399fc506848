package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/openblustar/blustar/auth/internal/authorization"
)

const (
	// maxPassword bounds a password in bytes; Active Directory's limit is 256
	// UTF-16 characters.
	maxPassword = 1024
	// maxRauth bounds an X-BSS-rauth value, folds and spaces included.
	maxRauth = 4096
)

// Credentials are an account name and a password on their way to a [Verifier].
type Credentials struct {
	Name     Name
	Password Secret
	// AMCC says that the account must be one of a mobile client controller
	// (§2.11); without it such an account must be refused.
	AMCC bool
}

// NewCredentials makes credentials of a name in any of the forms of [ParseName]
// and a password, whose bytes it copies. The error wraps [ErrMalformed] and
// means that no account can have them: the name does not parse, or the password
// is empty, not UTF-8, longer than 1024 bytes, or holds control characters.
func NewCredentials(name string, password []byte) (Credentials, error) {
	n, err := ParseName(name)
	if err != nil {
		return Credentials{}, err
	}
	if err := checkPassword(password); err != nil {
		return Credentials{}, err
	}
	return Credentials{Name: n, Password: NewSecret(bytes.Clone(password))}, nil
}

// ParseCredentials reads `domain\username:password` (§2.10). The first colon ends the name; a
// password may hold colons and backslashes. Text that is not UTF-8 is read as Windows-1252.
// Errors are those of [NewCredentials]. The input is not kept: wiping it is the caller's.
func ParseCredentials(text []byte) (Credentials, error) {
	if !utf8.Valid(text) {
		text = fromWindows1252(text)
		defer clear(text)
	}
	name, password, ok := bytes.Cut(text, []byte(":"))
	if !ok {
		return Credentials{}, fmt.Errorf("%w: no colon after the account name", ErrMalformed)
	}
	return NewCredentials(string(name), password)
}

// fromWindows1252 returns the text in UTF-8 (BSP-2.10-4). The five bytes that stand
// for nothing become control characters, which no account name or password has.
func fromWindows1252(text []byte) []byte {
	const high = "\u20AC\u0081\u201A\u0192\u201E\u2026\u2020\u2021\u02C6\u2030\u0160\u2039\u0152\u008D\u017D\u008F" +
		"\u0090\u2018\u2019\u201C\u201D\u2022\u2013\u2014\u02DC\u2122\u0161\u203A\u0153\u009D\u017E\u0178"
	table := []rune(high)
	out := make([]byte, 0, 3*len(text)) // never grows, so that no copy stays behind
	for _, b := range text {
		r := rune(b)
		if 0x80 <= b && b < 0xA0 {
			r = table[b-0x80]
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// checkPassword refuses what must never reach a directory: an LDAP bind with an
// empty password succeeds as anonymous (RFC 4513 §5.1.2, BSP-2.10-7).
func checkPassword(p []byte) error {
	switch {
	case len(p) == 0:
		return fmt.Errorf("%w: empty password", ErrMalformed)
	case len(p) > maxPassword:
		return fmt.Errorf("%w: password longer than %d bytes", ErrMalformed, maxPassword)
	case !utf8.Valid(p) || bytes.ContainsFunc(p, unicode.IsControl):
		return fmt.Errorf("%w: character not allowed in a password", ErrMalformed)
	}
	return nil
}

// IsZero reports whether there are no credentials.
func (c Credentials) IsZero() bool { return c.Name == Name{} && c.Password.b == nil }

// Wipe overwrites the password.
func (c Credentials) Wipe() { c.Password.Wipe() }

// Encrypt returns the value of X-BSS-rauth for the key of an X-BSS-auth
// challenge: what a client answers a 401 with. It may be called again for
// another key. The error is the cipher's, or says that there is none.
func (c Credentials) Encrypt(with Cipher, key string) (string, error) {
	if with == nil {
		return "", errors.New("auth: no cipher to encrypt credentials with")
	}
	name := c.Name.String()
	text := make([]byte, 0, len(name)+1+c.Password.Len())
	text = append(append(append(text, name...), ':'), c.Password.Reveal()...)
	defer clear(text)
	sealed, err := with.Encrypt(key, text)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(sealed), nil
}

// DecryptCredentials reads an X-BSS-rauth value: the server's half of
// [Credentials.Encrypt]. The error is or wraps [ErrWrongKey] or [ErrMalformed].
func DecryptCredentials(with Cipher, key, rauth string) (Credentials, error) {
	sealed, err := decodeRauth(rauth)
	if err != nil {
		return Credentials{}, err
	}
	return decrypt(with, key, sealed)
}

func decrypt(with Cipher, key string, sealed []byte) (Credentials, error) {
	text, err := with.Decrypt(key, sealed)
	if err != nil {
		return Credentials{}, err
	}
	defer clear(text)
	return ParseCredentials(text)
}

// decodeRauth undoes the base64, tolerating folds, spaces and absent padding (BSP-2.10-4).
func decodeRauth(rauth string) ([]byte, error) {
	if len(rauth) > maxRauth {
		return nil, fmt.Errorf("%w: X-BSS-rauth longer than %d bytes", ErrMalformed, maxRauth)
	}
	text := strings.TrimRight(strings.Join(strings.Fields(rauth), ""), "=")
	sealed, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(sealed) == 0 {
		return nil, fmt.Errorf("%w: X-BSS-rauth is not base64", ErrMalformed)
	}
	return sealed, nil
}

// parseBasic reads the form that the document prints in §4.3: `realm="",uri="…",
// username="domain\user:password"` (BSP-4.3-7).
func parseBasic(params string) (Credentials, error) {
	p, err := authorization.Params(params)
	if err != nil {
		return Credentials{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	text := []byte(p["username"])
	defer clear(text)
	return ParseCredentials(text)
}
