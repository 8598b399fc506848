package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = map[string]any

// configuration is one that is good, with nobody at the addresses that it names;
// change may be nil.
func configuration(change func(object)) object {
	c := object{
		"listen": []string{"udp:127.0.0.1:0"},
		"log":    object{"level": "debug"},
		"auth":   object{"ldap": true},
		"directory": object{"ldap": object{
			"url": "ldaps://127.0.0.1:1", "base_dn": "dc=example,dc=test", "bind_dn": "cn=gateway", "bind_password_file": "password",
		}},
		"pbx":      object{"uri": "sip:127.0.0.1:1", "from": "sip:presence@127.0.0.1"},
		"calendar": object{"url": "https://127.0.0.1:1/{user}/", "username": "presence", "password_file": "password"},
	}
	if change != nil {
		change(c)
	}
	return c
}

// write writes a configuration with the files that it names, and returns its
// path. A text named gateway.json takes the place of the configuration.
func write(t *testing.T, c object, files map[string]string) string {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	all := map[string]string{"gateway.json": string(text), "password": "canary\n"}
	maps.Copy(all, files)
	folder := t.TempDir()
	for name, text := range all {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	return filepath.Join(folder, "gateway.json")
}

// program is the gateway, running.
type program struct {
	t      *testing.T
	cancel context.CancelFunc
	ended  chan int
	client *stack.Stack

	mu     sync.Mutex
	stderr bytes.Buffer
}

// Write takes what the program prints.
func (p *program) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(text)
}

func (p *program) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// start runs the program until it is ready; it ends with the test at the latest.
func start(t *testing.T, config string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{t: t, cancel: cancel, ended: make(chan int, 1), client: newStack(t, silent)}
	go func() { p.ended <- run(ctx, []string{"-config", config}, p) }()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Log(p.printed())
		}
	})
	require.Eventually(t, func() bool { return strings.Contains(p.printed(), "ready\n") || len(p.ended) > 0 },
		time.Minute, 5*time.Millisecond)
	require.Contains(t, p.printed(), "ready\n")
	return p
}

// stop is SIGTERM; it returns the exit code.
func (p *program) stop() int {
	p.cancel()
	select {
	case code := <-p.ended:
		p.ended <- code
		return code
	case <-time.After(patience):
		p.t.Error("the program does not end")
		return -1
	}
}

// address is where it listens for clients, as it printed it.
func (p *program) address() sipx.URI {
	m := regexp.MustCompile(`(?m)^listening udp (\S+)$`).FindStringSubmatch(p.printed())
	require.NotNil(p.t, m, p.printed())
	uri, err := sipx.ParseURI("sip:" + m[1])
	require.NoError(p.t, err)
	return uri
}

// silent is the handler of who answers nothing.
var silent = sipx.HandlerFunc(func(context.Context, sipx.ResponseWriter, *sipx.Request) {})

// newStack makes a stack at a port of its own.
func newStack(t *testing.T, h sipx.Handler) *stack.Stack {
	t.Helper()
	sip, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	require.NoError(t, err)
	var served sync.WaitGroup
	served.Go(func() { _ = sip.Serve(context.Background(), h) })
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = sip.Shutdown(now)
		served.Wait()
	})
	return sip
}

// The sample is a configuration.
func TestSample(t *testing.T) {
	sample, err := os.ReadFile("gateway.json")
	require.NoError(t, err)
	name := write(t, nil, map[string]string{
		"gateway.json": string(sample), "ldap-password": "a\n", "pbx-password": "b\n", "calendar-password": "c\n",
	})
	c, err := load(name)
	require.NoError(t, err)
	c.Listen = []string{"udp:127.0.0.1:0"} // the only thing that depends on the machine
	g := &gateway{log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	defer g.close()
	require.NoError(t, g.open(c))
}

// A mistake is one line that names the file, the key and the reason. That of each key
// is in the tests of the server, whose configuration is the same.
func TestMistakes(t *testing.T) {
	for _, test := range []struct {
		name, key string
		value     any
		want      string
	}{
		{"unknown key", "port", 5060, "port: unknown key"},
		{"a key of the server alone", "http", object{"listen": "127.0.0.1:8081"}, "http: this program has none"},
		{"nowhere to listen", "listen", []string{}, "listen: "},
		{"no certificate", "listen", []string{"tls:127.0.0.1:0"}, `tls: "tls:127.0.0.1:0" needs tls.cert and tls.key`},
		{"certificate", "tls", object{"cert": "none.pem", "key": "none.pem"}, "tls: open "},
		{"authority", "tls", object{"ca_file": "password"}, "tls.ca_file: "},
		{"no directory", "directory", nil, "auth.ldap: needs directory.ldap"},
		{"a directory that is a file", "directory", object{"file": "users.json"}, "auth.ldap: needs directory.ldap"},
		{"nobody who checks passwords", "auth", object{}, "auth.ldap: want this or active_directory"},
		{"an idle PBX", "pbx", object{"uri": "pbx.example.com"}, `pbx.uri: "pbx.example.com": `},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := write(t, configuration(func(c object) { c[test.key] = test.value }), nil)
			fails(t, 2, name+": "+test.want, "-config", name)
			fails(t, 2, name+": "+test.want, "check", "-config", name)
		})
	}
	t.Run("no file", func(t *testing.T) { fails(t, 2, "none.json: no such file", "-config", "none.json") })
	t.Run("flag", func(t *testing.T) { fails(t, 2, "-port", "-port", "5060") })
	t.Run("argument", func(t *testing.T) { fails(t, 2, `unexpected argument "start"`, "start") })
	t.Run("port taken", func(t *testing.T) {
		taken := newStack(t, silent)
		at := taken.Listening()[0].Local.String()
		fails(t, 1, at, "-config", write(t, configuration(func(c object) { c["listen"] = []string{"udp:" + at} }), nil))
	})
}

