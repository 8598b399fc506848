package interop_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/openblustar/blustar/auth"
)

// The users of the server: each has an account of the same name in the domain
// DE, and one without domain for Digest; all have one password.
const (
	domain   = "example.com"
	password = `pass:w\rd`
)

// md5 is for telephones that know no other algorithm, and give up where another is
// offered as well.
var md5 = map[string]any{"digest_algorithms": []string{"MD5"}}

var users = map[string]string{"tom": "2719", "ann": "2720", "bill": "2721"}

// open is the configuration of a server that lets everybody in.
var open = map[string]any{"auth": map[string]any{"mode": "off"}}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if folder, err := built(); err == nil {
			_ = os.RemoveAll(folder)
		}
		os.Exit(code)
	}))
}

// built builds examples/server, once, and returns the folder that it is in.
var built = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "interop-")
	if err != nil {
		return "", err
	}
	text, err := exec.Command("go", "build", "-o", folder+"/", "../../examples/server").CombinedOutput()
	if err != nil {
		return folder, fmt.Errorf("go build: %w: %s", err, text)
	}
	return folder, nil
})

// server is examples/server, running.
type server struct {
	*program
}

// serve starts the server on free ports. More is added to its configuration.
func serve(t *testing.T, more map[string]any) *server {
	t.Helper()
	cfg := map[string]any{
		"listen":    []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"},
		"domains":   []string{domain},
		"directory": map[string]any{"file": "users.json"},
		"accounts":  "accounts.json",
		"http":      map[string]any{"listen": "127.0.0.1:0"},
		"log":       map[string]any{"level": "debug"},
	}
	for key, v := range more {
		cfg[key] = v
	}
	return serveFiles(t, map[string]any{"server.json": cfg, "users.json": userList(), "accounts.json": accountList(t)})
}

// serveFiles starts the server with files, of which server.json is its
// configuration.
func serveFiles(t *testing.T, files map[string]any) *server {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		text, err := json.Marshal(content)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), text, 0o600))
	}
	bin, err := built()
	require.NoError(t, err)
	s := &server{launch(t, folder, nil, filepath.Join(bin, "server"), "-config", "server.json")}
	s.prints(`(?m)^ready$`)
	return s
}

func userList() any {
	type user struct {
		ID      string   `json:"id"`
		Account string   `json:"account"`
		SIP     []string `json:"sip"`
		Tel     []string `json:"tel"`
		Lines   []string `json:"lines"`
		Mail    string   `json:"mail"`
	}
	var list []user
	for name, number := range users {
		address := name + "@" + domain
		list = append(list, user{name, name, []string{address}, []string{number}, []string{number}, address})
	}
	return map[string]any{"users": list}
}

func accountList(t *testing.T) any {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	require.NoError(t, err)
	var list []auth.Account
	for name := range users {
		list = append(list, auth.Account{Account: name, PasswordHash: string(hash), DigestHA1: &auth.DigestHA1{
			Realm: domain, SHA256: auth.HA1(auth.SHA256, name, domain, []byte(password)),
			MD5: auth.HA1(auth.MD5, name, domain, []byte(password)),
		}})
	}
	return map[string]any{"accounts": list}
}

// listening returns the address of a listener, as the server printed it.
func (s *server) listening(transport string) string {
	s.t.Helper()
	return s.prints(`(?m)^listening ` + transport + ` (\S+)$`)[1]
}

// call calls the control API, and returns the status and the body.
func (s *server) call(method, path, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.listening("http")+path, strings.NewReader(body))
	require.NoError(s.t, err)
	req.Header.Set("Accept", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Do(req)
	require.NoError(s.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return res.StatusCode, string(text)
}

// line sets the state of a telephone.
func (s *server) line(number, state string) {
	s.t.Helper()
	status, body := s.call("PUT", "/v1/lines/"+number, `{"state":"`+state+`"}`)
	require.Equal(s.t, 204, status, body)
}

// item is an entry of one of the lists of the control API, as far as the tests
// look at it.
type item struct {
	// Of subscriptions.
	ID, Watcher, Dialect, Event string
	UnderWay                    int `json:"under_way"`
	Resources                   []string
	// Of publications.
	Presentity, ETag, Status, Note string
	Received                       time.Time
	// Of both.
	Expires time.Time
}

// list returns a list of the control API: subscriptions, clients or publications.
func (s *server) list(name string) []item {
	s.t.Helper()
	status, body := s.call("GET", "/v1/"+name, "")
	require.Equal(s.t, 200, status, body)
	var page struct{ Items []item }
	require.NoError(s.t, json.Unmarshal([]byte(body), &page))
	return page.Items
}

// status returns the consolidated status of a user.
func (s *server) status(user string) string {
	s.t.Helper()
	status, body := s.call("GET", "/v1/presence/"+user+"@"+domain, "")
	require.Equal(s.t, 200, status, body)
	var presence struct{ Status string }
	require.NoError(s.t, json.Unmarshal([]byte(body), &presence))
	return presence.Status
}

// eventually asks again and again until it is as it should be.
func (s *server) eventually(what string, ok func() bool) {
	s.t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-again.C:
		case <-deadline:
			require.FailNow(s.t, "not so: "+what)
		}
	}
}

// forgets waits until the server holds nothing of any client.
func (s *server) forgets() {
	s.t.Helper()
	s.eventually("subscriptions, clients and publications are gone", func() bool {
		return len(s.list("subscriptions")) == 0 && len(s.list("clients")) == 0 && len(s.list("publications")) == 0
	})
}
