package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/stack"
)

// leaveTime bounds signing out and closing the sockets.
const leaveTime = 5 * time.Second

// A session is a client on a stack of its own.
type session struct {
	*client.Client
	stack  *stack.Stack
	served sync.WaitGroup
}

// connect makes the client that the flags describe; change may adapt it. It has
// sent nothing yet.
func (o *options) connect(e env, change func(*client.Config)) (*session, error) {
	if o.as == "" {
		return nil, usageError("-as is missing: the user's own address")
	}
	server, local, err := o.route()
	if err != nil {
		return nil, err
	}
	cfg := client.Config{Server: server, Address: o.as, ContactUser: o.contactUser, Standard: o.standard}
	if cfg.Cipher, err = auth.CipherNamed(o.cipher); err != nil {
		return nil, usageError("-cipher: " + err.Error())
	}
	roots, err := o.tls()
	if err != nil {
		return nil, err
	}
	if cfg.Credentials, err = o.credentials(e); err != nil {
		return nil, err
	}
	defer cfg.Credentials.Wipe() // the client has its own copy
	if o.verbose {
		cfg.Logger = slog.New(slog.NewTextHandler(e.stderr, nil))
	}
	cfg.Waiting = func(err *client.StatusError) {
		o.heard.Store(true)
		fmt.Fprintln(e.stderr, printable(err.Error())+"; waiting")
	}
	if change != nil {
		change(&cfg)
	}

	sip, err := stack.Listen(stack.Config{Listen: []string{local}, TLS: roots, Logger: cfg.Logger})
	if err != nil {
		return nil, err
	}
	cfg.Sender = sip
	c, err := client.New(cfg)
	if err != nil {
		_ = sip.Shutdown(context.Background())
		return nil, usageError(strings.TrimPrefix(err.Error(), "client: "))
	}
	s := &session{Client: c, stack: sip}
	s.served.Go(func() { _ = sip.Serve(context.Background(), c) })
	return s, nil
}

// hintAfter is how long nothing may come back before that is said.
const hintAfter = 2 * time.Second

// patiently asks the server something, and says once that it has not answered for a
// while: over UDP a wrong address, or a server that is down, gives nothing but silence.
func (o *options) patiently(e env, ask func() error) error {
	said := make(chan struct{})
	hint := time.AfterFunc(hintAfter, func() {
		defer close(said)
		if o.heard.Load() {
			return
		}
		fmt.Fprintf(e.stderr, "client: no answer from %s yet: is that the server, and is it up?\n", printable(o.server))
	})
	err := ask()
	if !hint.Stop() {
		<-said
	}
	return err
}

// leave signs out and closes everything. It takes leaveTime at most, and is meant
// for after Ctrl-C too, so it has no context of the caller.
func (s *session) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	err := s.Close(ctx)
	s.shutdown()
	return err
}

// vanish closes everything without signing out.
func (s *session) vanish() {
	s.Abandon()
	s.shutdown()
}

func (s *session) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.stack.Shutdown(ctx) // what is under way has had its time
	s.served.Wait()
}

// route returns the server as a URI and where to listen: on the address that the
// way to the server starts from, so that the Contact is one that it can reach.
func (o *options) route() (server sipx.URI, local string, err error) {
	transport, address, _ := strings.Cut(o.server, ":")
	host, port, err := net.SplitHostPort(address)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || host == "" || number == 0 {
		return server, "", usageError(fmt.Sprintf("-server %q: want transport:host:port, such as udp:127.0.0.1:5060", o.server))
	}
	server = sipx.URI{Scheme: "sip", Host: host, Port: int(number)}
	if strings.Contains(host, ":") {
		server.Host = "[" + host + "]"
	}
	listen := "tcp" // for tls too: the server's requests come over our connection
	switch transport {
	case "udp":
		listen = "udp"
	case "tcp", "tls":
		server.Params = ";transport=" + transport
	default:
		return server, "", usageError(fmt.Sprintf("-server %q: transport %q is none of udp, tcp and tls", o.server, transport))
	}
	way, err := net.Dial("udp", address) // sends nothing
	if err != nil {
		return server, "", fmt.Errorf("no way to the server: %w", err)
	}
	defer way.Close()
	source, _, err := net.SplitHostPort(way.LocalAddr().String())
	if err != nil {
		return server, "", err
	}
	return server, listen + ":" + net.JoinHostPort(source, "0"), nil
}

// tls returns what to check the server's certificate by.
func (o *options) tls() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.insecure}
	if o.ca == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, fmt.Errorf("-ca: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("-ca: %s holds no certificate in PEM", o.ca)
	}
	return cfg, nil
}

// credentials returns those of -user; none without it.
func (o *options) credentials(e env) (auth.Credentials, error) {
	if o.account == "" {
		return auth.Credentials{}, nil
	}
	password, err := o.password(e)
	if err != nil {
		return auth.Credentials{}, err
	}
	defer clear(password)
	c, err := auth.NewCredentials(o.account, password)
	if err != nil {
		return c, fmt.Errorf("-user and password: %w", err)
	}
	return c, nil
}

func (o *options) password(e env) ([]byte, error) {
	if o.passwordFile != "" {
		f, err := os.Open(o.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("-password-file: %w", err)
		}
		defer f.Close()
		return firstLine(f)
	}
	if p := e.getenv("BLUSTAR_PASSWORD"); p != "" {
		return []byte(p), nil
	}
	fmt.Fprintf(e.stderr, "password of %s (it will be seen): ", printable(o.account))
	return firstLine(e.stdin)
}

func firstLine(r io.Reader) ([]byte, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the password: %w", err)
	}
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	if len(line) == 0 {
		return nil, errors.New("there is no password: give -password-file, BLUSTAR_PASSWORD or standard input")
	}
	return line, nil
}
