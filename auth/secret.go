package auth

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted stands wherever a secret would be printed.
const Redacted = "[redacted]"

// Secret holds a password. However it is printed, logged or marshaled, only
// [Redacted] comes out, also as a field of something else. The zero Secret is
// empty. Copies share their bytes, so that one Wipe wipes all.
type Secret struct {
	// Behind two pointers: fmt prints the unexported fields of a struct without
	// asking for their methods, and for some verbs follows one.
	b **[]byte
}

// NewSecret takes the bytes over; the caller must not use them afterwards.
func NewSecret(b []byte) Secret {
	p := &b
	return Secret{b: &p}
}

// Reveal returns the bytes themselves, not a copy. Do not keep them: they are zeroed by Wipe.
func (s Secret) Reveal() []byte {
	if s.b == nil {
		return nil
	}
	return **s.b
}

// Len returns the number of bytes.
func (s Secret) Len() int { return len(s.Reveal()) }

// Clone returns a copy with bytes of its own.
func (s Secret) Clone() Secret { return NewSecret(append([]byte(nil), s.Reveal()...)) }

// Wipe overwrites the bytes with zeros and empties the secret. It must not run
// beside other uses of the same secret.
func (s Secret) Wipe() {
	if s.b == nil {
		return
	}
	clear((**s.b)[:cap(**s.b)])
	**s.b = nil
}

// String returns [Redacted].
func (Secret) String() string { return Redacted }

// Format writes [Redacted] for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// LogValue returns [Redacted].
func (Secret) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText returns [Redacted], for JSON too.
func (Secret) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
