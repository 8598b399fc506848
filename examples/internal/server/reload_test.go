package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/hostconfig"
	"github.com/openblustar/blustar/presence/client"
)

// logs waits for a text in the log.
func (p *program) logs(text string) {
	p.t.Helper()
	for deadline := time.After(patience); !strings.Contains(p.stderr.String(), text); {
		select {
		case <-p.stderr.changed:
		case <-deadline:
			require.FailNow(p.t, "not logged: "+text, p.stderr.String())
		}
	}
}

// Users, accounts, certificate, token and log level are read again, all of them or
// none; a signal never ends the server.
func TestReload(t *testing.T) {
	folder := files(t, map[string]string{"users.json": usersJSON, "accounts.json": accountsJSON(t), "token": "one\n"})
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	configuration := func(level string) {
		text, err := json.Marshal(map[string]any{
			"listen": []string{"udp:127.0.0.1:0", "tls:127.0.0.1:0"}, "tls": map[string]string{"cert": "server.pem", "key": "server.key"},
			"domains": []string{"example.com"}, "directory": map[string]string{"file": "users.json"}, "accounts": "accounts.json",
			"http": map[string]string{"listen": "127.0.0.1:0", "token_file": "token"}, "log": map[string]string{"level": level},
		})
		require.NoError(t, err)
		write("server.json", string(text))
	}
	serial := int64(0)
	certificate := func() {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		serial++
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		require.NoError(t, err)
		secret, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		write("server.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		write("server.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	}
	configuration("info")
	certificate()
	p := start(t, "-config", filepath.Join(folder, "server.json"))
	shown := func() int64 {
		conn, err := tls.Dial("tcp", p.listening("tls"), &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	status := func(token, path string) int {
		return p.request("GET", path, "", "Authorization", "Bearer "+token, "Accept", "application/json").status
	}
	require.Equal(t, int64(1), shown())
	require.Equal(t, 404, status("one", "/v1/presence/new@example.com"))

	// One bad file, and nothing of the good ones is taken.
	write("users.json", strings.Replace(usersJSON, "bob@example.com", "new@example.com", 1))
	write("token", "two\n")
	write("accounts.json", `{"accounts":[{"account":"x","password_hash":"no hash"}]}`)
	a := p.request("POST", "/v1/reload", "", "Authorization", "Bearer one")
	require.Equal(t, http.StatusUnprocessableEntity, a.status)
	require.Contains(t, a.body, "accounts: ")
	require.Contains(t, a.body, "no bcrypt hash")
	p.hangup <- syscall.SIGHUP
	p.logs("not reloaded, everything stays as it was")
	require.Equal(t, 404, status("one", "/v1/presence/new@example.com"))
	require.Equal(t, 401, status("two", "/v1/users"))

	write("accounts.json", accountsJSON(t))
	certificate()
	configuration("debug")
	p.hangup <- syscall.SIGHUP
	p.logs("msg=reloaded")
	require.Equal(t, 401, status("one", "/v1/users"))
	require.Equal(t, 200, status("two", "/v1/presence/new@example.com"))
	require.Equal(t, 404, status("two", "/v1/presence/bob@example.com"))
	require.Equal(t, int64(2), shown(), "new connections are shown the new certificate")
	require.Equal(t, 204, p.request("POST", "/v1/reload", "", "Authorization", "Bearer two").status)
	require.Zero(t, p.stop())
}

// Reloads under load disturb nobody.
func TestReloadUnderLoad(t *testing.T) {
	p := serveUsers(t, "")
	tom := p.phone("udp", tomURI, `DE\tom`, canary)
	ann := p.phone("udp", annURI, `DE\ann`, canary)
	require.NoError(t, ann.Watch(t.Context(), tomURI))
	ann.hears(tomURI, "the first NOTIFY", is("signed out", "Signed out"))
	require.NoError(t, tom.SignIn(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			if a := p.request("POST", "/v1/reload", ""); a.status != 204 {
				t.Error(a.body)
			}
		}
	}()
	for i := range 50 {
		state := []string{"busy", "idle"}[i%2]
		require.Equal(t, 204, p.request("PUT", "/v1/lines/2719", `{"state":"`+state+`"}`).status)
	}
	<-done
	require.Equal(t, 204, p.request("PUT", "/v1/lines/2719", `{"state":"busy"}`).status)
	ann.hears(tomURI, "the call", func(s client.Summary) bool { return s.Status == "busy" })
}

// What a reload cannot take over is named.
func TestReloadNamesTheRest(t *testing.T) {
	a, b := &config{Config: hostconfig.Default()}, &config{Config: hostconfig.Default()}
	b.Log.Level, b.Dialect, b.HTTP.Listen = "debug", "standard", "127.0.0.1:1"
	require.Equal(t, []string{"dialect", "http"}, a.elsewhere(b))
	require.Equal(t, slog.LevelDebug, b.Level())
}

// What check warns of in the files.
func TestReview(t *testing.T) {
	folder := files(t, map[string]string{
		"users.json": `{"users":[{"id":"tom","account":"DE\\tom","sip":["tom@example.com"],"tel":["300"]},
			{"id":"ann","account":"DE\\ann","sip":["ann@example.com"],"tel":["300"]}]}`,
		"accounts.json": `{"accounts":[{"account":"DE\\tom","password_hash":""},{"account":"DE\\zoe","password_hash":""},{"account":"fmc","amcc":true}]}`,
		"server.json":   `{"directory":{"file":"users.json"},"accounts":"accounts.json"}`,
		"ldap.json":     `{"directory":{"ldap":{"url":"ldap://127.0.0.1","base_dn":"dc=x"}},"active_directory":{"url":"ldaps://127.0.0.1"}}`,
		"bind.json":     `{"directory":{"ldap":{"url":"ldap://127.0.0.1","base_dn":"dc=x"}},"auth":{"ldap":true}}`,
		"bad.json":      `{"auth":{"ldap":true}}`,
	})
	_, stdout, stderr := call(t, "", "check", "-config", filepath.Join(folder, "server.json"))
	require.Empty(t, stderr)
	require.Contains(t, stdout, "warning: several users have the same, and none of them is found by it: tel:300: tom, ann")
	require.Contains(t, stdout, `warning: accounts that no user has, so that they can sign in and publish for nobody: DE\zoe`+"\n")
	require.Contains(t, stdout, "warning: users whose account is not in the accounts, so that they cannot sign in: ann")
	_, stdout, _ = call(t, "", "check", "-config", filepath.Join(folder, "ldap.json"))
	require.Contains(t, stdout, "for those, set auth.ldap in its place")
	_, stdout, stderr = call(t, "", "check", "-config", filepath.Join(folder, "bind.json"))
	require.Contains(t, stdout, "checked against the LDAP directory by bind", stderr)
	require.NotContains(t, stdout, "nobody can sign in")
	code, _, stderr := call(t, "", "check", "-config", filepath.Join(folder, "bad.json"))
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "auth.ldap: needs directory.ldap")
}

// Four wrong passwords at the demo lock nobody else out.
func TestDemoSharesLoopback(t *testing.T) {
	_, stdout, _ := call(t, "", "check")
	require.Contains(t, stdout, "no source in 127.0.0.0/8, ::1/128")
}

// BSX-4: a directory in a file is at hand: a gateway that publishes for many takes no
// part of the look-ups that one source may have under way.
func TestFileDirectoryIsAtHand(t *testing.T) {
	users, err := directory.NewMemory([]directory.Entry{{ID: "tom", SIP: []string{"tom@example.com"}}})
	require.NoError(t, err)
	b := new(backends)
	b.files.Store(&inputs{users: users})
	address, err := directory.ParseAddress("sip:tom@example.com")
	require.NoError(t, err)
	require.Implements(t, (*directory.Immediate)(nil), b)
	r, known := b.Peek(address)
	require.True(t, known)
	require.Equal(t, "tom", r.Entry.ID)
}

// The flags stand in place of the configuration.
func TestListenFlags(t *testing.T) {
	p := start(t, "-listen", "udp:127.0.0.1:0,tcp:127.0.0.1:0", "-http", "127.0.0.1:0")
	require.NotEmpty(t, p.listening("tcp"))
	require.Equal(t, 200, p.request("GET", "/healthz", "").status, "it asks the server by SIP")
	require.Contains(t, p.request("GET", "/", "").body, "<title>Presence</title>")
}

// BSX-10: who is removed, or has another password, has to sign in again: from the reload
// on, and where nobody reloads as soon as the sessions are looked through.
func TestReloadEndsSessions(t *testing.T) {
	read := func(users, accounts string) *inputs {
		folder := files(t, map[string]string{"users.json": users, "accounts.json": accounts,
			"server.json": `{"directory":{"file":"users.json"},"accounts":"accounts.json"}`})
		c, err := loadConfig(filepath.Join(folder, "server.json"), overrides{})
		require.NoError(t, err)
		in, err := c.read()
		require.NoError(t, err)
		return in
	}
	hash, err := auth.HashPassword([]byte("another"))
	require.NoError(t, err)
	all := accountsJSON(t)
	var list struct {
		Accounts []auth.Account `json:"accounts"`
	}
	require.NoError(t, json.Unmarshal([]byte(all), &list))
	with := func(change func(*auth.Account) bool) string {
		kept := list
		kept.Accounts = nil
		for _, a := range list.Accounts {
			if change(&a) {
				kept.Accounts = append(kept.Accounts, a)
			}
		}
		text, err := json.Marshal(kept)
		require.NoError(t, err)
		return string(text)
	}
	before := read(usersJSON, all)
	verified := func(account string) auth.Identity {
		c, err := auth.NewCredentials(account, []byte(canary))
		require.NoError(t, err)
		id, err := before.accounts.Verify(t.Context(), c)
		require.NoError(t, err)
		return id
	}
	tom, ann := verified(`DE\tom`), verified(`DE\ann`)
	for name, changed := range map[string]*inputs{
		"account removed": read(usersJSON, with(func(a *auth.Account) bool { return a.Account != `DE\tom` })),
		"another password": read(usersJSON, with(func(a *auth.Account) bool {
			if a.Account == `DE\tom` {
				a.PasswordHash = hash
			}
			return true
		})),
	} {
		require.False(t, changed.accounts.HasAccount(tom), name)
		require.True(t, changed.accounts.HasAccount(ann), name)
	}
	require.True(t, before.accounts.HasAccount(tom))
	gone := endedBy(before, read(strings.Replace(usersJSON, `"id":"tom"`, `"id":"thomas"`, 1), all))
	require.True(t, gone(tom))
	require.False(t, gone(ann))
	require.False(t, endedBy(before, read(usersJSON, all))(tom))

	folder := files(t, map[string]string{"users.json": usersJSON, "accounts.json": all, "server.json": `{"listen":["udp:127.0.0.1:0"],
		"domains":["example.com"],"directory":{"file":"users.json"},"accounts":"accounts.json","http":{"listen":"127.0.0.1:0"}}`})
	p := start(t, "-config", filepath.Join(folder, "server.json"))
	phone := p.phone("udp", tomURI, `DE\tom`, canary)
	require.NoError(t, phone.SignIn(t.Context()))
	require.Contains(t, p.request("GET", "/metrics", "").body, `blustar_auth_held{kind="session"} 1`)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "accounts.json"), []byte(with(func(a *auth.Account) bool { return a.Account != `DE\tom` })), 0o600))
	require.Equal(t, 204, p.request("POST", "/v1/reload", "").status)
	require.Contains(t, p.request("GET", "/metrics", "").body, `blustar_auth_held{kind="session"} 0`)
}

