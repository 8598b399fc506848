package auth

import (
	"fmt"

	"golang.org/x/crypto/bcrypt"
)

// maxBcrypt is what bcrypt can hash; it would ignore the rest.
const maxBcrypt = 72

// HashPassword returns the bcrypt hash of a password for an accounts file. It takes some 50 ms
// by design. The error wraps [ErrMalformed] where no account can have the password: empty,
// longer than 72 bytes, not UTF-8, or with control characters.
func HashPassword(password []byte) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	if len(password) > maxBcrypt {
		return "", fmt.Errorf("%w: password longer than %d bytes", ErrMalformed, maxBcrypt)
	}
	h, err := bcrypt.GenerateFromPassword(password, bcrypt.DefaultCost)
	if err != nil {
		return "", fmt.Errorf("auth: hash password: %w", err)
	}
	return string(h), nil
}

// noPassword is a well-formed bcrypt hash of the given cost that no password is
// known for: comparing with it takes the time of an account that exists.
func noPassword(cost int) string {
	return fmt.Sprintf("$2a$%02d$......................0000000000000000000000000000000", cost)
}
