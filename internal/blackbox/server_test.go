package blackbox_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// patience is how long a test waits for what must come. It is generous since
// it is spent only by a test that fails.
const patience = time.Minute

// users is the directory that every test server has.
const users = `{"users":[
 {"id":"tom","account":"DE\\tom","display_name":"Tom Hanks","sip":["tom@example.com","tom.hanks@astra.com"],"tel":["2719"],"lines":["2719"],"mail":"tom@example.com"},
 {"id":"bill","account":"DE\\bill","display_name":"Bill Murray","sip":["bill@example.com","bill@aastra.com"],"tel":["6725"],"lines":["6725"],"mail":"bill@example.com"},
 {"id":"joe","account":"DE\\joe","display_name":"Joe","sip":["joe@example.org"],"tel":["2001"],"lines":["2001","2002"],"mail":"joe@example.org"},
 {"id":"ted","account":"DE\\ted","display_name":"Ted","sip":["ted@example.net"],"tel":["2003"],"lines":[],"mail":"ted@example.net"},
 {"id":"sean","account":"DE\\sean","display_name":"Sean Connery","sip":["sean.connery@astra.com"],"tel":["2720"],"lines":["2720"],"mail":"sean@astra.com"},
 {"id":"peter","account":"DE\\peter","display_name":"Peter Test","sip":["peter.test@aastra.com"],"tel":["200"],"lines":["200"],"mail":"peter.test@aastra.com"},
 {"id":"zoe","account":"zoe","display_name":"Zoë","sip":["zoe@example.com"],"tel":["+491234"],"lines":[],"mail":"zoe@example.com"}
]}`

// passwords of the accounts; no log line and no answer may ever show one.
var passwords = map[string]string{
	`DE\tom`:  `h51%3k5$k3h`,
	`DE\bill`: `pass:wo\rd-ü→`,
	`DE\joe`:  `joes-Secret-1`,
	`zoe`:     `zoes-Secret-2`,
	`amcc`:    `amccs-Secret-3`,
}

var accounts = sync.OnceValue(func() []byte {
	type account map[string]any
	var list []account
	for name, password := range passwords {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			panic(err)
		}
		a := account{"account": name, "password_hash": string(hash)}
		switch name {
		case "amcc":
			a["amcc"] = true
		case "zoe", `DE\tom`:
			a["digest_ha1"] = map[string]string{"realm": "example.com",
				"md5":    hexMD5(name + ":example.com:" + password),
				"sha256": hexSHA256(name + ":example.com:" + password)}
		}
		list = append(list, a)
	}
	data, _ := json.Marshal(map[string]any{"accounts": list})
	return data
})

// server is a running process of the program.
type server struct {
	t        *testing.T
	cmd      *exec.Cmd
	udp, tcp string
	tls      string
	http     string
	token    string
	mu       sync.Mutex
	stderr   bytes.Buffer
	exited   chan struct{}
	phones   []*phone
	dirty    bool // the test left dead clients, so stopping may take its whole time
	stopped  bool
}

// config is the configuration of a test server: quick, open, and with short
// minimal lifetimes, with the keys of each JSON object in changes on top.
func config(t *testing.T, changes ...string) map[string]any {
	var c map[string]any
	require.NoError(t, json.Unmarshal([]byte(`{
	 "listen": ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
	 "domains": ["example.com", "example.org", "example.net", "astra.com", "aastra.com"],
	 "auth": {"mode": "off"},
	 "accounts": "accounts.json",
	 "directory": {"file": "users.json"},
	 "limits": {"min_expires": 1},
	 "http": {"listen": "127.0.0.1:0"},
	 "log": {"level": "debug"}}`), &c))
	for _, change := range changes {
		var over map[string]any
		require.NoError(t, json.Unmarshal([]byte(change), &over), change)
		for key, value := range over {
			inner, ok := value.(map[string]any)
			base, isMap := c[key].(map[string]any)
			if ok && isMap && key != "directory" {
				maps.Copy(base, inner)
			} else {
				c[key] = value
			}
		}
	}
	return c
}

