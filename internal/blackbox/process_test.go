package blackbox_test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Both signals end the server in order: final NOTIFYs, exit 0 (server.md).
func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			var dialogs []*dialog
			for _, network := range []string{"udp", "tcp"} {
				p := s.phone(network, tom)
				dialogs = append(dialogs, p.subscribe(tom), p.subscribeList(tom, bill))
				soft := s.softphone(network, bill)
				dialogs = append(dialogs, soft.subscribe(joe))
			}
			for _, d := range dialogs {
				d.doc()
			}
			took := s.terminate(sig)
			require.Equal(t, 0, s.cmd.ProcessState.ExitCode())
			require.Less(t, took, 20*time.Second, "a NOTIFY that is not answered takes 32 s")
			for _, d := range dialogs {
				d.ended("deactivated")
			}
			// Stopping is nobody's signing out: no NOTIFY said so.
			for _, p := range s.phones {
				for _, n := range p.requests {
					require.False(t, strings.Contains(n.body, `entity="`+tom) && strings.Contains(n.body, "signed out"))
				}
			}
		})
	}
}

// Dead watchers and open connections do not hold it up (server.md: 5 s).
func TestShutdownWithDeadWatchers(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range 20 {
		p := s.phone("udp", joe)
		p.subscribe(tom).doc()
		p.silent()
	}
	idle, err := net.Dial("tcp", s.tcp)
	require.NoError(t, err)
	defer idle.Close()
	half, err := net.Dial("tcp", s.http)
	require.NoError(t, err)
	defer half.Close()
	_, _ = half.Write([]byte("GET /v1/events HTTP/1.1\r\nHost: " + s.http + "\r\n\r\n"))
	s.line("2719", "busy")
	took := s.terminate(syscall.SIGTERM)
	require.Less(t, took, 20*time.Second, "a NOTIFY that is not answered takes 32 s")
	require.Equal(t, 0, s.cmd.ProcessState.ExitCode())
}

// Started without a configuration it is ready at once and prints what one
// needs. The ports are fixed, so the test is skipped where they are taken.
func TestDefaultStart(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:5060", "127.0.0.1:8080"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Skip("somebody else listens on " + address)
		}
		_ = l.Close()
	}
	s := launch(t)
	require.Equal(t, "127.0.0.1:5060", s.udp)
	require.Equal(t, "127.0.0.1:5060", s.tcp)
	require.Equal(t, "127.0.0.1:8080", s.http)
	demo := regexp.MustCompile(`(sip:\S+)\s+tel:(\S+)\s+account (\S+)\s+password (\S+)`).FindStringSubmatch(s.log())
	require.NotNil(t, demo, s.log())
	p := s.phone("udp", demo[1])
	p.do(p.subscribeRequest(demo[1], "300"), 401)
	p.creds = demo[3] + ":" + demo[4]
	d := p.subscribe(demo[1])
	require.Len(t, d.doc().Devices, 1)
	p.publish("", statusBody("busy", ""))
	require.Equal(t, "busy", d.doc().status())
}

func TestHashPassword(t *testing.T) {
	t.Parallel()
	for _, input := range []string{"s3cret:pw\n", "s3cret:pw", "s3cret:pw\r\n"} {
		out, _, code := command(t, input, "hash-password")
		require.Equal(t, 0, code)
		require.Regexp(t, `^\$(2[aby]|argon2id)\$\S+\n$`, out)
		require.NotContains(t, out, "s3cret")
	}
	_, stderr, code := command(t, "", "hash-password")
	require.NotZero(t, code)
	require.NotEmpty(t, stderr)
	_, _, code = command(t, "\n", "hash-password")
	require.NotZero(t, code)

	// The hash is one that the server takes.
	out, _, _ := command(t, "h4sh:ed ü\n", "hash-password")
	c := config(t, required)
	dir, file := configDir(t, c)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "accounts.json"),
		[]byte(`{"accounts":[{"account":"DE\\tom","password_hash":"`+strings.TrimSpace(out)+`"}]}`), 0o600))
	s := launch(t, "-config", file)
	p := s.phone("udp", tom)
	p.creds = `DE\tom:h4sh:ed ü`
	p.subscribe(tom).doc()
}

func TestCheck(t *testing.T) {
	t.Parallel()
	_, file := configDir(t, config(t, required))
	out, errs, code := command(t, "", "check", "-config", file)
	require.Equal(t, 0, code, errs)
	said := out + errs
	for _, word := range []string{"udp", "tcp", "credentials", "tuz", "users.json", "5 local accounts"} {
		require.Contains(t, said, word, "it says what the server would do")
	}
	for _, secret := range passwords {
		require.NotContains(t, said, secret)
	}
	require.NotContains(t, said, "$2a$")
}

