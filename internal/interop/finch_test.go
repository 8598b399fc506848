package interop_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func findFinch(t *testing.T) string { return installed(t, "finch", "finch") }

// startFinch starts a Finch, which is Pidgin in a terminal, as a user behind a proxy who has
// one buddy, and publishes.
func startFinch(t *testing.T, proxy *kamailio, transport, user, buddy string) *program {
	t.Helper()
	folder := t.TempDir()
	host, port, err := net.SplitHostPort(proxy.address)
	require.NoError(t, err)
	udp := 0
	if transport == "udp" {
		udp = 1
	}
	account := user + "@" + domain
	for name, text := range map[string]string{
		"accounts.xml": fmt.Sprintf(`<?xml version='1.0' encoding='UTF-8' ?>
<account version='1.0'><account><protocol>prpl-simple</protocol><name>%s</name><password>%s</password>
<settings><setting name='port' type='int'>%s</setting><setting name='udp' type='bool'>%d</setting>
<setting name='dopublish' type='bool'>1</setting><setting name='doservicesubscribe' type='bool'>0</setting>
<setting name='useproxy' type='bool'>1</setting><setting name='proxy' type='string'>%s</setting></settings>
<settings ui='gnt-purple'><setting name='auto-login' type='bool'>1</setting></settings></account></account>
`, account, password, port, udp, host),
		"blist.xml": fmt.Sprintf(`<?xml version='1.0' encoding='UTF-8' ?>
<purple version='1.0'><blist><group name='Buddies'><contact><buddy account='%[1]s' proto='prpl-simple'><name>sip:%[2]s@%[3]s</name></buddy></contact></group></blist>
<privacy><account proto='prpl-simple' name='%[1]s' mode='1'/></privacy></purple>
`, account, buddy, domain),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	// It needs a terminal, which script(1) gives it, and says in its log what it does.
	return launch(t, folder, []string{"HOME=" + folder, "TERM=xterm"}, installed(t, "script", "bsdutils"),
		"-qec", findFinch(t)+" -d -c . 2>log", "/dev/null")
}

// Finch watches a buddy and publishes through a proxy, with Digest as of RFC 2069: RFC 3856,
// RFC 3903; BSX-5, BSX-6, BSP-2.5-1. Its answers go to the proxy, whoever asked; so NOTIFYs take
// that way too. It ends without waiting for answers: what it has left expires, so the server is
// stopped before.
func TestFinch(t *testing.T) {
	findFinch(t)
	findKamailio(t)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := serve(t, map[string]any{
				"auth": map[string]any{"digest_algorithms": []string{"MD5"}, "allow_old_digest": "insecure"}, "nat": "always",
			})
			proxy := border(t, s, transport, "PLAIN")
			ann := startFinch(t, proxy, transport, "ann", "tom")
			s.eventually("she publishes", func() bool { return s.status("ann") == "available" })
			s.eventually("she watches", func() bool { return len(s.list("subscriptions")) == 1 })
			ann.logs("log", `CSeq: 1 NOTIFY`)
			s.line(users["tom"], "busy")
			ann.logs("log", `CSeq: 2 NOTIFY`)
			_ = s.stop()
			ann.logs("log", `Subscription-State: terminated`)
			proxy.passesOn("NOTIFY", 3)
		})
	}
}
