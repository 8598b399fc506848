package ldapdir

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/go-ldap/ldap/v3"
)

// ErrUnavailable is what every error is that says nothing about the address or the
// credentials but only that the directory could not answer: it is down, slow,
// busy, misconfigured, or refuses to be asked. Ask again later.
var ErrUnavailable = errors.New("ldapdir: directory unavailable")

// ErrClosed says that the directory was used after Close. It is an [ErrUnavailable].
var ErrClosed = fmt.Errorf("%w: closed", ErrUnavailable)

// An Error is a failed operation on a directory server. It is an [ErrUnavailable].
type Error struct {
	// Op is what failed: "connect", "bind" or "search".
	Op string
	// Server is the URL of the server.
	Server string
	// Err is the reason, an [ldap.Error] where the server gave one.
	Err error
}

func (e *Error) Error() string {
	return fmt.Sprintf("ldapdir: %s %s: %s", e.Op, e.Server, printable(e.Err.Error()))
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is [ErrUnavailable].
func (e *Error) Is(target error) bool { return target == ErrUnavailable }

// resultCode returns the code with which the server answered, RFC 4511 §4.1.9, and
// false if err is not an answer but a failure to get one.
func resultCode(err error) (uint16, bool) {
	var e *ldap.Error
	if !errors.As(err, &e) || e.ResultCode >= ldap.ErrorNetwork {
		return 0, false
	}
	return e.ResultCode, true
}

// printable makes text that a server sent fit for a log line: bounded, and without
// control characters (the diagnostics of Active Directory end in NUL).
func printable(s string) string {
	const limit = 300
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
