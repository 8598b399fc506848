package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/internal/fakegraph"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// output collects what a program prints, and can be waited for.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newOutput() *output { return &output{changed: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// patience is how long a test waits for what takes no time on a machine that is not busy.
const patience = time.Minute

// program is the server, running.
type program struct {
	t      *testing.T
	stderr *output
	stdout *output
	cancel context.CancelFunc
	hangup chan os.Signal // SIGHUP
	code   chan int
	done   bool
	roots  *x509.CertPool // that its TLS certificate is verified with
}

// start runs the program until it is ready, and ends it with the test.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	return launch(t, func(ctx context.Context, e env) int { return run(ctx, args, e) })
}

func launch(t *testing.T, main func(context.Context, env) int) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{t: t, stderr: newOutput(), stdout: newOutput(), cancel: cancel, code: make(chan int, 1), hangup: make(chan os.Signal, 1)}
	go func() { p.code <- main(ctx, env{strings.NewReader(""), p.stdout, p.stderr, p.hangup, nil}) }()
	t.Cleanup(func() {
		if !p.done {
			p.stop()
		}
	})
	deadline := time.After(patience)
	for !strings.Contains(p.stderr.String(), "\nready\n") {
		select {
		case <-p.stderr.changed:
		case code := <-p.code:
			p.done = true
			require.Failf(t, "the program ended", "with %d: %s", code, p.stderr)
		case <-deadline:
			require.FailNow(t, "not ready: "+p.stderr.String())
		}
	}
	return p
}

// stop is SIGTERM, and returns the exit code.
func (p *program) stop() int {
	p.cancel()
	p.done = true
	select {
	case code := <-p.code:
		return code
	case <-time.After(patience):
		p.t.Error("the program does not end")
		return -1
	}
}

// listening returns the address of a listener, as the program printed it.
func (p *program) listening(transport string) string {
	p.t.Helper()
	m := regexp.MustCompile(`(?m)^listening ` + transport + ` (\S+)$`).FindStringSubmatch(p.stderr.String())
	require.NotNil(p.t, m, "no %s listener in %s", transport, p.stderr)
	return m[1]
}

// files writes files into a new folder, and returns its path.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range contents {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	return folder
}

// call runs the program to its end.
func call(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	out, errs := newOutput(), newOutput()
	code = run(t.Context(), args, env{strings.NewReader(stdin), out, errs, nil, nil})
	return code, out.String(), errs.String()
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, 0, "hash-password"},
		{[]string{"check", "-h"}, 0, "-config"},
		{[]string{"version"}, 0, "blustar server"},
		{[]string{"version", "x"}, 2, "unexpected argument"},
		{[]string{"-listen", "udp"}, 2, "listen[0]"},
		{[]string{"-http", "0.0.0.0:80"}, 2, "http.token_file"},
		{[]string{"-x"}, 2, "flag provided but not defined: -x"},
		{[]string{"frobnicate"}, 2, `unknown command "frobnicate"`},
		{[]string{"-config", "a.json", "b"}, 2, `unexpected argument "b"`},
		{[]string{"hash-password", "-realm", "r"}, 2, "need -account"},
		{[]string{"hash-password", "-account", "a:b"}, 2, "-account"},
		{[]string{"hash-password"}, 1, "no password"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			stdin := ""
			if len(c.args) == 3 {
				stdin = "secret\n"
			}
			code, stdout, stderr := call(t, stdin, c.args...)
			require.Equal(t, c.code, code)
			require.Contains(t, stdout+stderr, c.want)
			if code != 0 {
				require.Equal(t, 1, strings.Count(stderr, "\n"), "one line")
			}
		})
	}
}

// BSP-2.11-1: local accounts are stored hashed.
func TestHashPassword(t *testing.T) {
	code, stdout, stderr := call(t, "pass: wörd\r\n", "hash-password")
	require.Zero(t, code)
	require.Empty(t, stderr)
	hash := strings.TrimSuffix(stdout, "\n")
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(hash), []byte("pass: wörd")))

	code, stdout, _ = call(t, "secret", "hash-password", "-account", `DE\tom`, "-realm", "example.com")
	require.Zero(t, code)
	var entry auth.Account
	require.NoError(t, json.Unmarshal([]byte(stdout), &entry))
	require.Equal(t, auth.HA1(auth.MD5, `DE\tom`, "example.com", []byte("secret")), entry.DigestHA1.MD5)
	_, err := auth.NewLocalAccounts([]auth.Account{entry})
	require.NoError(t, err, "what it prints is what an accounts file takes")

	code, _, stderr = call(t, strings.Repeat("x", 73), "hash-password")
	require.Equal(t, 1, code)
	require.NotContains(t, stderr, "xxx")
}

