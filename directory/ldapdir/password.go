package ldapdir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/openblustar/blustar/auth"
)

// maxSecretFile bounds what is read of a password file, in bytes.
const maxSecretFile = 4096

// A PasswordSource is where a password comes from. It is asked at each bind, so
// that a changed password is used without a restart, and shows itself to nobody:
// logs, errors, JSON and %#v print a placeholder. The zero PasswordSource has no
// password. It is safe for concurrent use.
type PasswordSource struct {
	read func() (string, error)
}

// Password returns a PasswordSource that is this password.
func Password(password string) PasswordSource {
	return PasswordSource{read: func() (string, error) { return password, nil }}
}

// PasswordFile returns a PasswordSource that reads a file each time, without the line
// break at its end. The file is not read before the first bind.
func PasswordFile(name string) PasswordSource {
	return PasswordSource{read: func() (string, error) {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
		if err != nil {
			return "", err
		}
		if len(b) > maxSecretFile {
			return "", fmt.Errorf("%s: longer than %d bytes", name, maxSecretFile)
		}
		return string(bytes.TrimRight(b, "\r\n")), nil
	}}
}

// PasswordFunc returns a PasswordSource that f provides. It is called by several
// goroutines at once and must not put the password into its errors.
func PasswordFunc(f func() (string, error)) PasswordSource { return PasswordSource{read: f} }

// isZero reports whether there is no password at all.
func (s PasswordSource) isZero() bool { return s.read == nil }

// reveal returns the password, which is never empty.
func (s PasswordSource) reveal() (string, error) {
	if s.read == nil {
		return "", errors.New("no bind password")
	}
	p, err := s.read()
	if err != nil {
		return "", fmt.Errorf("bind password: %w", err)
	}
	if p == "" {
		// A simple bind without password succeeds, as nobody (RFC 4513 §5.1.2).
		return "", errors.New("the bind password is empty")
	}
	return p, nil
}

// String returns a placeholder.
func (s PasswordSource) String() string { return auth.Redacted }

// GoString returns a placeholder.
func (s PasswordSource) GoString() string { return auth.Redacted }

// LogValue returns a placeholder.
func (s PasswordSource) LogValue() slog.Value { return slog.StringValue(auth.Redacted) }

// MarshalText returns a placeholder.
func (s PasswordSource) MarshalText() ([]byte, error) { return []byte(auth.Redacted), nil }