// BSX-16: a policy that has changed takes effect on those who watch already, by signal and
// by the control API; one that is wrong changes nothing. It goes by groups of the
// directory.
func TestReloadPolicy(t *testing.T) {
	folder := files(t, map[string]string{
		"users.json": strings.Replace(usersJSON, `"account":"DE\\ann"`, `"account":"DE\\ann","groups":["Cast"]`, 1), "accounts.json": accountsJSON(t),
		"policy.json": `{"rules":[{"watchers":["group:cast"],"sight":"others"}],"default":"blocked"}`,
		"server.json": `{"listen":["udp:127.0.0.1:0"],"domains":["example.com"],"directory":{"file":"users.json"},"accounts":"accounts.json",
			"policy":"policy.json","http":{"listen":"127.0.0.1:0"}}`,
	})
	write := func(text string) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, "policy.json"), []byte(text), 0o600))
	}
	p := start(t, "-config", filepath.Join(folder, "server.json"))
	require.Equal(t, 204, p.request("PUT", "/v1/lines/2719", `{"state":"busy"}`).status)
	ann := p.phone("udp", annURI, `DE\ann`, canary)
	require.NoError(t, ann.Watch(t.Context(), tomURI))
	ann.hears(tomURI, "a call", is("busy", "In a call"))

	write(`{"default":"no-lines"}`)
	p.hangup <- syscall.SIGHUP
	ann.hears(tomURI, "busy, and not why", is("busy", "Busy"))

	write(`{"default":"whatever"}`)
	a := p.request("POST", "/v1/reload", "")
	require.Equal(t, http.StatusUnprocessableEntity, a.status)
	require.Contains(t, a.body, "policy: ")

	write(`{"rules":[{"users":["tom"],"sight":"blocked"}]}`)
	require.Equal(t, 204, p.request("POST", "/v1/reload", "").status)
	ann.hears(tomURI, "nothing", func(s client.Summary) bool { return s.Status == "unknown" })
}