func TestCheck(t *testing.T) {
	folder := files(t, map[string]string{
		"token":         "canary-token",
		"users.json":    `{"users":[{"id":"tom","sip":["tom@example.com"]}]}`,
		"accounts.json": `{"accounts":[{"account":"a","digest_ha1":{"realm":"one"}},{"account":"b","digest_ha1":{"realm":"two"}}]}`,
		"server.json": `{"listen":["udp:127.0.0.1:0"],"domains":["example.com"],"directory":{"file":"users.json"},
			"auth":{"require_tls":true,"shared_sources":["192.0.2.0/24","2001:db8::1"]},"accounts":"accounts.json","http":{"listen":"0.0.0.0:8080","token_file":"token"},
			"active_directory":{"url":["ldaps://dc1.example.com","ldaps://dc2.example.com"]}}`,
	})
	code, stdout, stderr := call(t, "", "check", "-config", filepath.Join(folder, "server.json"))
	require.Zero(t, code, stderr)
	for _, want := range []string{
		"is good", "listen on udp 127.0.0.1:0", "users.json: 1 users", "Active Directory at ldaps://dc1.example.com, ldaps://dc2",
		"over TLS only", "warning: auth.require_tls is set", "warning: the control API is served without TLS",
		"no source in 192.0.2.0/24, 2001:db8::1/128", "warning: the accounts have digest_ha1 of several realms, one, two",
	} {
		require.Contains(t, stdout, want)
	}
	require.NotContains(t, stdout, "canary")

	code, stdout, _ = call(t, "", "check")
	require.Zero(t, code)
	require.Contains(t, stdout, "3 demo users")
}

// check -online asks the directories, names each that does not answer, and looks one
// user up.
func TestCheckOnline(t *testing.T) {
	folder := files(t, map[string]string{
		"users.json":  `{"users":[{"id":"tom","sip":["tom@example.com"],"mail":"tom@example.com"}]}`,
		"server.json": `{"listen":["udp:127.0.0.1:0"],"directory":{"file":"users.json"},"http":{"listen":""}}`,
		"down.json": `{"listen":["udp:127.0.0.1:0"],"directory":{"file":"users.json"},"http":{"listen":""},"auth":{"mode":"optional"},
			"active_directory":{"url":["ldaps://127.0.0.1:1"]}}`,
	})
	code, stdout, stderr := call(t, "", "check", "-online", "-user", "sip:tom@example.com", "-config", filepath.Join(folder, "server.json"))
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "ok: directory: sip:tom@example.com is tom, mailbox \"tom@example.com\"")

	code, stdout, stderr = call(t, "", "check", "-online", "-user", "sip:nobody@example.com", "-config", filepath.Join(folder, "down.json"))
	require.Equal(t, 1, code, stdout)
	require.Contains(t, stdout, "failed: active_directory: ")
	require.Contains(t, stdout, "failed: directory: sip:nobody@example.com: ")
	require.Contains(t, stderr, "not all of them answered")
}

// check -online reads a calendar and the presence in Teams as well, and gets a token:
// BSX-15.
func TestCheckMicrosoftOnline(t *testing.T) {
	graph := fakegraph.New()
	const id, mail = "00000000-0000-4000-8000-000000000001", "tom@example.com"
	graph.AddUser(id, mail, mail)
	graph.SetPresence(mail, "Busy", "InACall")
	graph.SetEvents(mail, fakegraph.NewEvent("1", "secret", time.Now(), time.Now().Add(time.Hour)))
	server := httptest.NewServer(graph)
	defer server.Close()
	folder := files(t, map[string]string{
		"users.json": `{"users":[{"id":"tom","sip":["tom@example.com"],"mail":"tom@example.com"}]}`,
		"secret":     graph.Secret + "\n", "wrong": "canary\n",
	})
	write := func(secret string) string {
		name := filepath.Join(folder, secret+".json")
		require.NoError(t, os.WriteFile(name, fmt.Appendf(nil, `{"listen":["udp:127.0.0.1:0"],"directory":{"file":"users.json"},"http":{"listen":""},
			"calendar":{"kind":"graph"},"teams":{},"microsoft":{"tenant":%q,"client_id":%q,"secret_file":%q,"login":%q,"graph":%q}}`,
			graph.Tenant, graph.ClientID, secret, server.URL, server.URL), 0o600))
		return name
	}
	code, stdout, stderr := call(t, "", "check", "-online", "-user", "sip:"+mail, "-config", write("secret"))
	require.Zero(t, code, stderr)
	for _, want := range []string{
		"read calendars by graph, every 1m0s\n", "show what Teams says of users\n", "ok: microsoft: token\n",
		"ok: calendar: sip:tom@example.com has 1 appointments\n", "ok: teams: sip:tom@example.com is \"busy\"\n",
	} {
		require.Contains(t, stdout, want)
	}
	require.NotContains(t, stdout+stderr, "secret\"")

	code, stdout, stderr = call(t, "", "check", "-online", "-user", "sip:"+mail, "-config", write("wrong"))
	require.Equal(t, 1, code)
	require.Contains(t, stdout, "failed: microsoft: token: ")
	require.Contains(t, stdout, "failed: calendar: ")
	require.NotContains(t, stdout+stderr, "canary")
}

// What is taken while it starts is a failure, not a bad configuration.
func TestPortTaken(t *testing.T) {
	p := start(t, "-config", filepath.Join(files(t, map[string]string{
		"server.json": `{"listen":["tcp:127.0.0.1:0"],"http":{"listen":""}}`,
	}), "server.json"))
	taken := p.listening("tcp")
	name := filepath.Join(files(t, map[string]string{
		"server.json": `{"listen":["tcp:` + taken + `"],"http":{"listen":""}}`,
	}), "server.json")
	code, _, stderr := call(t, "", "-config", name)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "server: listen tcp "+taken)
}
