// Command cluster shows how a presence server outlives the machines that it runs on: it
// starts three NATS servers and three nodes, which all serve, has one of them hear of a call,
// kills one node, ends another one politely, and prints what two clients notice of it. It needs no arguments and no
// set-up:
//
//	cd examples/cluster && go run .
//
// Every node is a process of its own, this program with the argument "node". Clients reach
// them at one address; file address.go stands for the virtual address or the load balancer
// that it is on several machines. File node.go is what one copies from.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) == 6 && os.Args[1] == "node" {
		err = serve(ctx, os.Stdin, os.Stdout, os.Args[2], os.Args[3], os.Args[4], os.Args[5])
	} else {
		err = day(ctx, os.Stdout, 3*time.Second) // who wants to see a fail-over does not want to wait; 10 s by default
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// hold listens on a port of 127.0.0.1 from below those that systems give to outgoing
// connections, so that none of these takes it in the moment between the end of this
// listener and the start of the one it is held for.
func hold() (l net.Listener, err error) {
	for range 100 {
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.N(20000))); err == nil {
			return l, nil
		}
	}
	return nil, err
}

// startNATS starts three NATS servers that keep the records, and returns their URLs.
func startNATS(dir string) (urls []string, stop func(), err error) {
	var held []net.Listener
	var routes []string
	for range 3 {
		l, err := hold()
		if err != nil {
			return nil, nil, err
		}
		defer l.Close()
		held = append(held, l)
		routes = append(routes, "nats://"+l.Addr().String())
	}
	var all []*server.Server
	stop = func() {
		for _, s := range all {
			s.Shutdown()
			s.WaitForShutdown()
		}
	}
	for i, l := range held {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("nats-%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprint(i)),
			Cluster: server.ClusterOpts{Name: "presence", Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port},
			Routes:  server.RoutesFromStr(strings.Join(routes, ",")),
		})
		if err != nil {
			stop()
			return nil, nil, err
		}
		_ = l.Close()
		s.Start()
		all = append(all, s)
		if !s.ReadyForConnections(time.Minute) {
			stop()
			return nil, nil, fmt.Errorf("NATS does not start: is %s taken?", l.Addr())
		}
		urls = append(urls, s.ClientURL())
	}
	return urls, stop, nil
}

// process is a node.
type process struct {
	name  string
	cmd   *exec.Cmd
	in    io.Writer           // where it is told of calls
	ready chan netip.AddrPort // told where it serves
	at    netip.AddrPort
}

func startNode(ctx context.Context, name, urls, advertise string, lease time.Duration) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: exec.CommandContext(ctx, program, "node", name, urls, advertise, lease.String()), ready: make(chan netip.AddrPort, 1)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // until the process ends
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if text, ok := strings.CutPrefix(lines.Text(), serving); ok {
				at, _ := netip.ParseAddrPort(text)
				p.ready <- at
			}
		}
	}()
	return p, nil
}

// serves waits until the node serves.
func (p *process) serves(ctx context.Context) error {
	select {
	case p.at = <-p.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("node %s does not serve", p.name)
	}
}

// end ends a node by a signal, and waits for it.
func (p *process) end(s os.Signal) {
	_ = p.cmd.Process.Signal(s)
	_ = p.cmd.Wait()
}

// person is a user with a client.
type person struct {
	*client.Client
	name, address string
	stack         sipx.Stack
	heard         chan client.Summary
}

