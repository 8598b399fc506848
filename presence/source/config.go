package source

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/openblustar/blustar/internal/conf"
)

// Value is what is known of one key.
type Value[V any] struct {
	Value    V
	Owner    Owner     // "" where there is no value
	Received time.Time // by the server's clock
	Changed  time.Time // when it was last another value, or none
	Expires  time.Time // when it fades; zero where it does not
}

// faded reports whether the time of the value is over.
func (v Value[V]) faded() bool { return !v.Expires.IsZero() && time.Until(v.Expires) <= 0 }

// Owner says who a value is from.
type Owner string

// Owners.
const (
	Feed      Owner = "feed"    // the host, by Table.Set
	Monitored Owner = "monitor" // a Monitor
)

// Listener is told that the value of a key has changed. Calls come from the
// goroutines that change it, without a lock held.
type Listener interface{ Changed() }

func tell(listeners []Listener) {
	for _, l := range listeners {
		l.Changed()
	}
}

// Monitor watches one key until ctx ends, and calls update with each value, the
// first as soon as it is known. It returns when ctx has ended, or with the error
// that keeps it from going on: it is called again with back-off. update may be
// called from any goroutine, one call at a time, and not after Monitor has returned.
type Monitor[V any] func(ctx context.Context, key string, update func(V)) error

// Config makes a [Table]. Equal is required.
type Config[V any] struct {
	Name     string                           // of the kind, in logs: "line"
	Equal    func(a, b V) bool                // whether two values show the same
	Check    func(key string, v V) (V, error) // what is taken of a value, or why it is refused; nil: everything is
	Lifetime func(V) time.Duration            // how long a value holds; nil or 0: until it is replaced
	Monitor  Monitor[V]                       // nil: values come by Set alone
	Logger   *slog.Logger                     // default: silent
	// MayExpire is asked before a value fades. While it reports false, all values stay. It must
	// not block. nil: they fade.
	MayExpire func() bool
	// Changed is told of each key that has a new value, or none any more. If a monitor says the same
	// again, Changed is told when half of the lifetime is over. It is called with the table locked: it
	// must be quick, must not block and must not call the table.
	Changed func(key string)
	// Others share the monitors with this table. nil: nobody does.
	Others Others

	Max    int           // keys that are held; default 200,000
	Linger time.Duration // a monitor runs on after the last watcher has gone; default 30 s
	Grace  time.Duration // the value of a failed monitor stays; default 60 s
}

// Others stands for the tables of other processes of the same host, which have the same
// monitors. Of the tables in which somebody watches a key, one runs its monitor. The others get
// what the monitor says by [Table.Copy]. The methods are called with the table locked: they must be
// quick, must not block and must not call the table.
type Others interface {
	// Want tells that somebody watches the key here from now on. Unwant tells, a linger time after
	// the last watcher has gone, that nobody does. It reports whether the value of the monitor is
	// to be forgotten, because nobody else watches the key, or shows it.
	Want(key string)
	Unwant(key string) (last bool)
	// Mine reports whether the monitor of the key is to run here. It is asked after Want, and
	// by [Table.Decide].
	Mine(key string) bool
}

// ErrTooMany says that Config.Max is reached.
var ErrTooMany = errors.New("source: too many keys")

// complete checks the configuration, and sets what is left out.
func (cfg *Config[V]) complete() error {
	check := conf.Of("source: Config")
	check.Require("Equal", cfg.Equal != nil)
	conf.Default(check, "Max", &cfg.Max, 200_000)
	conf.Default(check, "Linger", &cfg.Linger, 30*time.Second)
	conf.Default(check, "Grace", &cfg.Grace, 60*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Lifetime == nil {
		cfg.Lifetime = func(V) time.Duration { return 0 }
	}
	if cfg.Check == nil {
		cfg.Check = func(_ string, v V) (V, error) { return v, nil }
	}
	return check.Err()
}
