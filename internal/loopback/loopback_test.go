package loopback_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/loopback"
)

// What decides whether a token or encryption is needed takes nothing for loopback that may
// be elsewhere (BSX-10).
func TestIs(t *testing.T) {
	for _, own := range []string{"localhost", "LOCALHOST:8080", "127.0.0.1", "127.9.9.9:1", "::1", "[::1]", "[::1]:8080", "::ffff:127.0.0.1", "[::ffff:127.0.0.1]:1"} {
		require.True(t, loopback.Is(own), own)
	}
	for _, other := range []string{"", ":8080", "0.0.0.0:8080", "[::]:8080", "::", "localhost.example.com", "127.0.0.1.example.com:80", "127.1",
		"2130706433", "0x7f.0.0.1", "192.0.2.1:8080", "localhost:80:80", "::1%eth0.example.com", "[::1].example.com"} {
		require.False(t, loopback.Is(other), other)
	}
}