func newPerson(name, server string) (*person, error) {
	id := strings.ToLower(name)
	uri, err := sipx.ParseURI("sip:" + server)
	if err != nil {
		return nil, err
	}
	credentials, err := auth.NewCredentials(`DE\`+id, []byte(password))
	if err != nil {
		return nil, err
	}
	sip, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	if err != nil {
		return nil, err
	}
	p := &person{name: name, address: "sip:" + id + "@example.com", stack: sip, heard: make(chan client.Summary, 64)}
	p.Client, err = client.New(client.Config{
		Sender: sip, Server: uri, Address: p.address, Credentials: credentials,
		Notify: func(n client.Notification) { p.heard <- n.Summary() },
	})
	if err != nil {
		return nil, errors.Join(err, sip.Shutdown(context.Background()))
	}
	go sip.Serve(context.Background(), p) // until stack.Shutdown
	return p, nil
}

// leave ends a client.
func (p *person) leave(ctx context.Context) {
	_ = p.Close(ctx)
	_ = p.stack.Shutdown(ctx)
}

// sees waits until the person is told that other is in a status, or has a telephone in a state,
// and returns what came before.
func (p *person) sees(ctx context.Context, other *person, status string) (before []string, err error) {
	line := func(l aa.Line) bool { return "line "+string(l.State) == status }
	for {
		select {
		case s := <-p.heard:
			switch {
			case s.Entity != other.address:
			case s.Status == status || slices.ContainsFunc(s.Lines, line):
				return before, nil
			default:
				before = append(before, s.Status)
			}
		case <-ctx.Done():
			return before, fmt.Errorf("%s was not told that %s is %s, but %q", p.name, other.name, status, before)
		}
	}
}

// call has the telephone system tell one node that two people are on the telephone, and that they
// have hung up.
func call(ctx context.Context, out io.Writer, node *process, tom, ann *person) error {
	for _, state := range []aa.LineState{aa.LineBusy, aa.LineIdle} {
		began := time.Now()
		fmt.Fprintf(node.in, "%s %s\n%s %s\n", tomsLine, state, annsLine, state)
		for _, two := range [][2]*person{{tom, ann}, {ann, tom}} {
			if _, err := two[0].sees(ctx, two[1], "line "+string(state)); err != nil {
				return err
			}
		}
		fmt.Fprintf(out, "Node %s, where nobody is, hears that their lines are %s. Both see it after %v.\n", node.name, state, time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// day is what the program shows. A node that dies is missed after a lease.
func day(ctx context.Context, out io.Writer, lease time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "blustar-cluster")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	urls, stop, err := startNATS(dir)
	if err != nil {
		return err
	}
	defer stop()
	at, err := newAddress()
	if err != nil {
		return err
	}
	defer at.close()
	var nodes []*process
	defer func() {
		for _, p := range nodes {
			p.end(syscall.SIGTERM)
		}
	}()
	for _, name := range []string{"a", "b", "c"} {
		p, err := startNode(ctx, name, strings.Join(urls, ","), at.String(), lease)
		if err != nil {
			return err
		}
		nodes = append(nodes, p)
		if err := p.serves(ctx); err != nil {
			return err
		}
		at.add(p.at)
	}
	fmt.Fprintf(out, "Three nodes serve. Clients reach them at %s.\n", at)

	tom, err := newPerson("Tom", at.String())
	if err != nil {
		return err
	}
	defer tom.leave(ctx)
	ann, err := newPerson("Ann", at.String())
	if err != nil {
		return err
	}
	defer ann.leave(ctx)
	if err := tom.Watch(ctx, ann.address); err != nil { // and so Tom is at the first node, Ann at the second
		return err
	}
	if err := ann.Watch(ctx, tom.address); err != nil {
		return err
	}
	status := aa.StatusAvailable
	// tell has Ann publish, and Tom hear nothing else.
	tell := func() (time.Duration, error) {
		began := time.Now()
		if err := ann.Publish(ctx, client.Publication{Status: status}); err != nil {
			return 0, err
		}
		before, err := tom.sees(ctx, ann, string(status))
		if err == nil && len(before) > 0 {
			err = fmt.Errorf("meanwhile Tom was told that Ann is %q", before)
		}
		return time.Since(began), err
	}
	if err := ann.Publish(ctx, client.Publication{Status: status}); err != nil {
		return err
	}
	if _, err := tom.sees(ctx, ann, string(status)); err != nil {
		return err
	}
	fmt.Fprintln(out, "Tom watches Ann, who is available. They are at two nodes.")
	if err := call(ctx, out, nodes[2], tom, ann); err != nil {
		return err
	}
	status = aa.StatusBusy
	took, err := tell()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Ann is busy. Tom sees it after %v.\n", took.Round(time.Millisecond))

	step := func(what string, signal os.Signal, next aa.Status) error {
		p := nodes[0]
		fmt.Fprintf(out, "\n%s %s.\n", what, p.name)
		began := time.Now()
		nodes = nodes[1:]
		at.remove(p.at)
		p.end(signal)
		status = next
		if _, err := tell(); err != nil {
			return err
		}
		fmt.Fprintf(out, "Ann is %s. Tom, who was told nothing else meanwhile, sees it %v later.\n", status, time.Since(began).Round(10*time.Millisecond))
		return nil
	}
	if err := step("It is noon, and Tom's machine dies (kill -9):", syscall.SIGKILL, aa.StatusAvailable); err != nil {
		return err
	}
	return step("In the evening a new version is installed (SIGTERM) on Ann's,", syscall.SIGTERM, aa.StatusBusy)
}
