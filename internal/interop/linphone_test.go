package interop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func findLinphone(t *testing.T) string { return installed(t, "linphonec", "linphone-cli") }

// startLinphone starts a linphone without any device, as a user who watches
// friends, each alone or by a list, and publishes for four seconds at a time. It
// publishes only what is registered, so it needs a registrar before the server.
func startLinphone(t *testing.T, sbc *kamailio, transport, user, list string, friends ...string) *program {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(folder, ".local", "share", "linphone"), 0o700)) // it does not start without
	next := fmt.Sprintf("<sip:%s;transport=%s>", sbc.address, transport)
	byList, level := 0, "0"
	if list != "" {
		byList, level = 1, "6" // of a list it prints nothing but its log
	}
	text := fmt.Appendf(nil, `[sip]
sip_port=-1
sip_tcp_port=-1
sip_tls_port=0
default_proxy=0
register_only_when_network_is_up=0
guess_hostname=0
use_rls_presence=%[5]d
rls_uri=%[6]s
[proxy_0]
reg_proxy=%[1]s
reg_route=%[1]s
reg_identity=sip:%[2]s@%[3]s
reg_expires=600
reg_sendregister=1
publish=1
publish_expires=4
[auth_info_0]
username=%[2]s
passwd=%[4]s
realm=%[3]s
domain=%[3]s
[video]
capture=0
display=0
`, next, user, domain, password, byList, list)
	for i, friend := range friends {
		text = fmt.Appendf(text, "[friend_%d]\nurl=<sip:%s@%s>\npol=accept\nsubscribe=1\n", i, friend, domain)
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "linphonerc"), text, 0o600))
	return launch(t, folder, []string{"HOME=" + folder, "XDG_DATA_HOME=", "XDG_CONFIG_HOME="}, findLinphone(t), "-d", level, "-c", "linphonerc")
}

// A linphone watches a friend and publishes, with Digest by SHA-256, and takes
// both back when it ends: RFC 8760, RFC 3903 §6, RFC 3856; BSP-4-3, BSP-2.5-1,
// BSX-6.
func TestLinphone(t *testing.T) {
	findLinphone(t)
	findKamailio(t)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := serve(t, map[string]any{"limits": map[string]any{"min_expires": 1}})
			sbc := border(t, s, transport)
			bill := startLinphone(t, sbc, transport, "bill", "", "tom")
			s.eventually("he publishes", func() bool { return s.status("bill") == "available" })
			bill.prints(`Friend .*tom@example\.com.* is `)

			s.line(users["tom"], "busy")
			bill.prints(`Friend .*tom@example\.com.* is Busy`)

			// It refreshes by the entity-tag, which is another each time.
			tag := s.publication("bill").ETag
			s.eventually("a refresh", func() bool { return s.publication("bill").ETag != tag })
			last := s.publication("bill")
			require.Equal(t, "Standard", last.Dialect)
			require.Equal(t, "available", s.status("bill"))

			bill.says("quit")
			require.NoError(t, bill.wait())
			s.forgets()
			sbc.passesOn("NOTIFY", 3)
		})
	}
}

// A linphone watches its contacts by one list (RFC 4662, RFC 5367). It sends the list
// compressed, and takes compressed answers (BSX-14); it refreshes and ends it without a
// body, though it says that there is one; and a boundary in quotes would crash it.
func TestLinphoneList(t *testing.T) {
	findLinphone(t)
	findKamailio(t)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := serve(t, map[string]any{"limits": map[string]any{"min_expires": 1, "max_subscribe_expires": 4}})
			sbc := border(t, s, transport)
			bill := startLinphone(t, sbc, transport, "bill", "sip:rls@"+domain, "tom", "ann", "nobody")
			s.eventually("there is one subscription, to a list", func() bool {
				list := s.list("subscriptions")
				return len(list) == 1 && len(list[0].Resources) == 3 && list[0].Dialect == "Standard"
			})
			// It logs a body once it has expanded it.
			shows := func(user, activity string) {
				t.Helper()
				bill.prints(`(?s)Content-Encoding: deflate.*<resource uri="sip:` + user + `@.*entity="sip:` + user + `@example.com".*` + activity)
			}
			for _, user := range []string{"tom", "ann"} {
				shows(user, "signed out")
				s.line(users[user], "busy")
				shows(user, "<rpid:busy/>.*In a call|In a call.*<rpid:busy/>")
			}
			until := s.list("subscriptions")[0].Expires
			s.eventually("a refresh", func() bool {
				list := s.list("subscriptions")
				return len(list) == 1 && list[0].Expires.After(until)
			})

			bill.says("quit")
			require.NoError(t, bill.wait())
			s.forgets()
		})
	}
}
