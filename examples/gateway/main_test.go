package main

import (
	"bytes"
	"context"
	"encoding/json"
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
		"log":    "debug",
		"directory": object{
			"urls": []string{"ldaps://127.0.0.1:1"}, "base_dn": "dc=example,dc=test",
			"bind_dn": "cn=gateway", "bind_password_file": "password",
		},
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
		20*time.Second, 5*time.Millisecond)
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
	case <-time.After(20 * time.Second):
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
	c, err := loadConfig(name)
	require.NoError(t, err)
	c.Listen = []string{"udp:127.0.0.1:0"} // the only thing that depends on the machine
	g := &gateway{log: c.newLogger(t.Output())}
	defer g.close()
	require.NoError(t, g.open(c))
}

// A mistake is one line that names the file, the key and the reason.
func TestMistakes(t *testing.T) {
	set := func(section, key string, value any) func(object) {
		return func(c object) {
			if section == "" {
				c[key] = value
				return
			}
			c[section].(object)[key] = value
		}
	}
	for _, test := range []struct {
		name   string
		change func(object)
		want   string
	}{
		{"unknown key", set("pbx", "url", "sip:pbx"), `unknown key "url"`},
		{"wrong kind", set("pbx", "expires", "5m"), "pbx.expires: cannot be a string"},
		{"nowhere to listen", set("", "listen", []string{}), "listen: "},
		{"transport", set("", "listen", []string{"sctp:127.0.0.1:0"}), `listen: stack: Config.Listen: "sctp:127.0.0.1:0": want`},
		{"no certificate", set("", "listen", []string{"tls:127.0.0.1:0"}), `listen: "tls:127.0.0.1:0" needs tls.cert and tls.key`},
		{"certificate", set("", "tls", object{"cert": "none.pem", "key": "none.pem"}), "tls: open "},
		{"authority", set("", "tls", object{"ca": "password"}), "tls: "},
		{"log", set("", "log", "loud"), `log: "loud": want debug, info, warn or error`},
		{"no directory", set("", "directory", object{}), "directory: ldapdir: "},
		{"directory URL", set("directory", "urls", []string{"http://127.0.0.1"}), "directory: ldapdir: "},
		{"no password of the directory", set("directory", "bind_password_file", ""), "directory.bind_password_file: goes with a user name"},
		{"password file", set("calendar", "password_file", "none"), "calendar.password_file: open "},
		{"empty password file", set("directory", "bind_password_file", "empty"), "directory.bind_password_file: "},
		{"password without a name", set("pbx", "password_file", "password"), "pbx.password_file: goes with a user name"},
		{"PBX", set("pbx", "uri", "pbx.example.com"), `pbx: uri "pbx.example.com": `},
		{"no subscriber", set("pbx", "from", ""), `pbx: from "": `},
		{"PBX expires", set("pbx", "expires", 0), "pbx.expires: want at least 1 second"},
		{"PBX expires too late", set("pbx", "expires", 1_000_000), "pbx: dialoginfo: Config.Expires: "},
		{"one calendar for all", set("calendar", "url", "https://dav.example.com/"), `calendar.url: "https://dav.example.com/": want one with {mail} or {user}`},
		{"calendar URL", set("calendar", "url", "dav.example.com/{user}"), "calendar: caldav: "},
		{"calendar kind", set("calendar", "kind", "exchange"), `calendar.kind: "exchange": want caldav, ews or graph`},
		{"no account for Exchange", set("", "calendar", object{"kind": "ews", "url": "https://mail.example.com/EWS/Exchange.asmx"}), "calendar: ews: Config.Credentials: missing"},
		{"two accounts", set("calendar", "kind", "graph"), "calendar.url: kind graph takes its account from microsoft"},
		{"no application", set("", "teams", object{"read": true}), "microsoft: msgraph: Config.Tenant: missing"},
		{"Teams interval", set("", "teams", object{"interval": -1}), "teams.interval: want at least 1 second"},
		{"calendar interval", set("calendar", "interval", -1), "calendar.interval: want at least 1 second"},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := write(t, configuration(test.change), map[string]string{"empty": "\n"})
			fails(t, 2, name+": "+test.want, "-config", name)
		})
	}
	t.Run("no JSON", func(t *testing.T) {
		name := write(t, nil, map[string]string{"gateway.json": `{"log": "info"} {}`})
		fails(t, 2, name+": text after the end of the object", "-config", name)
	})
	t.Run("no file", func(t *testing.T) { fails(t, 2, "none.json: no such file", "-config", "none.json") })
	t.Run("flag", func(t *testing.T) { fails(t, 2, "-port", "-port", "5060") })
	t.Run("argument", func(t *testing.T) { fails(t, 2, `unexpected argument "start"`, "start") })
	t.Run("port taken", func(t *testing.T) {
		taken := newStack(t, silent)
		at := taken.Listening()[0].Local.String()
		fails(t, 1, at, "-config", write(t, configuration(set("", "listen", []string{"udp:" + at})), nil))
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
	p := start(t, write(t, configuration(func(c object) { c["tls"] = object{"required": true} }), nil))
	res := p.subscribe()
	require.Equal(t, 403, res.Status)
	require.Empty(t, res.Header.Get(auth.HeaderAuth))
	require.Contains(t, res.Header.Get("Warning"), "TLS")
	require.Zero(t, p.stop())
}