// A bad configuration: one line that names file, key and reason, exit 2, both
// by check and by the server itself (server.md).
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ change, key string }{
		{`{"lisen":[]}`, "lisen"},
		{`{"auth":{"mode":"required","chiper":"tuz"}}`, "chiper"},
		{`{"auth":{"mode":"sometimes"}}`, "auth.mode"},
		{`{"auth":{"cipher":"rot13"}}`, "auth.cipher"},
		{`{"auth":{"session":"soon"}}`, "auth.session"},
		{`{"auth":{"session":8}}`, "auth.session"},
		{`{"auth":{"challenge_lifetime":"-1s"}}`, "auth.challenge_lifetime"},
		{`{"auth":{"allow_basic":"maybe"}}`, "auth.allow_basic"},
		{`{"auth":{"max_failures":-1}}`, "auth.max_failures"},
		{`{"auth":{"failure_window":"x"}}`, "auth.failure_window"},
		{`{"dialect":"klingon"}`, "dialect"},
		{`{"listen":["udp"]}`, "listen"},
		{`{"listen":["sctp:127.0.0.1:0"]}`, "listen"},
		{`{"listen":["udp:127.0.0.1:99999"]}`, "listen"},
		{`{"listen":["tls:127.0.0.1:0"]}`, "tls"},
		{`{"listen":["tls:127.0.0.1:0"],"tls":{"cert":"nosuch.pem","key":"server.key"}}`, "tls.cert"},
		{`{"limits":{"max_body":"big"}}`, "limits.max_body"},
		{`{"limits":{"max_list":-5}}`, "limits.max_list"},
		{`{"limits":{"max_subscribe_expires":-3}}`, "limits.max_subscribe_expires"},
		{`{"log":{"level":"loud"}}`, "log.level"},
		{`{"log":{"format":"xml"}}`, "log.format"},
		{`{"http":{"listen":"nowhere"}}`, "http.listen"},
		{`{"http":{"listen":"0.0.0.0:0"}}`, "http"},
		{`{"http":{"listen":"127.0.0.1:0","token_file":"nosuch"}}`, "http.token_file"},
		{`{"directory":{"file":"nosuch.json"}}`, "directory.file"},
		{`{"directory":{"file":"users.json","ldap":{"url":"ldaps://x"}}}`, "directory"},
		{`{"directory":{"ldap":{"url":"http://x","base_dn":"dc=x"}}}`, "directory.ldap"},
		{`{"directory":{"ldap":{"url":"ldaps://x","base":"y"}}}`, "base"},
		{`{"active_directory":{"url":"nonsense"}}`, "active_directory"},
		{`{"accounts":"nosuch.json"}`, "accounts"},
		{`{"accounts":"users.json"}`, "accounts"},
		{`{"domains":"example.com"}`, "domains"},
	} {
		_, file := configDir(t, config(t, c.change))
		for _, args := range [][]string{{"-config", file}, {"check", "-config", file}} {
			_, stderr, code := command(t, "", args...)
			require.Equal(t, 2, code, "%s: %s", c.change, stderr)
			lines := strings.Split(strings.TrimSpace(stderr), "\n")
			require.Len(t, lines, 1, "%s: %s", c.change, stderr)
			require.Contains(t, lines[0], c.key, c.change)
			require.True(t, strings.Contains(lines[0], "server.json") || strings.Contains(lines[0], ".json"), lines[0])
		}
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "half": `{"listen":[`, "array": `[]`, "two": `{} {}`} {
		file := filepath.Join(dir, name+".json")
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		_, stderr, code := command(t, "", "check", "-config", file)
		require.Equal(t, 2, code, "%s: %s", name, stderr)
		require.Contains(t, stderr, name+".json")
	}
	_, stderr, code := command(t, "", "-config", filepath.Join(dir, "missing.json"))
	require.Equal(t, 2, code, stderr)
	require.Contains(t, stderr, "missing.json")
	_, _, code = command(t, "", "-no-such-flag")
	require.Equal(t, 2, code)
	_, _, code = command(t, "", "no-such-command")
	require.Equal(t, 2, code)
}

// The log is JSON where that is asked for.
func TestLogJSON(t *testing.T) {
	t.Parallel()
	s := start(t, `{"log":{"level":"debug","format":"json"}}`, required)
	p := s.phone("udp", tom)
	p.creds = `DE\tom:` + passwords[`DE\tom`]
	p.subscribe(tom).doc()
	s.terminate(syscall.SIGTERM)
	logged := 0
	for line := range strings.SplitSeq(strings.TrimSpace(s.log()), "\n") {
		if strings.HasPrefix(line, "listening ") || line == "ready" {
			continue
		}
		require.True(t, strings.HasPrefix(line, "{"), line)
		logged++
	}
	require.NotZero(t, logged)
	require.NotContains(t, s.log(), p.key, "keys are secrets too")
}
