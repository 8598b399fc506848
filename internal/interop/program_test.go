package interop_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// patience is how long a test waits for what another program does.
	patience = time.Minute
	// lifetime, in seconds, is when a program ends that a killed test left behind.
	lifetime = "120"
)

// missing skips a test that cannot run here, or fails it where it is required.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("BLUSTAR_INTEGRATION") == "required" {
		t.Fatal(what)
	}
	t.Skip(what + "; BLUSTAR_INTEGRATION=required makes this an error")
}

// installed returns the path of a program.
func installed(t testing.TB, program, debianPackage string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, program+" is not installed (Debian: "+debianPackage+")")
	return ""
}

// output collects what a program prints, and can be waited for.
type output struct {
	mu      sync.Mutex
	text    []byte
	changed chan struct{} // closed, and another one made, with each change
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(p), nil
}

func (o *output) String() string {
	text, _ := o.now()
	return text
}

func (o *output) now() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text), o.changed
}

// program is another program, running.
type program struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *output // and standard error
	ended  chan struct{}
	err    error // how it ended; read it after ended is closed
}

// launch starts a program in a folder, with more environment, and ends it with
// the test.
func launch(t testing.TB, folder string, environ []string, name string, args ...string) *program {
	t.Helper()
	p := &program{
		t: t, name: name, stdout: &output{changed: make(chan struct{})}, ended: make(chan struct{}),
	}
	// timeout(1) ends it when it is told to, and by itself should the test be killed. In the
	// foreground it passes SIGTERM on once; otherwise twice, and a second one ends a server at once.
	p.cmd = exec.CommandContext(context.Background(), installed(t, "timeout", "coreutils"), append([]string{"--foreground", "-k", "5", lifetime, name}, args...)...)
	p.cmd.Dir = folder
	p.cmd.Env = append(os.Environ(), environ...)
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stdout
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = 10 * time.Second
	var err error
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		p.kill() // its children: a Kamailio that takes too long to end leaves them
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", name, p.stdout)
		}
	})
	return p
}

// stop is SIGTERM, and waits. It returns how the program ended.
func (p *program) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait()
}

// wait waits until the program ends, and returns how.
func (p *program) wait() error {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		p.t.Errorf("%s does not end", p.name)
		p.kill()
		return nil
	}
}

// kill ends the program and all that it started.
func (p *program) kill() { p.signal(syscall.SIGKILL) }

func (p *program) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// prints waits until the program has printed what the expression matches, and
// returns what its groups do.
func (p *program) prints(expression string) []string {
	p.t.Helper()
	wanted := regexp.MustCompile(expression)
	for deadline := time.After(patience); ; {
		text, changed := p.stdout.now()
		if m := wanted.FindStringSubmatch(text); m != nil {
			return m
		}
		select {
		case <-changed:
		case <-p.ended:
			if text := p.stdout.String(); wanted.MatchString(text) {
				return wanted.FindStringSubmatch(text)
			}
			require.FailNow(p.t, p.name+" ended", "%v; it should have printed %s:\n%s", p.err, expression, p.stdout)
		case <-deadline:
			require.FailNow(p.t, p.name+" does not print "+expression, p.stdout.String())
		}
	}
}

// says writes a line to the standard input of the program.
func (p *program) says(line string) {
	p.t.Helper()
	_, err := io.Copy(p.stdin, strings.NewReader(line+"\n"))
	require.NoError(p.t, err)
}

// ownAddress returns a loopback address that nobody else uses, with all its
// ports. Other tests do the same, at the same time perhaps: there are millions.
func ownAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.%d.%d.%d", 64+rand.N(128), rand.N(256), 1+rand.N(254))
		if l, err := net.Listen("tcp", net.JoinHostPort(address, "5060")); err == nil {
			_ = l.Close()
			return address
		}
	}
	missing(t, "no loopback address but 127.0.0.1 can be used")
	return ""
}

// logs waits until a program has written into a file of its folder what the expression matches.
func (p *program) logs(file, expression string) {
	p.t.Helper()
	wanted := regexp.MustCompile(expression)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.After(patience); ; {
		text, _ := os.ReadFile(filepath.Join(p.cmd.Dir, file))
		if wanted.Match(text) {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			require.FailNow(p.t, p.name+" does not log "+expression, string(text))
		}
	}
}
