package interop_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// twinkle is a Twinkle without any device, which watches a buddy, and publishes.
type twinkle struct{ *program }

func findTwinkle(t *testing.T) string { return installed(t, "twinkle-console", "twinkle-console") }

// startTwinkle starts one. It has a port of its own, which it must be given: of those that
// somebody has it takes none, and another is tried.
func startTwinkle(t *testing.T, s *server, transport, user, buddy string) *twinkle {
	t.Helper()
	path := findTwinkle(t)
	for range 10 {
		home := t.TempDir()
		folder := filepath.Join(home, ".twinkle")
		require.NoError(t, os.Mkdir(folder, 0o700))
		for name, text := range map[string]string{
			"twinkle.sys": fmt.Sprintf("validate_audio_dev=no\nlog_show_sip=yes\nsip_port=%d\n", 20000+rand.N(10000)),
			user + ".cfg": fmt.Sprintf("user_name=%[1]s\nuser_domain=%[2]s\nauth_realm=\nauth_name=%[1]s\nauth_pass=%[3]s\noutbound_proxy=%[4]s\n"+
				"all_requests_to_proxy=yes\nregistrar=\nregister_at_startup=no\npres_subscription_time=600\npres_publication_time=600\n"+
				"pres_publish_startup=yes\nsip_transport=%[5]s\n", user, domain, password, s.listening(transport), transport),
			user + ".bud": fmt.Sprintf("%[1]s|%[1]s@%[2]s|y\n", buddy, domain),
		} {
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
		}
		tw := &twinkle{launch(t, folder, []string{"HOME=" + home}, path, user+".cfg")}
		if tw.prints(`Twinkle>|Failed to create a`)[0] == "Twinkle>" {
			return tw
		}
		_ = tw.stop()
	}
	missing(t, "no port between 20000 and 30000 is free")
	return nil
}

// answers waits until it has answered a NOTIFY 200. Its log has no more of it: bodies are cut off.
func (tw *twinkle) answers(number int) {
	tw.t.Helper()
	tw.logs("twinkle.log", fmt.Sprintf(`SIP/2.0 200 OK\r?\n(\S.*\n)*CSeq: %d NOTIFY\r?\nServer: Twinkle`, number))
}

// Twinkle watches a buddy and publishes, with Digest by MD5, and takes both back when it ends:
// RFC 3856, RFC 3903 §6; BSX-6, BSP-2.5-1, BSP-4-6.
func TestTwinkle(t *testing.T) {
	findTwinkle(t)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := serve(t, map[string]any{"auth": md5, "limits": map[string]any{"min_expires": 1}})
			ann := startTwinkle(t, s, transport, "ann", "tom")
			s.eventually("she publishes", func() bool { return s.status("ann") == "available" })
			s.eventually("she watches", func() bool { return len(s.list("subscriptions")) == 1 })
			require.Equal(t, "Standard", s.list("subscriptions")[0].Dialect)
			ann.answers(1)
			s.line(users["tom"], "busy")
			ann.answers(2)
			ann.says("presence -b offline")
			s.eventually("she is offline", func() bool { return s.status("ann") == "signed out" })

			ann.says("quit")
			_ = ann.wait()
			s.forgets()
		})
	}
}
