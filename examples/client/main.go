// Command client is a BluStar client for the terminal: it watches, publishes and
// signs out, and asks a server's control API why someone is busy.
//
//	client -user 'DE\tom' -as sip:tom.hanks@example.com watch sip:sean.connery@example.com tel:2721
//	client -user 'DE\tom' -as sip:tom.hanks@example.com publish -status busy -note HELLO
//	client -user 'DE\tom' -as sip:tom.hanks@example.com signout
//	client explain sip:tom.hanks@example.com
//
// What a host would embed is package presence/client; here are the flags
// (main.go), the way to the server (connect.go), and one file for each command.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"unicode"

	"github.com/openblustar/blustar/presence/client"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // could not do it
	exitUsage  = 2 // bad arguments
)

const usage = `usage: client [flags] command

commands:
  watch [-xml] ADDRESS…              print each NOTIFY about these addresses and the
                                     user's own, until Ctrl-C
  publish [-status S] [-note TEXT]   publish the user's status and stay signed in
          [-once]                    until Ctrl-C; -once leaves at once, and leaves the
                                     status until it expires
  signout                            publish "signed out" and end this client
  explain [-api URL] [-token-file F] ADDRESS
                                     ask a server's control API why the status is
                                     what it is

An ADDRESS is a sip: or tel: URI. The password comes from -password-file, from the
environment variable BLUSTAR_PASSWORD, or from the first line of standard input.

flags:
`

// env is what the program has of the outside.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second signal ends it at once
	os.Exit(run(ctx, os.Args[1:], env{os.Stdin, os.Stdout, os.Stderr, os.Getenv}))
}

// run is the program. The end of ctx is the user's Ctrl-C.
func run(ctx context.Context, args []string, e env) int {
	err := dispatch(ctx, args, e)
	var misused usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &misused):
		fmt.Fprintf(e.stderr, "client: %s\nclient -h says how to use it\n", printable(err.Error()))
		return exitUsage
	}
	text := strings.TrimPrefix(err.Error(), "client: ")
	switch {
	case errors.Is(err, client.ErrUnauthorized):
		text += " (are -user and the password right?)"
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		text = "interrupted"
	}
	fmt.Fprintln(e.stderr, "client:", printable(text))
	return exitFailed
}

// usageError is a mistake in the arguments.
type usageError string

func (u usageError) Error() string { return string(u) }

// options are the flags that all commands share; they may stand before the
// command or after it.
type options struct {
	account, passwordFile, as string
	server, contactUser       string
	ca                        string
	insecure                  bool
	cipher                    string
	standard, verbose         bool
	heard                     atomic.Bool // the server has asked to wait
}

func (o *options) register(fs *flag.FlagSet) {
	fs.StringVar(&o.account, "user", o.account, `account to sign in with, such as 'DE\tom'; none where the server asks for none`)
	fs.StringVar(&o.passwordFile, "password-file", o.passwordFile, "`file` with the password in its first line")
	fs.StringVar(&o.as, "as", o.as, "the user's own `address`, such as sip:tom@example.com")
	fs.StringVar(&o.server, "server", o.server, "`transport:host:port` of the server; udp, tcp or tls")
	fs.StringVar(&o.contactUser, "contact-user", o.contactUser, `user part of the Contact; "fmc" is a mobile client controller`)
	fs.StringVar(&o.ca, "ca", o.ca, "PEM `file` of the authorities that may have issued the server's certificate (tls)")
	fs.BoolVar(&o.insecure, "insecure", o.insecure, "do not check the server's certificate (tls)")
	fs.StringVar(&o.cipher, "cipher", o.cipher, "`name` of the credential cipher: tuz or aes-gcm")
	fs.BoolVar(&o.standard, "standard", o.standard, "speak as the RFCs say instead of as BluStar")
	fs.BoolVar(&o.verbose, "v", o.verbose, "log what is tried again to standard error")
}

func dispatch(ctx context.Context, args []string, e env) error {
	o := options{server: "udp:127.0.0.1:5060", cipher: "tuz"}
	fs := flag.NewFlagSet("client", flag.ContinueOnError)
	o.register(fs)
	args, err := parse(fs, args, e)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return usageError("which command: watch, publish, signout or explain?")
	}
	command, args := args[0], args[1:]
	fs = flag.NewFlagSet(command, flag.ContinueOnError)
	o.register(fs)
	switch command {
	case "watch":
		return watch(ctx, fs, &o, args, e)
	case "publish":
		return publish(ctx, fs, &o, args, e)
	case "signout":
		return signOut(ctx, fs, &o, args, e)
	case "explain":
		return explain(ctx, fs, args, e)
	}
	return usageError(fmt.Sprintf("there is no command %q", command))
}

// parse parses the flags of a command and returns what follows them.
func parse(fs *flag.FlagSet, args []string, e env) ([]string, error) {
	fs.SetOutput(io.Discard) // errors go to one line of their own
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(e.stdout, usage)
		fs.SetOutput(e.stdout)
		fs.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, usageError(err.Error())
	}
	return fs.Args(), nil
}

// printable replaces what would disturb a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
