package auth

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName bounds an account name in bytes. Active Directory allows 20
// characters for the name, 15 for the domain and 1024 for a UPN that nobody has.
const maxName = 256

// Name is an account name as it was typed, in one of three forms: DOMAIN\user
// has both fields; a UPN (user@domain) and a plain name have User alone.
type Name struct{ Domain, User string }

// ParseName splits an account name. Space around its parts is trimmed. A name
// that is empty or too long (256 bytes), holds control characters, a colon, or
// a second backslash is [ErrMalformed].
func ParseName(s string) (Name, error) {
	if len(s) > maxName {
		return Name{}, fmt.Errorf("%w: account name longer than %d bytes", ErrMalformed, maxName)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, notInName) {
		return Name{}, fmt.Errorf("%w: character not allowed in an account name", ErrMalformed)
	}
	n := Name{User: s}
	if domain, user, ok := strings.Cut(s, `\`); ok {
		n = Name{Domain: strings.TrimSpace(domain), User: user}
	}
	n.User = strings.TrimSpace(n.User)
	if n.User == "" || strings.Contains(n.User, `\`) {
		return Name{}, fmt.Errorf("%w: account name is not DOMAIN\\user, user@domain or user", ErrMalformed)
	}
	return n, nil
}

func notInName(r rune) bool {
	return r == ':' || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// String returns the name as typed: DOMAIN\user or the user alone.
func (n Name) String() string {
	if n.Domain == "" {
		return n.User
	}
	return n.Domain + `\` + n.User
}

// Account returns the name normalized for comparison: in lower case. Different
// forms of one account (CORP\alice, alice@corp.example) stay different; only
// the directory knows that they are one.
func (n Name) Account() string { return n.key().String() }

// UPN reports whether the name is of the form user@domain.
func (n Name) UPN() bool { return n.Domain == "" && strings.Contains(n.User, "@") }

// bare returns the user part without any domain, in lower case.
func (n Name) bare() string {
	user := n.key().User
	if n.UPN() {
		user, _, _ = strings.Cut(user, "@")
	}
	return user
}

func (n Name) key() Name { return Name{fold(n.Domain), fold(n.User)} }

// fold maps to upper case first, so that letters with several lower-case forms
// (final sigma, long s) come out as one.
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }
