//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/rig"
)

// patience is how long a test waits for what takes seconds on a machine that is not busy.
const patience = 2 * time.Minute

// tick is how often it looks.
const tick = 50 * time.Millisecond

// The test's own binary is the program, too, and a NATS server.
func TestMain(m *testing.M) {
	args, nats := os.Getenv(asServer), os.Getenv(asNATS)
	if args+nats != "" {
		go func() { // it does not outlive the test
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
	}
	switch {
	case args != "":
		os.Args = append([]string{"server"}, strings.Split(args, " ")...)
		main()
	case nats != "":
		options, err := natsserver.ProcessConfigFile(nats)
		if err != nil {
			panic(err)
		}
		s, err := natsserver.NewServer(options)
		if err != nil {
			panic(err)
		}
		s.Start()
		s.WaitForShutdown()
	default:
		os.Exit(m.Run())
	}
}

// Variables of the environment that make the test's binary another program.
const (
	asServer = "BLUSTAR_TEST_SERVER" // with these arguments
	asNATS   = "BLUSTAR_TEST_NATS"   // with this configuration file
)

// process makes a process of the test's binary, which ends with the test.
func process(t testing.TB, as, args string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), as+"="+args)
	_, err := cmd.StdinPipe() // closed with this process, or by Wait
	require.NoError(t, err)
	return cmd
}

// cluster are NATS servers, each at an address of its own, where it comes back after an end.
type cluster struct {
	t       testing.TB
	hosts   []string
	configs []string
	servers []*exec.Cmd
}

// startNATS starts n servers. More is added to their configuration.
func startNATS(t testing.TB, n int, more string) *cluster {
	t.Helper()
	c := &cluster{t: t, servers: make([]*exec.Cmd, n)}
	folder := t.TempDir()
	var routes []string
	for range n {
		host := rig.Address(t)
		c.hosts = append(c.hosts, host)
		routes = append(routes, "nats://"+host+":6222")
	}
	for i, host := range c.hosts {
		text := fmt.Sprintf("server_name: n%d\nlisten: \"%s:4222\"\njetstream { store_dir: %q }\n%s\n", i, host, filepath.Join(folder, fmt.Sprint(i)), more)
		if n > 1 { // nodes keep to their links
			text += fmt.Sprintf("cluster { name: presence, listen: \"%s:6222\", no_advertise: true, routes: [%s] }\n", host, strings.Join(routes, ", "))
		}
		name := filepath.Join(folder, fmt.Sprintf("n%d.conf", i))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		c.configs = append(c.configs, name)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.kill(i)
		}
	})
	for i := range n {
		c.start(i)
	}
	return c
}

func (c *cluster) start(i int) {
	c.t.Helper()
	c.servers[i] = process(c.t, asNATS, c.configs[i])
	require.NoError(c.t, c.servers[i].Start())
}

// kill ends a server as a power cut does, but for what the disk has.
func (c *cluster) kill(i int) {
	if s := c.servers[i]; s != nil {
		_ = s.Process.Kill()
		_ = s.Wait()
		c.servers[i] = nil
	}
}

// leader is the server that leads the stream of a bucket.
func (c *cluster) leader(bucket string) int {
	c.t.Helper()
	var urls []string
	for i, host := range c.hosts {
		if c.servers[i] != nil {
			urls = append(urls, "nats://"+host+":4222")
		}
	}
	conn, err := nats.Connect(strings.Join(urls, ","), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	require.NoError(c.t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	require.NoError(c.t, err)
	at := -1
	require.Eventually(c.t, func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		stream, err := js.Stream(ctx, bucket)
		if err != nil || stream.CachedInfo().Cluster == nil {
			return false
		}
		for i, s := range c.servers {
			if s != nil && stream.CachedInfo().Cluster.Leader == fmt.Sprintf("n%d", i) {
				at = i
			}
		}
		return at >= 0
	}, patience, 50*time.Millisecond, "no leader")
	return at
}

// link is what a node has of the network to one NATS server. What is sent while it is cut
// arrives when it is not any more, as with TCP.
type link struct {
	listener net.Listener
	work     sync.WaitGroup

	mu    sync.Mutex
	open  chan struct{} // closed while the link is there
	conns map[net.Conn]bool
	ended bool
}

func newLink(t testing.TB, to string) *link {
	listener, err := net.Listen("tcp", rig.Address(t)+":4222")
	require.NoError(t, err)
	l := &link{listener: listener, open: make(chan struct{}), conns: make(map[net.Conn]bool)}
	close(l.open)
	l.work.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			l.work.Go(func() { l.serve(from, to) })
		}
	})
	t.Cleanup(l.close)
	return l
}

func (l *link) serve(from net.Conn, to string) {
	defer from.Close()
	l.through()
	other, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer other.Close()
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	l.conns[from], l.conns[other] = true, true
	l.mu.Unlock()
	pass := func(dst, src net.Conn) {
		buf := make([]byte, 64<<10)
		for {
			n, err := src.Read(buf)
			l.through()
			if _, e := dst.Write(buf[:n]); err != nil || e != nil {
				_, _ = dst.Close(), src.Close()
				return
			}
		}
	}
	l.work.Go(func() { pass(other, from) })
	pass(from, other)
	l.mu.Lock()
	delete(l.conns, from)
	delete(l.conns, other)
	l.mu.Unlock()
}

func (l *link) through() {
	l.mu.Lock()
	open := l.open
	l.mu.Unlock()
	<-open
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

func (l *link) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

func (l *link) close() {
	_ = l.listener.Close()
	l.heal()
	l.mu.Lock()
	l.ended = true
	for c := range l.conns {
		_ = c.Close()
	}
	l.mu.Unlock()
	l.work.Wait()
}

// node is the program as a process, and who starts it again when it ends by itself.
type node struct {
	t                   testing.TB
	name, address, http string
	config              string
	links               []*link

	mu      sync.Mutex
	cmd     *exec.Cmd
	ready   chan struct{} // closed when the process serves
	ended   chan struct{} // closed when it has ended
	wanted  bool          // it is started again when it ends
	starts  int
	log     bytes.Buffer
	watcher sync.WaitGroup
}

// startNodes starts nodes on a cluster.
func startNodes(t testing.TB, c *cluster, folder string, names ...string) []*node {
	t.Helper()
	var nodes []*node
	for _, name := range names {
		n := newNode(t, c, folder, nil, name)
		n.start()
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		n.serves()
	}
	return nodes
}

// configuration is that of a node.
type configuration map[string]any

func (c configuration) nats() map[string]any {
	return c["store"].(map[string]any)["nats"].(map[string]any)
}

// newNode makes a node that is not started yet. Change, which may be nil, changes its
// configuration.
func newNode(t testing.TB, c *cluster, folder string, change func(configuration), name string) *node {
	t.Helper()
	host := rig.Address(t)
	n := &node{t: t, name: name, address: host + ":5060", http: host + ":8080", config: filepath.Join(folder, name+host+".json")}
	var urls []string
	for _, to := range c.hosts {
		l := newLink(t, to+":4222")
		n.links = append(n.links, l)
		urls = append(urls, "nats://"+l.listener.Addr().String())
	}
	file := configuration{
		"listen": []string{"udp:" + n.address}, "domains": []string{"example.com"}, "auth": map[string]any{"mode": "off"},
		"directory": map[string]any{"file": "users.json"}, "http": map[string]any{"listen": n.http},
		"store": map[string]any{"node": name, "nats": map[string]any{"url": urls, "replicas": len(c.hosts), "lease": "4s"}},
	}
	if change != nil {
		change(file)
	}
	text, err := json.Marshal(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(n.config, text, 0o600))
	t.Cleanup(func() {
		n.end(syscall.SIGKILL)
		if t.Failed() {
			n.mu.Lock()
			t.Logf("the log of node %s:\n%s", n.name, n.log.String())
			n.mu.Unlock()
		}
	})
	return n
}

// run runs the program to its end, with arguments as in a shell.
func run(t testing.TB, args string) (code int, output string) {
	t.Helper()
	cmd := process(t, asServer, args)
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

// start starts the process.
func (n *node) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wanted = true
	n.startLocked()
}

func (n *node) startLocked() {
	cmd := process(n.t, asServer, "-config "+n.config)
	out, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		n.t.Errorf("node %s: %v", n.name, err)
		return
	}
	n.starts++
	ready, ended := make(chan struct{}), make(chan struct{})
	n.cmd, n.ready, n.ended = cmd, ready, ended
	n.watcher.Go(func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			n.mu.Lock()
			n.log.WriteString(lines.Text() + "\n")
			n.mu.Unlock()
			if lines.Text() == "ready" {
				close(ready)
			}
		}
		_ = cmd.Wait()
		close(ended)
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.wanted && n.cmd == cmd {
			n.startLocked()
		}
	})
}

// serves waits until the process is ready.
func (n *node) serves() {
	n.t.Helper()
	require.Eventually(n.t, func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		select {
		case <-n.ready:
			return true
		default:
			return false
		}
	}, patience, 10*time.Millisecond, "node %s does not serve", n.name)
}

// end ends the process by a signal, and waits for that. It is not started again.
func (n *node) end(s syscall.Signal) {
	n.mu.Lock()
	n.wanted = false
	cmd, ended := n.cmd, n.ended
	n.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(s)
	select {
	case <-ended:
	case <-time.After(patience):
		n.t.Errorf("node %s does not end by signal %v", n.name, s)
		_ = cmd.Process.Kill()
	}
	n.watcher.Wait()
}

// signal sends a signal alone.
func (n *node) signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_ = n.cmd.Process.Signal(s)
}

// startsAgain waits until the process has ended and another one serves.
func (n *node) startsAgain(after int) {
	n.t.Helper()
	require.Eventually(n.t, func() bool { return n.started() > after }, patience, 10*time.Millisecond, "node %s goes on", n.name)
	n.serves()
}

func (n *node) started() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.starts
}

// get asks the control API for JSON.
func (n *node) get(path string, into any) error {
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}).Get("http://" + n.http + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}
