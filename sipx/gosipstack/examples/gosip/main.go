// Command gosip puts a presence server beside the calls of a program that uses
// ghettovoice/gosip, on one UDP port: when gosip takes a call for Tom, everybody
// who watches him sees that he is in a call. It needs no arguments.
//
// The server is that of examples/quickstart; the gosip.Server is a Tap of its stack.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"github.com/ghettovoice/gosip"
	"github.com/ghettovoice/gosip/sip"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/gosipstack"
	"github.com/openblustar/blustar/sipx/stack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gosip:", err)
		os.Exit(1)
	}
}

// startServer starts a presence server and a gosip.Server on one UDP port.
func startServer() (*presence.Server, gosip.Server, *stack.Stack, error) {
	users, err := directory.NewMemory([]directory.Entry{
		{ID: "tom", Account: `DE\tom`, SIP: []string{"tom@example.com"}, Lines: []string{"2719"}},
		{ID: "ann", Account: `DE\ann`, SIP: []string{"ann@example.com"}, Lines: []string{"2720"}},
	})
	if err != nil {
		return nil, nil, nil, err
	}
	hash, err := auth.HashPassword([]byte(password))
	if err != nil {
		return nil, nil, nil, err
	}
	accounts, err := auth.NewLocalAccounts([]auth.Account{{Account: `DE\ann`, PasswordHash: hash}})
	if err != nil {
		return nil, nil, nil, err
	}
	guard, err := auth.New(auth.Config{Verifier: accounts})
	if err != nil {
		return nil, nil, nil, err
	}
	sockets, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	if err != nil {
		return nil, nil, nil, err
	}
	server, err := presence.New(presence.Config{
		Sender: sockets, Directory: users, Guard: guard, Domains: []string{"example.com"},
	})
	if err != nil {
		return nil, nil, nil, errors.Join(err, sockets.Shutdown(context.Background()))
	}
	go sockets.Serve(context.Background(), server) // until stack.Shutdown

	// The rest of the traffic is gosip's: here, calls for Tom's telephone.
	calls := gosipstack.NewServer(sockets, gosip.ServerConfig{Host: "127.0.0.1"}, nil, nil)
	line := func(state aa.LineState) gosip.RequestHandler {
		return func(req sip.Request, _ sip.ServerTransaction) {
			_ = server.Feed().SetLine(context.Background(), "2719", presence.LineState{State: state})
			_, _ = calls.RespondOnRequest(req, 200, "OK", "", nil)
		}
	}
	for method, handler := range map[sip.RequestMethod]gosip.RequestHandler{
		sip.INVITE: line(aa.LineBusy),
		sip.BYE:    line(aa.LineIdle),
		sip.ACK:    func(sip.Request, sip.ServerTransaction) {},
	} {
		if err := calls.OnRequest(method, handler); err != nil {
			return nil, nil, nil, errors.Join(err, sockets.Shutdown(context.Background()))
		}
	}
	return server, calls, sockets, nil
}

const password = "correct horse"

// run shows a call.
func run(ctx context.Context, out io.Writer) error {
	server, calls, sockets, err := startServer()
	if err != nil {
		return err
	}
	defer sockets.Shutdown(ctx)
	defer calls.Shutdown()
	defer server.Shutdown(ctx)
	at := sockets.Listening()[0]
	fmt.Fprintf(out, "A presence server and a gosip.Server listen on %s %s.\n", at.Transport, at.Local)

	peers, err := stack.Listen(stack.Config{Listen: []string{"udp:127.0.0.1:0"}})
	if err != nil {
		return err
	}
	defer peers.Shutdown(ctx)
	ann, heard, err := signIn(peers, at)
	if err != nil {
		return err
	}
	defer ann.Abandon()
	if err := ann.Watch(ctx, "sip:tom@example.com"); err != nil {
		return err
	}
	caller := gosipstack.NewServer(peers, gosip.ServerConfig{Host: "127.0.0.1"}, nil, nil)
	defer caller.Shutdown()

	for _, step := range []struct {
		what   string
		method sip.RequestMethod
		sees   string
	}{
		{"A call for Tom comes, and gosip takes it.", sip.INVITE, "busy, In a call (telephone 2719: busy)"},
		{"The caller hangs up.", sip.BYE, "signed out, Signed out (telephone 2719: idle)"},
	} {
		fmt.Fprintln(out, step.what)
		if err := request(ctx, caller, step.method, at); err != nil {
			return err
		}
		if err := sees(ctx, heard, step.sees); err != nil {
			return err
		}
		fmt.Fprintf(out, "  Ann sees that Tom is %s\n", step.sees)
	}
	return ann.Close(ctx)
}

// signIn makes a BluStar client for Ann.
func signIn(sockets *stack.Stack, server sipx.Flow) (*client.Client, <-chan client.Notification, error) {
	uri, err := sipx.ParseURI("sip:" + server.Local.String())
	if err != nil {
		return nil, nil, err
	}
	credentials, err := auth.NewCredentials(`DE\ann`, []byte(password))
	if err != nil {
		return nil, nil, err
	}
	heard := make(chan client.Notification, 64)
	ann, err := client.New(client.Config{
		Sender: sockets, Server: uri, Address: "sip:ann@example.com", Credentials: credentials,
		Notify: func(n client.Notification) { heard <- n },
	})
	if err != nil {
		return nil, nil, err
	}
	go sockets.Serve(context.Background(), ann) // until stack.Shutdown
	return ann, heard, nil
}

// sees waits until Ann is told this of Tom.
func sees(ctx context.Context, heard <-chan client.Notification, want string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	last := "nothing"
	for last != want {
		select {
		case n := <-heard:
			s := n.Summary()
			if s.Entity != "sip:tom@example.com" {
				continue
			}
			last = s.Status
			if s.Note != "" {
				last += ", " + s.Note
			}
			if len(s.Lines) > 0 {
				last += fmt.Sprintf(" (telephone %s: %s)", s.Lines[0].DN, s.Lines[0].State)
			}
		case <-ctx.Done():
			return fmt.Errorf("the last that Ann was told is %q", last)
		}
	}
	return nil
}

var sequence atomic.Uint32

// request sends a request as a caller does, with nothing in it that is not
// needed here.
func request(ctx context.Context, from gosip.Server, method sip.RequestMethod, to sipx.Flow) error {
	port := sip.Port(to.Local.Port())
	target := &sip.SipUri{FUser: sip.String{Str: "2719"}, FHost: to.Local.Addr().String(), FPort: &port}
	callID := sip.CallID("call-for-tom")
	maxForwards := sip.MaxForwards(70)
	req := sip.NewRequest("", method, target, "SIP/2.0", []sip.Header{
		&sip.FromHeader{Address: target, Params: sip.NewParams().Add("tag", sip.String{Str: "caller"})},
		&sip.ToHeader{Address: target, Params: sip.NewParams()}, &callID,
		&sip.CSeq{SeqNo: sequence.Add(1), MethodName: method}, &maxForwards,
	}, "", nil)
	res, err := from.RequestWithContext(ctx, req)
	if err != nil {
		return err
	}
	if method == sip.INVITE {
		return from.Send(sip.NewAckRequest("", req, res, "", nil))
	}
	return nil
}
