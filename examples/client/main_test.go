package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tom = "sip:tom@example.com"
	ann = "sip:ann@example.com"
)

// bss starts a real server on loopback and returns its addresses by transport,
// and the file with its certificate.
func bss(t *testing.T) (addresses map[string]string, ca string) {
	t.Helper()
	certificate, ca := certificate(t)
	sip, err := stack.Listen(stack.Config{
		Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0", "tls:127.0.0.1:0"},
		TLS:    &tls.Config{Certificates: []tls.Certificate{certificate}},
	})
	require.NoError(t, err)
	users, err := directory.NewMemory([]directory.Entry{
		{ID: "tom", Account: `DE\tom`, SIP: []string{"tom@example.com"}, Tel: []string{"2719"}, Lines: []string{"2719"}},
		{ID: "ann", Account: `DE\ann`, SIP: []string{"ann@example.com"}},
	})
	require.NoError(t, err)
	var list []auth.Account
	for _, name := range []string{"tom", "ann"} {
		hash, err := bcrypt.GenerateFromPassword([]byte(name+"-secret"), bcrypt.MinCost)
		require.NoError(t, err)
		list = append(list, auth.Account{Account: `DE\` + name, PasswordHash: string(hash)})
	}
	accounts, err := auth.NewLocalAccounts(list)
	require.NoError(t, err)
	guard, err := auth.New(auth.Config{Verifier: accounts})
	require.NoError(t, err)
	server, err := presence.New(presence.Config{
		Sender: sip, Directory: users, Guard: guard, Domains: []string{"example.com"},
	})
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- sip.Serve(context.Background(), server) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, server.Shutdown(ctx))
		require.NoError(t, sip.Shutdown(ctx))
		require.NoError(t, <-served)
	})
	addresses = make(map[string]string)
	for _, f := range sip.Listening() {
		addresses[f.Transport] = f.Transport + ":" + f.Local.String()
	}
	return addresses, ca
}

// certificate makes one for 127.0.0.1 and a file that trusts it.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// A process is the program, running.
type process struct {
	t              *testing.T
	stdout, stderr output
	interrupt      context.CancelFunc
	code           chan int
}

// output collects what is printed, and can be waited for.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

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

func launch(t *testing.T, stdin string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{t: t, interrupt: cancel, code: make(chan int, 1)}
	p.stdout.changed, p.stderr.changed = make(chan struct{}, 1), make(chan struct{}, 1)
	go func() {
		p.code <- run(ctx, args, env{strings.NewReader(stdin), &p.stdout, &p.stderr, func(string) string { return "" }})
	}()
	t.Cleanup(cancel)
	return p
}

// prints waits until the program has printed text to standard output.
func (p *process) prints(text string) { p.t.Helper(); p.waits(&p.stdout, text) }

// says waits until the program has printed text to standard error.
func (p *process) says(text string) { p.t.Helper(); p.waits(&p.stderr, text) }

func (p *process) waits(o *output, text string) {
	p.t.Helper()
	for deadline := time.After(time.Minute); !strings.Contains(o.String(), text); {
		select {
		case <-o.changed:
		case <-deadline:
			require.FailNow(p.t, "not printed: "+text, "stdout: %s\nstderr: %s", &p.stdout, &p.stderr)
		}
	}
}

func (p *process) ends(code int) {
	p.t.Helper()
	select {
	case got := <-p.code:
		require.Equal(p.t, code, got, "stdout: %s\nstderr: %s", &p.stdout, &p.stderr)
	case <-time.After(time.Minute):
		require.FailNow(p.t, "the program does not end", "stdout: %s\nstderr: %s", &p.stdout, &p.stderr)
	}
}

// The main job: one user watches another, who goes busy and signs out; over each
// transport.
func TestWatchAndPublish(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			at, ca := bss(t)
			common := []string{"-server", at[transport], "-ca", ca}
			watcher := launch(t, "tom-secret\n", append(common, "-user", `DE\tom`, "-as", tom, "watch", ann, "tel:2719")...)
			watcher.prints("tel:2719 unknown")
			watcher.prints(ann + " signed out")

			publisher := launch(t, "ann-secret\n", append(common, "publish", "-user", `DE\ann`, "-as", ann, "-status", "busy", "-note", "HELLO")...)
			watcher.prints(ann + ` busy "HELLO"`)
			publisher.prints(ann + ` busy "HELLO"`)

			publisher.interrupt()
			publisher.ends(exitOK)
			watcher.prints(ann + ` signed out "Signed out"`)
			watcher.interrupt()
			watcher.ends(exitOK)
			require.Contains(t, watcher.stdout.String(), "ended: timeout", "the last NOTIFY is awaited")
			require.NotContains(t, watcher.stderr.String(), "tom-secret")
		})
	}
}

// A server that never answers: the program says so after a while, waits on, and can be
// interrupted.
func TestSilence(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	at := "udp:" + silent.LocalAddr().String()
	p := launch(t, "ann-secret\n", "-server", at, "-user", `DE\ann`, "-as", ann, "publish")
	p.says("no answer from " + at + " yet")
	p.interrupt()
	p.ends(exitFailed)
	require.Contains(t, p.stderr.String(), "client: interrupted\n")
}

// What a server says is shown: why it refuses and until when, and why it has the client wait.
func TestServerSaysLater(t *testing.T) {
	for status, want := range map[int]string{
		403: "client: PUBLISH was answered 403 not today (Retry-After: 15m0s)\n",
		503: "client: PUBLISH was answered 503 not today (Retry-After: 15m0s); waiting\n",
	} {
		sip, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() {
			served <- sip.Serve(context.Background(), sipx.HandlerFunc(func(_ context.Context, w sipx.ResponseWriter, _ *sipx.Request) {
				w.Respond(&sipx.Response{Status: status, Reason: "not today", Header: sipx.Header{{Name: "Retry-After", Value: "900"}}})
			}))
		}()
		p := launch(t, "", "-server", "udp:"+sip.Listening()[0].Local.String(), "-as", ann, "publish", "-once")
		p.says(want)
		p.interrupt()
		p.ends(exitFailed)
		require.NoError(t, sip.Shutdown(t.Context()))
		require.NoError(t, <-served)
	}
}

func TestPublishOnceAndSignOut(t *testing.T) {
	at, _ := bss(t)
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("ann-secret\r\nsecond line"), 0o600))
	annSays := func(args ...string) *process {
		return launch(t, "", append([]string{"-server", at["udp"], "-user", `DE\ann`, "-as", ann, "-password-file", file}, args...)...)
	}
	watcher := launch(t, "tom-secret", "-server", at["udp"], "-user", `DE\tom`, "-as", tom, "watch", "-xml", ann)
	watcher.prints("<rpid:other>signed out</rpid:other>")
	annSays("publish", "-once", "-status", "do not disturb").ends(exitOK)
	watcher.prints("<rpid:other>unavailable</rpid:other>")
	annSays("signout").ends(exitOK)
	watcher.prints("<rpid:other>signed out</rpid:other>")
	watcher.prints("<!-- ")
	watcher.interrupt()
	watcher.ends(exitOK)
}

func TestFailures(t *testing.T) {
	at, _ := bss(t)
	tests := []struct {
		name, stdin string
		args        []string
		code        int
		want        string // in what it says
	}{
		{"no command", "", nil, exitUsage, "which command"},
		{"unknown command", "", []string{"frob"}, exitUsage, `"frob"`},
		{"unknown flag", "", []string{"-frob", "watch"}, exitUsage, "-frob"},
		{"no address of one's own", "", []string{"watch", ann}, exitUsage, "-as"},
		{"a bad one", "", []string{"-as", "tom", "watch"}, exitUsage, "Address"},
		{"a bad one to watch", "", []string{"-as", tom, "watch", "ann"}, exitUsage, `"ann"`},
		{"a bad server", "", []string{"-as", tom, "-server", "127.0.0.1:5060", "watch"}, exitUsage, "transport:host:port"},
		{"a transport too far", "", []string{"-as", tom, "-server", "sctp:127.0.0.1:5060", "watch"}, exitUsage, "sctp"},
		{"a bad cipher", "", []string{"-as", tom, "-cipher", "rot13", "watch"}, exitUsage, "rot13"},
		{"a bad status", "", []string{"-as", tom, "publish", "-status", "asleep"}, exitUsage, "asleep"},
		{"arguments to publish", "", []string{"-as", tom, "publish", "busy"}, exitUsage, "busy"},
		{"arguments to signout", "", []string{"-as", tom, "signout", "now"}, exitUsage, "now"},
		{"no address to explain", "", []string{"explain"}, exitUsage, "address"},
		{"a bad API", "", []string{"explain", "-api", "localhost", tom}, exitUsage, "-api"},
		{"no password", "", []string{"-as", tom, "-user", `DE\tom`, "watch"}, exitFailed, "no password"},
		{"no password file", "", []string{"-as", tom, "-user", `DE\tom`, "-password-file", "/nonexistent", "watch"}, exitFailed, "/nonexistent"},
		{"no such authority", "", []string{"-as", tom, "-ca", "/nonexistent", "watch"}, exitFailed, "/nonexistent"},
		{"a wrong password", "wrong", []string{"-as", tom, "-user", `DE\tom`, "-server", at["udp"], "watch"}, exitFailed, "password right"},
		{"none at all", "", []string{"-as", tom, "-server", at["udp"], "publish"}, exitFailed, "401"},
		{"someone else's address", "tom-secret", []string{"-as", ann, "-user", `DE\tom`, "-server", at["tcp"], "publish", "-once"}, exitFailed, "403"},
		{"an unknown certificate", "", []string{"-as", tom, "-server", at["tls"], "watch"}, exitFailed, "certificate"},
		{"nobody there", "", []string{"-as", tom, "-server", "tcp:127.0.0.1:1", "watch"}, exitFailed, "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := launch(t, tt.stdin, tt.args...)
			p.ends(tt.code)
			require.Contains(t, p.stderr.String(), tt.want)
			require.Empty(t, p.stdout.String())
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		p := launch(t, "", "-as", tom, "-server", "udp:127.0.0.1:1", "watch")
		p.interrupt()
		p.ends(exitFailed)
		require.Contains(t, p.stderr.String(), "interrupted")
	})
}

func TestInsecure(t *testing.T) {
	at, _ := bss(t)
	p := launch(t, "tom-secret", "-as", tom, "-user", `DE\tom`, "-insecure", "-server", at["tls"], "watch")
	p.prints(tom)
	p.interrupt()
	p.ends(exitOK)
}

func TestHelp(t *testing.T) {
	p := launch(t, "", "-h")
	p.ends(exitOK)
	for _, word := range []string{"watch", "publish", "signout", "explain", "-password-file", "BLUSTAR_PASSWORD"} {
		require.Contains(t, p.stdout.String(), word)
	}
}

func TestExplain(t *testing.T) {
	var asked *http.Request
	answer := `{"entity":"sip:ann@example.com","status":"busy","note":"In a call\u001b[2J","rule":"call",
		"sources":[{"source":"line 2719","value":"busy","owner":"pbx","age":"12s","lifetime":"","counts":true,"won":true},
		{"source":"blustar","value":"available","owner":"","age":"1h0m0s","lifetime":"59m0s","counts":true},
		{"source":"external","value":"unknown"}],"next_change":"2026-01-02T11:00:00Z"}`
	status := http.StatusOK
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	defer api.Close()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("s3cret\n"), 0o600))

	p := launch(t, "", "explain", "-api", api.URL+"/", "-token-file", token, ann)
	p.ends(exitOK)
	require.Equal(t, "/v1/explain/sip:ann@example.com", asked.URL.Path)
	require.Equal(t, "Bearer s3cret", asked.Header.Get("Authorization"))
	next := time.Date(2026, 1, 2, 11, 0, 0, 0, time.UTC).Local().Format(time.DateTime)
	require.Equal(t, `sip:ann@example.com is busy ("In a call\x1b[2J") by rule "call"
    SOURCE     VALUE      OWNER  AGE     LIFETIME
*   line 2719  busy       pbx    12s     
    blustar    available         1h0m0s  59m0s
-   external   unknown                   
* won   - does not count
next change by itself at `+next+"\n", p.stdout.String())

	answer = `{"entity":"sip:ann@example.com","status":"unknown","rule":"unknown","next_change":null}`
	p = launch(t, "", "explain", "-api", api.URL, "tel:2719;phone-context=a/b?c")
	p.ends(exitOK)
	require.Equal(t, "/v1/explain/tel:2719;phone-context=a/b?c", asked.URL.Path, "escaped")
	require.Empty(t, asked.Header.Get("Authorization"))
	require.Contains(t, p.stdout.String(), "nothing changes it")

	for body, want := range map[string]string{
		`{"error":"address: nobody there"}`: "nobody there",
		`nonsense`:                          "404",
	} {
		answer, status = body, http.StatusNotFound
		p = launch(t, "", "explain", "-api", api.URL, ann)
		p.ends(exitFailed)
		require.Contains(t, p.stderr.String(), want)
	}
	answer, status = "nonsense", http.StatusOK
	p = launch(t, "", "explain", "-api", api.URL, ann)
	p.ends(exitFailed)
	require.Contains(t, p.stderr.String(), "no explanation")
}

// The Contact is where the way to the server starts.
func TestRoute(t *testing.T) {
	for server, want := range map[string]sipx.URI{
		"udp:127.0.0.1:5060": {Scheme: "sip", Host: "127.0.0.1", Port: 5060},
		"tcp:127.0.0.1:5060": {Scheme: "sip", Host: "127.0.0.1", Port: 5060, Params: ";transport=tcp"},
		"tls:127.0.0.1:5061": {Scheme: "sip", Host: "127.0.0.1", Port: 5061, Params: ";transport=tls"},
	} {
		o := options{server: server}
		uri, local, err := o.route()
		require.NoError(t, err)
		require.Equal(t, want, uri)
		require.Contains(t, local, ":127.0.0.1:0")
	}
}