// BSX-16: who writes a From that the directory does not have is known by the entry of the
// account, so that rules by address, ID and group count for them too.
func TestPolicyKnowsAccount(t *testing.T) {
	folder := files(t, map[string]string{
		"users.json": strings.Replace(usersJSON, `"account":"DE\\ann"`, `"account":"DE\\ann","groups":["Cast"]`, 1), "accounts.json": accountsJSON(t),
		"policy.json": `{"rules":[{"watchers":["sip:ann@example.com"],"sight":"blocked"}]}`,
		"server.json": `{"listen":["udp:127.0.0.1:0"],"domains":["example.com"],"directory":{"file":"users.json"},"accounts":"accounts.json",
			"policy":"policy.json","http":{"listen":"127.0.0.1:0"}}`,
	})
	p := start(t, "-config", filepath.Join(folder, "server.json"))
	require.Equal(t, 204, p.request("PUT", "/v1/lines/2719", `{"state":"busy"}`).status)
	ann := p.phone("udp", "sip:4711@example.com", `DE\ann`, canary)
	require.NoError(t, ann.Watch(t.Context(), tomURI))
	blocked := func(s client.Summary) bool { return s.Status == "unknown" }
	ann.hears(tomURI, "nothing", blocked)
	for _, name := range []string{"ann", "group:cast"} {
		for _, step := range []struct {
			policy string
			sees   func(client.Summary) bool
		}{{`{}`, is("busy", "In a call")}, {`{"rules":[{"watchers":["` + name + `"],"sight":"blocked"}]}`, blocked}} {
			require.NoError(t, os.WriteFile(filepath.Join(folder, "policy.json"), []byte(step.policy), 0o600))
			require.Equal(t, 204, p.request("POST", "/v1/reload", "").status)
			ann.hears(tomURI, step.policy, step.sees)
		}
	}
}
