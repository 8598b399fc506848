// Package rig starts real servers for integration tests: a domain controller
// ("ad") and an OpenLDAP server ("slapd"), each with its own data on its own
// loopback address.
//
// The scripts that do it are looked for in $BLUSTAR_RIGS, else in shared/rigs
// beside the module's directory. Where they or the server's program are missing,
// tests are skipped; with BLUSTAR_INTEGRATION=required in the environment, they
// install what is missing, and fail if that fails.
package rig

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// maxSeconds is when a rig ends by itself that a killed test left behind.
const maxSeconds = "1800"

// Rig is a server that runs, as the keys and values that its start script
// printed: URL, CA_FILE, BASE_DN, BIND_DN, BIND_PW and so on.
type Rig map[string]string

// keyScripts is the key under which a Rig remembers where its scripts are.
const keyScripts = "RIG_SCRIPTS"

// errMissing says that a rig cannot run here.
var errMissing = errors.New("rig: not available")

// Start starts a rig with arguments of its start script, and stops it when the
// test ends.
func Start(t testing.TB, kind string, args ...string) Rig {
	t.Helper()
	r, err := start(kind, args)
	if err != nil {
		unavailable(t, err)
	}
	t.Cleanup(func() {
		if err := r.remove(); err != nil {
			t.Errorf("rig: %v", err)
		}
	})
	return r
}

// A Pool holds rigs that the tests of a package share. Its zero value is empty.
type Pool struct {
	mu   sync.Mutex
	rigs map[string]Rig
	errs map[string]error
}

// Get returns the rig of this kind and these arguments, starting it if it is the
// first to ask. It runs until Stop.
func (p *Pool) Get(t testing.TB, kind string, args ...string) Rig {
	t.Helper()
	key := kind + " " + strings.Join(args, " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rigs == nil {
		p.rigs, p.errs = make(map[string]Rig), make(map[string]error)
	}
	if p.rigs[key] == nil && p.errs[key] == nil {
		p.rigs[key], p.errs[key] = start(kind, args)
	}
	if err := p.errs[key]; err != nil {
		unavailable(t, err)
	}
	return p.rigs[key]
}

// Stop stops all rigs. It is for TestMain, after the tests.
func (p *Pool) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, r := range p.rigs {
		if r != nil {
			errs = append(errs, r.remove())
		}
	}
	return errors.Join(errs...)
}

// Hang freezes the server, and thaws it when the test ends or by the function
// returned. Meanwhile it accepts connections but answers nothing.
func (r Rig) Hang(t testing.TB) (thaw func()) {
	t.Helper()
	r.must(t, "hang", "on", "--dir", r["DIR"])
	if err := r.awaitStopped(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	thaw = sync.OnceFunc(func() { r.must(t, "hang", "off", "--dir", r["DIR"]) })
	t.Cleanup(thaw)
	return thaw
}

// Down stops the server, keeping its data, until the function returned is called
// or the test ends.
func (r Rig) Down(t testing.TB) (up func()) {
	t.Helper()
	r.must(t, "stop", "--keep", "--dir", r["DIR"])
	up = sync.OnceFunc(func() {
		r.must(t, "start", "--reuse", "--addr", r["ADDR"], "--dir", r["DIR"], "--max-seconds", maxSeconds)
	})
	t.Cleanup(up)
	return up
}

func (r Rig) must(t testing.TB, script string, args ...string) {
	t.Helper()
	if _, err := run(filepath.Join(r[keyScripts], script), args...); err != nil {
		t.Fatalf("rig: %v", err)
	}
}

func (r Rig) remove() error {
	_, err := run(filepath.Join(r[keyScripts], "stop"), "--dir", r["DIR"])
	return errors.Join(err, os.RemoveAll(filepath.Dir(r["DIR"])))
}

func required() bool { return os.Getenv("BLUSTAR_INTEGRATION") == "required" }

func unavailable(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errMissing) && !required() {
		t.Skipf("%v; BLUSTAR_INTEGRATION=required makes this an error", err)
	}
	t.Fatal(err)
}

func start(kind string, args []string) (Rig, error) {
	scripts, err := find(kind)
	if err != nil {
		return nil, err
	}
	if err := installed(kind, scripts); err != nil {
		return nil, err
	}
	base, err := os.MkdirTemp("", "rig-"+kind+"-")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(base, "run")
	out, err := run(filepath.Join(scripts, "start"), append([]string{"--addr", address, "--dir", dir, "--max-seconds", maxSeconds}, args...)...)
	if err != nil {
		return nil, err
	}
	r := Rig{keyScripts: scripts}
	for line := range strings.Lines(out) {
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			r[key] = value
		}
	}
	return r, nil
}

// find returns the directory with the scripts of a kind of rig.
func find(kind string) (string, error) {
	rigs := os.Getenv("BLUSTAR_RIGS")
	if rigs == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", err
		}
		rigs = filepath.Join(filepath.Dir(root), "shared", "rigs")
	}
	dir := filepath.Join(rigs, kind)
	if _, err := os.Stat(filepath.Join(dir, "start")); err != nil {
		return "", fmt.Errorf("%w: no %s in %s", errMissing, kind, rigs)
	}
	return dir, nil
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("rig: not inside a module")
		}
		dir = parent
	}
}

// installed makes sure that the server's program is there.
func installed(kind, scripts string) error {
	program := kind
	if kind == "ad" {
		program = "samba"
		if os.Geteuid() != 0 {
			return fmt.Errorf("%w: a domain controller needs root, for its ports", errMissing)
		}
	}
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	if _, err := os.Stat("/usr/sbin/" + program); err == nil {
		return nil
	}
	if !required() {
		return fmt.Errorf("%w: %s is not installed", errMissing, program)
	}
	_, err := run(filepath.Join(scripts, "install.sh"))
	return err
}

// Address returns a loopback address of the test's own, where every port is free, also
// again after a server on it has ended. The test is skipped, or fails, where there is none.
func Address(t testing.TB) string {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		unavailable(t, err)
	}
	return address
}

// freeAddress returns a loopback address of our own. Other tests do the same, at
// the same time perhaps: there are millions.
func freeAddress() (string, error) {
	for range 100 {
		address := fmt.Sprintf("127.%d.%d.%d", 64+rand.N(128), rand.N(256), 1+rand.N(254))
		l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
		if err == nil {
			l.Close()
			return address, nil
		}
	}
	return "", fmt.Errorf("%w: no loopback address but 127.0.0.1 can be used", errMissing)
}

func run(name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return "", fmt.Errorf("rig: %s: %w: %s", name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
