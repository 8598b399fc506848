package interop_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// baresip is a baresip, as a user of the Standard dialect: it watches a contact,
// and publishes.
type baresip struct {
	*program
	control string
}

// findBaresip returns the paths of the program and of its modules.
func findBaresip(t *testing.T) (program, modules string) {
	t.Helper()
	program = installed(t, "baresip", "baresip-core")
	found, _ := filepath.Glob("/usr/lib*/baresip/modules")
	if len(found) == 0 {
		missing(t, "the modules of baresip are not installed (Debian: baresip-core)")
	}
	return program, found[0]
}

// startBaresip starts one without any device. It keeps what it publishes alive
// for four seconds at a time. It has a password for who asks.
func startBaresip(t *testing.T, s *server, transport, user, contact string) *baresip {
	t.Helper()
	path, modules := findBaresip(t)
	folder := t.TempDir()
	b := &baresip{control: net.JoinHostPort(ownAddress(t), "4444")}
	for name, text := range map[string]string{
		"config": "sip_listen 127.0.0.1:0\nnet_interface 127.0.0.1\nctrl_tcp_listen " + b.control + "\n" +
			"module_path " + modules + "\nmodule ctrl_tcp.so\nmodule_tmp uuid.so\nmodule_tmp account.so\n" +
			"module_app contact.so\nmodule_app menu.so\nmodule_app presence.so\n",
		"accounts": fmt.Sprintf("<sip:%[1]s@%[2]s>;outbound=\"sip:%[3]s;transport=%[4]s\";regint=0;pubint=4;auth_user=%[1]s;auth_pass=%[5]s\n",
			user, domain, s.listening(transport), transport, password),
		"contacts": fmt.Sprintf("<sip:%s@%s>;presence=p2p\n", contact, domain),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	b.program = launch(t, folder, nil, path, "-f", folder, "-s")
	b.prints(`baresip is ready`)
	return b
}

// does has it carry a command out.
func (b *baresip) does(command string) {
	b.t.Helper()
	conn, err := net.DialTimeout("tcp", b.control, patience)
	require.NoError(b.t, err)
	defer conn.Close()
	require.NoError(b.t, conn.SetDeadline(time.Now().Add(patience)))
	text := `{"command":"` + command + `"}`
	_, err = fmt.Fprintf(conn, "%d:%s,", len(text), text)
	require.NoError(b.t, err)
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	require.NoError(b.t, err)
	require.Contains(b.t, string(answer[:n]), `"ok":true`)
}

// sees waits until it has seen its contact change from one status to another.
func (b *baresip) sees(from, to string) {
	b.t.Helper()
	b.prints(`changed status from \S*` + from + `\S* to \S*` + to)
}

// Two baresips watch each other: each one's PUBLISH is the other's NOTIFY
// (BSX-6, BSP-2.4-2, BSP-2.5-1; RFC 3903 §6, RFC 3856), and ends with it. They
// authenticate by Digest: baresip 1.0.0 gives up where a 401 has an algorithm that it does
// not know, so that MD5 is offered alone.
func TestBaresip(t *testing.T) {
	findBaresip(t)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := serve(t, map[string]any{
				"auth": md5, "limits": map[string]any{"min_expires": 1},
			})
			ann := startBaresip(t, s, transport, "ann", "tom")
			tom := startBaresip(t, s, transport, "tom", "ann")
			s.eventually("both watch", func() bool { return len(s.list("subscriptions")) == 2 })

			s.eventually("both publish", func() bool { return s.publication("tom").ETag != "" && s.publication("ann").ETag != "" })

			tom.does("presence_online")
			s.eventually("he is available", func() bool { return s.status("tom") == "available" })
			s.line(users["tom"], "busy")
			ann.sees("Online", "Busy")
			s.line(users["tom"], "idle")
			ann.sees("Busy", "Online")

			// It refreshes by the entity-tag, which is another each time.
			tag := s.publication("tom").ETag
			s.eventually("a refresh", func() bool { return s.publication("tom").ETag != tag })
			require.Equal(t, "available", s.status("tom"))

			tom.does("presence_offline")
			ann.sees("Online", "Offline")
			tom.does("presence_online")
			ann.sees("Offline", "Online")

			_ = tom.stop()
			s.eventually("he is gone", func() bool { return len(s.list("subscriptions")) == 1 && len(s.list("publications")) == 1 })
			_ = ann.stop()
			s.forgets()
		})
	}
}

// publication returns what a user has published last.
func (s *server) publication(user string) (last item) {
	s.t.Helper()
	for _, p := range s.list("publications") {
		if p.Presentity == user && !p.Expires.Before(last.Expires) {
			last = p
		}
	}
	return last
}
