// Package server is the body of the program examples/server, and of examples/cluster/server.
//
// Its files follow the way through the program: main.go (its commands), config.go (the
// configuration, with internal/hostconfig), backends.go (directory, accounts, TLS),
// wire.go (the parts put together), store.go and nodes.go (what outlives the process),
// serve.go (start and shutdown), api.go (the console), metrics.go, files.go (what is read
// again), sessions.go (whose sign-in ends).
package server

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/openblustar/blustar/internal/hostconfig"
	"github.com/openblustar/blustar/internal/strictjson"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // could not run
	exitUsage  = 2 // bad arguments or configuration
)

// env is what the program has of the outside.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	hangup         <-chan os.Signal // SIGHUP: reload
	join           Join             // nil where the program has no store.nats
}

// Main is the program. Join opens the store of several nodes; nil: there is one node.
func Main(join Join) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second signal ends it at once
	if os.Getenv("GOGC") == "" {
		// Idle subscriptions are most of what it holds: half the usual slack
		// costs no measurable time and saves a fifth of the memory.
		debug.SetGCPercent(50)
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP) // from the first moment on, so that it never ends the program
	os.Exit(run(ctx, os.Args[1:], env{os.Stdin, os.Stdout, os.Stderr, hangup, join}))
}

// run is the program. It ends when ctx does.
func run(ctx context.Context, args []string, e env) int {
	command := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "serve":
		err = serveCommand(ctx, args, e)
	case "check":
		err = checkCommand(ctx, args, e)
	case "hash-password":
		err = hashCommand(args, e)
	case "health":
		err = healthCommand(ctx, args, e)
	case "version":
		if err = parse(flag.NewFlagSet("version", flag.ContinueOnError), args, e); err == nil {
			fmt.Fprintln(e.stdout, version())
		}
	default:
		err = usageError(fmt.Sprintf("unknown command %q; there are serve, check, hash-password, health and version", strictjson.Printable(command)))
	}
	return exitCode(err, e)
}

// exitCode prints an error, and says what it makes of the program.
func exitCode(err error, e env) int {
	var misused usageError
	var bad *hostconfig.Error
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &misused), errors.As(err, &bad):
		fmt.Fprintln(e.stderr, "server:", err)
		return exitUsage
	}
	fmt.Fprintln(e.stderr, "server:", hostconfig.OneLine(err.Error()))
	return exitFailed
}

const usage = `usage:
  server [-config file]                 serve; without a file, a demo on loopback
         [-listen udp:host:port,…]      in place of the key listen
         [-http host:port]              in place of the key http.listen; empty for no control API
  server check [-config file]           check a configuration and say what it would do;
                                        with -online [-user address] ask those that it names
  server hash-password [-account name]  read a password on standard input, print its hash
  server health [-http host:port]       ask a server on this machine whether it is well
  server version                        print version, commit and Go version
`

// usageError is a mistake in the arguments.
type usageError string

func (u usageError) Error() string { return string(u) }

// parse parses the flags of a command, which takes no other arguments.
func parse(fs *flag.FlagSet, args []string, e env) error {
	fs.SetOutput(io.Discard) // the error goes to one line of its own
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(e.stdout, usage)
		fs.SetOutput(e.stdout)
		fs.PrintDefaults()
		return err
	case err != nil:
		return usageError(err.Error())
	case fs.NArg() > 0:
		return usageError(fmt.Sprintf("%s: unexpected argument %q", fs.Name(), strictjson.Printable(fs.Arg(0))))
	}
	return nil
}

// configured loads the file of the flag -config, or the demo without one.
func configured(fs *flag.FlagSet, args []string, e env) (*config, error) {
	name := fs.String("config", "", "configuration `file`; without it, a demo on loopback")
	var o overrides
	fs.StringVar(&o.listen, "listen", "", "where SIP is served, in place of the configuration: `transport:host:port`, with commas between several")
	fs.Func("http", "where the control API is served, in place of the configuration: `host:port`; empty for none", func(v string) error {
		o.http = &v
		return nil
	})
	if err := parse(fs, args, e); err != nil {
		return nil, err
	}
	if *name != "" {
		c, err := loadConfig(*name, o)
		if err == nil && e.join == nil && c.isNode() {
			err = c.Bad("store.nats", errOneNode)
		}
		return c, err
	}
	c := demoConfig()
	o.apply(c.Config)
	if err := c.Check(); err != nil {
		return nil, usageError(err.Error())
	}
	return c, nil
}

// version says which program this is: of its module, the commit, and Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	commit, modified := "unknown", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = " (modified)"
			}
		}
	}
	return fmt.Sprintf("blustar server %s, commit %s%s, %s", cmp.Or(info.Main.Version, "(devel)"), commit, modified, info.GoVersion)
}