func fails(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	var stderr lockedBuilder
	require.Equal(t, code, run(t.Context(), args, &stderr), &stderr)
	var said []string // besides log lines, which may come a little later
	for line := range strings.Lines(stderr.String()) {
		if strings.HasPrefix(line, "gateway: ") {
			said = append(said, line)
		}
	}
	require.Len(t, said, 1, &stderr)
	require.Contains(t, said[0], want)
	require.NotContains(t, stderr.String(), "canary")
}

// lockedBuilder is a strings.Builder for a program and its log, which write at once.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// subscribe sends what a BluStar client signs in with, over UDP.
func (p *program) subscribe(more ...sipx.Field) *sipx.Response {
	p.t.Helper()
	user, err := sipx.ParseAddress("<sip:alice@example.test>")
	require.NoError(p.t, err)
	res, err := sipx.Do(p.t.Context(), p.client, &sipx.Request{
		Method: "SUBSCRIBE", URI: p.address(), From: user.WithTag("a"), To: user, CallID: "call", CSeq: uint32(1 + len(more)),
		Header: append(sipx.Header{
			{Name: "Contact", Value: p.client.Contact(sipx.Flow{})}, {Name: "Event", Value: "presence"},
			{Name: "Expires", Value: "300"}, {Name: "User-Agent", Value: "BluStar Client/3.2.1"},
		}, more...),
	})
	require.NoError(p.t, err)
	return res
}

// With the directory, the PBX and the calendar server down the gateway starts,
// says so to clients, and ends: BSP-2.10-1, BSP-2.10-9.
func TestEverythingDown(t *testing.T) {
	p := start(t, write(t, configuration(nil), nil))
	res := p.subscribe()
	require.Equal(t, 401, res.Status)
	key := res.Header.Get(auth.HeaderAuth)
	require.Len(t, key, auth.KeyLength)
	credentials, err := auth.NewCredentials("alice", []byte("canary"))
	require.NoError(t, err)
	rauth, err := credentials.Encrypt(auth.Tuz{}, key)
	require.NoError(t, err)
	res = p.subscribe(sipx.Field{Name: auth.HeaderRauth, Value: rauth})
	require.Equal(t, 503, res.Status)
	require.NotEmpty(t, res.Header.Get("Retry-After"))

	require.Zero(t, p.stop())
	require.NotContains(t, p.printed(), "canary")
}

// Where TLS is required, nobody is asked for a password without: BSP-2.10-11.
func TestRequiresTLS(t *testing.T) {
	p := start(t, write(t, configuration(func(c object) { c["auth"] = object{"ldap": true, "require_tls": true} }), nil))
	res := p.subscribe()
	require.Equal(t, 403, res.Status)
	require.Empty(t, res.Header.Get(auth.HeaderAuth))
	require.Contains(t, res.Header.Get("Warning"), "TLS")
	require.Zero(t, p.stop())
}

// The store belongs to one gateway, beside the configuration and for its owner alone; it is
// there for the next one.
func TestStore(t *testing.T) {
	name := write(t, configuration(func(c object) { c["store"] = object{"file": "gateway.db"} }), nil)
	p := start(t, name)
	info, err := os.Stat(filepath.Join(filepath.Dir(name), "gateway.db"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	var out lockedBuilder
	require.Equal(t, 1, run(t.Context(), []string{"-config", name}, &out))
	require.Contains(t, out.String(), "another process has it open")
	require.Zero(t, p.stop())
	require.Zero(t, start(t, name).stop())
}
