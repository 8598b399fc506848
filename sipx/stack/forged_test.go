package stack_test

import (
	"net"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// A response belongs to the request with its branch, whoever sends it. So a peer
// that has seen some branches must not know those of others: with a forged 481 it
// could end their subscriptions.
func TestBranchesCannotBeGuessed(t *testing.T) {
	s := listen(t, stack.Config{Listen: []string{"udp:127.0.0.1:0"}, TransactionTimeout: 100 * time.Millisecond})
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = peer.Close() }()
	form := regexp.MustCompile(`;branch=(z9hG4bK[^;]+)`)
	last := ""
	for range 50 {
		s.Send(options("sip:peer@"+peer.LocalAddr().String()), sipx.ResponseHandlerFunc(func(*sipx.Request, *sipx.Response, error) {}))
		buf := make([]byte, 4096)
		n, _, err := peer.ReadFrom(buf)
		require.NoError(t, err)
		branch := form.FindStringSubmatch(string(buf[:n]))[1]
		same := 0
		for same < min(len(branch), len(last)) && branch[same] == last[same] {
			same++
		}
		require.GreaterOrEqual(t, len(branch)-same, 10, "%s after %s", branch, last)
		last = branch
	}
}
