package source

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/await"
	"github.com/openblustar/blustar/internal/conf"
	"github.com/openblustar/blustar/internal/deadline"
)

// Value is what is known of one key.
type Value[V any] struct {
	Value    V
	Owner    Owner
	Received time.Time // by the server's clock
	Changed  time.Time // when it was last another value, or none
	Expires  time.Time // when it fades; zero where it does not
}

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
	// again, Changed is told when half of the lifetime is over. It is called with the key locked: it
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
// what the monitor says by [Table.Copy]. The methods are called with the key locked: they must be
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

// Table holds the values of one kind. It is safe for concurrent use. Config.Equal and
// Config.Lifetime are called with its locks held; listeners, Config.Check and monitors
// are called without.
type Table[V any] struct {
	cfg       Config[V]
	ctx       context.Context // of monitors; ends with Shutdown
	cancel    context.CancelFunc
	deadlines deadline.Queue

	mu      sync.Mutex
	sources map[string]*Source[V]
	closed  bool
	work    sync.WaitGroup // monitors, and values that fade
}

// New makes a table. It starts nothing. The error names everything that is wrong
// with the configuration.
func New[V any](cfg Config[V]) (*Table[V], error) {
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
	if err := check.Err(); err != nil {
		return nil, err
	}
	t := &Table[V]{cfg: cfg, sources: make(map[string]*Source[V])}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// Set sets the value of a key, which is kept even where nobody listens. Those who
// do have been told when it returns. The error is [ErrTooMany], or that of
// Config.Check.
func (t *Table[V]) Set(key string, v V) error {
	v, err := t.cfg.Check(key, v)
	if err != nil {
		return err
	}
	t.mu.Lock()
	src, err := t.sourceLocked(key)
	if err != nil {
		t.mu.Unlock()
		return err
	}
	told := src.take(v, Feed)
	t.mu.Unlock()
	tell(told)
	return nil
}

// Restore sets a value as it was in a former run, unless there is one by now, or it has faded
// meanwhile. It stays for Config.Lifetime from now at most: the clock may have been turned back.
// Nobody is told.
func (t *Table[V]) Restore(key string, v Value[V]) error {
	left := time.Until(v.Expires) // far below zero where it does not fade
	if !v.Expires.IsZero() && left <= 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	src, err := t.sourceLocked(key)
	if err != nil {
		return err
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	if longest := t.cfg.Lifetime(v.Value); longest > 0 && left > longest {
		left = longest
	}
	if _, known := src.Read(); !known {
		src.set(v, true, max(0, left))
	}
	return nil
}

// Copy sets a value as another process of the host has it, or, if known is false, makes it unknown.
// The copy fades only after Own, or when the monitor of the key runs here. The listeners are told,
// Config.Changed is not. If the monitor runs here and has said a value, that stays in place of what
// a monitor elsewhere has said, and Config.Changed is told it once more. If keeps reports true,
// everything stays as it is; it is called with the key locked. The error is [ErrTooMany].
func (t *Table[V]) Copy(key string, v Value[V], known bool, keeps func() bool) error {
	t.mu.Lock()
	src, err := t.sourceLocked(key)
	if err != nil {
		t.mu.Unlock()
		return err
	}
	src.mu.Lock()
	var told []Listener
	switch {
	case keeps():
	case src.said && (!known || v.Owner == Monitored):
		src.changed()
	default:
		t.deadlines.Remove(&src.fade)
		src.said = false
		if src.kept.Store(&kept[V]{v, known}); known && v.Owner == Monitored && src.stop != nil {
			src.set(v, true, t.cfg.Grace)
		}
		told = slices.Clone(src.listeners)
	}
	src.dropIfIdle()
	src.mu.Unlock()
	t.mu.Unlock()
	tell(told)
	return nil
}

// Own has a copied value fade at its time, unless it is from a monitor.
func (t *Table[V]) Own(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	src := t.sources[key]
	if src == nil {
		return
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	if v, known := src.Read(); known && v.Owner != Monitored && !v.Expires.IsZero() {
		t.deadlines.Set(&src.fade, (*fading[V])(src), v.Expires)
	}
}

// Decide asks Config.Others once more whether the monitor of a key is to run here. The value stays.
// If the monitor begins to run here, the value stays until the monitor says one, or the grace
// time is over.
func (t *Table[V]) Decide(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if src := t.sources[key]; src != nil {
		src.mu.Lock()
		defer src.mu.Unlock()
		src.decide()
	}
}

// Said reports whether the value of a key is from the monitor that runs here.
func (t *Table[V]) Said(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	src := t.sources[key]
	if src == nil {
		return false
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	return src.said
}

// Abandon makes the value of a monitor unknown, unless somebody watches the key here.
func (t *Table[V]) Abandon(key string) {
	t.mu.Lock()
	src := t.sources[key]
	t.mu.Unlock()
	if src != nil {
		src.clear(func(v Value[V]) bool { return v.Owner == Monitored && !src.wanted })
	}
}

// Clear makes the value of a key unknown, and reports whether there was one.
func (t *Table[V]) Clear(key string) bool {
	t.mu.Lock()
	src := t.sources[key]
	t.mu.Unlock()
	return src != nil && src.clear(nil)
}

// Get returns the value of a key.
func (t *Table[V]) Get(key string) (v Value[V], known bool) {
	t.mu.Lock()
	src := t.sources[key]
	t.mu.Unlock()
	if src == nil {
		return v, false
	}
	return src.Read()
}

// Keys lists the keys that have a value, sorted.
func (t *Table[V]) Keys() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var keys []string
	for key, src := range t.sources {
		if _, known := src.Read(); known {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Join returns the source of a key. l is told of its changes until [Source.Leave].
func (t *Table[V]) Join(key string, l Listener) (*Source[V], error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	src, err := t.sourceLocked(key)
	if err != nil {
		return nil, err
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	src.listeners = append(src.listeners, l)
	return src, nil
}

func (t *Table[V]) sourceLocked(key string) (*Source[V], error) {
	src := t.sources[key]
	if src == nil {
		if len(t.sources) >= t.cfg.Max {
			return nil, ErrTooMany
		}
		src = &Source[V]{table: t, key: key}
		t.sources[key] = src
	}
	return src, nil
}

// Shutdown stops the monitors, and lets no value fade any more. It waits for the monitors until
// ctx ends, and returns the error of ctx then. Values stay as they are.
func (t *Table[V]) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.deadlines.Stop()
	return await.Return(ctx, t.work.Wait)
}

// start runs f in a goroutine that Shutdown waits for. Once Shutdown has begun, it does not run f
// and reports false.
func (t *Table[V]) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.startLocked(f)
}

func (t *Table[V]) startLocked(f func()) bool {
	if t.closed {
		return false
	}
	t.work.Go(f)
	return true
}

func tell(listeners []Listener) {
	for _, l := range listeners {
		l.Changed()
	}
}