// configDir is a folder with the files that a configuration names.
func configDir(t *testing.T, c any) (dir, file string) {
	dir = t.TempDir()
	file = filepath.Join(dir, "server.json")
	writeJSON(t, file, c)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "users.json"), []byte(users), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "accounts.json"), accounts(), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte("s3cret-token\n"), 0o600))
	writeCertificate(t, dir)
	return dir, file
}

func writeJSON(t *testing.T, file string, v any) {
	data, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, data, 0o600))
}

// start runs the server and waits until it says that it is ready. When the
// test ends the server is stopped, and must have stopped well.
func start(t *testing.T, changes ...string) *server {
	t.Helper()
	c := config(t, changes...)
	dir, file := configDir(t, c)
	s := launch(t, "-config", file)
	if h, ok := c["http"].(map[string]any); ok && h["token_file"] != nil {
		token, err := os.ReadFile(filepath.Join(dir, "token"))
		require.NoError(t, err)
		s.token = strings.TrimSpace(string(token))
	}
	return s
}

func launch(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{t: t, exited: make(chan struct{}), cmd: exec.Command(binary, args...)}
	pipe, err := s.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())
	ready := make(chan bool, 1)
	go func() {
		defer close(s.exited)
		in := bufio.NewReader(pipe)
		for {
			line, err := in.ReadString('\n')
			s.mu.Lock()
			s.stderr.WriteString(line)
			s.mu.Unlock()
			if rest, ok := strings.CutPrefix(line, "listening "); ok {
				s.listening(strings.TrimSpace(rest))
			}
			if line == "ready\n" {
				ready <- true
			}
			if err != nil {
				_ = s.cmd.Wait()
				return
			}
		}
	}()
	t.Cleanup(s.finish)
	select {
	case <-ready:
	case <-s.exited:
		t.Fatalf("the server ended at start:\n%s", s.log())
	case <-time.After(patience):
		t.Fatalf("the server is not ready:\n%s", s.log())
	}
	return s
}

func (s *server) listening(line string) {
	network, address, _ := strings.Cut(line, " ")
	switch network {
	case "udp":
		s.udp = address
	case "tcp":
		s.tcp = address
	case "tls":
		s.tls = address
	case "http":
		s.http = address
	}
}

func (s *server) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stderr.String()
}

// terminate asks the server to stop and gives the time that it took.
func (s *server) terminate(sig os.Signal) time.Duration {
	s.t.Helper()
	s.stopped = true
	begin := time.Now()
	require.NoError(s.t, s.cmd.Process.Signal(sig))
	select {
	case <-s.exited:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		s.t.Errorf("the server does not stop:\n%s", s.log())
	}
	return time.Since(begin)
}

func (s *server) kill() {
	s.stopped = true
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// finish stops the server and looks for what must never be: a crash, a data
// race, an exit code other than 0, a secret in what it wrote.
func (s *server) finish() {
	if !s.stopped {
		if s.dirty {
			s.kill()
		} else {
			s.terminate(syscall.SIGTERM)
			if code := s.cmd.ProcessState.ExitCode(); code != 0 {
				s.t.Errorf("exit code %d", code)
			}
		}
	}
	for _, p := range s.phones {
		p.close()
	}
	log := s.log()
	for _, bad := range []string{"panic", "DATA RACE", "goroutine "} {
		if strings.Contains(log, bad) {
			s.t.Errorf("the server wrote %q", bad)
		}
	}
	for _, secret := range passwords {
		if strings.Contains(log, secret) {
			s.t.Errorf("the server logged the password %q", secret)
		}
	}
	if s.t.Failed() {
		if len(log) > 6000 {
			log = "…" + log[len(log)-6000:]
		}
		s.t.Logf("standard error:\n%s", log)
	}
}

// command runs the program to its end.
func command(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(fmt.Errorf("running %v: %w", args, err))
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
