package source

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/internal/await"
	"github.com/openblustar/blustar/internal/deadline"
)

// Table holds the values of one kind. It is safe for concurrent use. Config.Equal and
// Config.Lifetime are called with its lock held; listeners, Config.Check and monitors
// are called without.
type Table[V any] struct {
	cfg       Config[V]
	ctx       context.Context // of monitors; ends with Shutdown
	cancel    context.CancelFunc
	deadlines deadline.Queue

	mu      sync.Mutex // of the sources, too
	sources map[string]*Source[V]
	closed  bool
	work    sync.WaitGroup // monitors, and values that fade
}

// Source is one key of a [Table]: its value, its listeners, and the monitor that runs while
// somebody watches it. A listener that does not watch is told of the value, but does not make the
// monitor run.
type Source[V any] struct {
	table *Table[V]
	key   string

	kept atomic.Pointer[Value[V]] // nobody changes it; nil before the first; set with table.mu held

	listeners []Listener
	watching  int
	wanted    bool               // somebody watches it, or did so less than a linger time ago
	stop      context.CancelFunc // of the monitor, if it runs here
	ended     chan struct{}      // closed when the last call of the monitor has returned
	said      bool               // the monitor that runs here has said the value
	held      time.Time          // when the value expires that Config.Changed was told last
	fade      deadline.Item
	linger    deadline.Item
}

// Watched is what sources of all kinds have in common.
type Watched interface {
	// Watch has the monitor run: here or, with Config.Others, in another process. Each call is
	// undone by one of Unwatch. A linger time after the last one the monitor ends.
	Watch()
	Unwatch()
	// Leave undoes [Table.Join].
	Leave(l Listener)
	// Fed reports whether the host has set the value.
	Fed() bool
}

// New makes a table. It starts nothing. The error names everything that is wrong
// with the configuration.
func New[V any](cfg Config[V]) (*Table[V], error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	t := &Table[V]{cfg: cfg, sources: make(map[string]*Source[V])}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
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
// and reports false. t.mu is held.
func (t *Table[V]) start(f func()) bool {
	if !t.closed {
		t.work.Go(f)
	}
	return !t.closed
}

// Set sets the value of a key, which is kept even where nobody listens. Those who
// do have been told when it returns. The error is [ErrTooMany], or that of
// Config.Check.
func (t *Table[V]) Set(key string, v V) error {
	v, err := t.cfg.Check(key, v)
	if err != nil {
		return err
	}
	var told []Listener
	t.mu.Lock()
	src, err := t.source(key)
	if err == nil {
		told = src.take(v, Feed)
	}
	t.mu.Unlock()
	tell(told)
	return err
}

// Restore sets a value as it was in a former run, unless there is one by now, or it has faded
// meanwhile. It stays for Config.Lifetime from now at most: the clock may have been turned back.
// Nobody is told. The error is [ErrTooMany].
func (t *Table[V]) Restore(key string, v Value[V]) error {
	left := time.Until(v.Expires) // far below zero where it does not fade
	if v.faded() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	src, err := t.source(key)
	if err != nil {
		return err
	}
	if longest := t.cfg.Lifetime(v.Value); longest > 0 && left > longest {
		left = longest
	}
	if src.owner() == "" {
		v.Owner = cmp.Or(v.Owner, Feed)
		src.set(v, left)
	}
	return nil
}

// Copy sets a value as another process of the host has it; without an owner it is unknown.
// The copy fades only after Own, or when the monitor of the key runs here. The listeners are told,
// Config.Changed is not. If the monitor runs here and has said a value, that stays in place of what
// a monitor elsewhere has said, and Config.Changed is told it once more. If keeps reports true,
// everything stays as it is; it is called with the table locked. The error is [ErrTooMany].
func (t *Table[V]) Copy(key string, v Value[V], keeps func() bool) error {
	t.mu.Lock()
	src, err := t.source(key)
	if err != nil {
		t.mu.Unlock()
		return err
	}
	var told []Listener
	switch {
	case keeps():
	case src.said && v.Owner != Feed:
		src.changed()
	default:
		t.deadlines.Remove(&src.fade)
		src.said = false
		if src.kept.Store(&v); src.stop != nil {
			src.asBefore()
		}
		told = slices.Clone(src.listeners)
	}
	src.dropIfIdle()
	t.mu.Unlock()
	tell(told)
	return nil
}

// Own has a copied value fade at its time, unless it is from a monitor.
func (t *Table[V]) Own(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if src := t.sources[key]; src != nil {
		if v, _ := src.Read(); v.Owner == Feed && !v.Expires.IsZero() {
			t.deadlines.Set(&src.fade, (*fading[V])(src), v.Expires)
		}
	}
}

// Clear makes the value of a key unknown, and reports whether there was one.
func (t *Table[V]) Clear(key string) bool {
	return t.clear(key, func(*Source[V]) bool { return true })
}

// Get returns the value of a key.
func (t *Table[V]) Get(key string) (v Value[V], known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if src := t.sources[key]; src != nil {
		return src.Read()
	}
	return v, false
}

// Keys lists the keys that have a value, sorted.
func (t *Table[V]) Keys() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var keys []string
	for key, src := range t.sources {
		if src.owner() != "" {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Join returns the source of a key. l is told of its changes until [Source.Leave]. The error is
// [ErrTooMany].
func (t *Table[V]) Join(key string, l Listener) (*Source[V], error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	src, err := t.source(key)
	if err == nil {
		src.listeners = append(src.listeners, l)
	}
	return src, err
}

// source finds or makes the source of a key. t.mu is held.
func (t *Table[V]) source(key string) (*Source[V], error) {
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

// Key returns the key.
func (src *Source[V]) Key() string { return src.key }

// Read returns the value, and whether there is one. When a value has been cleared, Changed is
// the time of that. Read takes no lock.
func (src *Source[V]) Read() (v Value[V], known bool) {
	if kept := src.kept.Load(); kept != nil {
		v = *kept
	}
	return v, v.Owner != ""
}

// Fed implements [Watched].
func (src *Source[V]) Fed() bool { return src.owner() == Feed }

// Leave implements [Watched].
func (src *Source[V]) Leave(l Listener) {
	src.table.mu.Lock()
	defer src.table.mu.Unlock()
	if i := slices.Index(src.listeners, l); i >= 0 {
		src.listeners = slices.Delete(src.listeners, i, i+1)
	}
	src.dropIfIdle()
}

// What follows is called with table.mu held.

// owner returns who the value is from; "" if there is none.
func (src *Source[V]) owner() Owner {
	v, _ := src.Read()
	return v.Owner
}

// overdue reports whether there is a value that has faded.
func (src *Source[V]) overdue() bool {
	v, known := src.Read()
	return known && v.faded()
}

// dropIfIdle forgets a source without a value, listeners and watchers.
func (src *Source[V]) dropIfIdle() {
	if src.owner() == "" && len(src.listeners) == 0 && src.watching == 0 && !src.wanted {
		delete(src.table.sources, src.key)
	}
}

// take takes a new value, the lifetime of which starts now. It returns who is to be told.
func (src *Source[V]) take(v V, owner Owner) []Listener {
	now := time.Now()
	next := Value[V]{Value: v, Owner: owner, Received: now, Changed: now}
	old, known := src.Read()
	same := known && src.table.cfg.Equal(old.Value, v)
	if same {
		next.Changed = old.Changed
	}
	lifetime := src.table.cfg.Lifetime(v)
	said := owner == Monitored
	again := same && said && src.said && (src.held.IsZero() == (lifetime <= 0)) &&
		(lifetime <= 0 || time.Until(src.held) > lifetime/2)
	src.said = said
	src.set(next, lifetime)
	if !again { // a monitor may say the same every few seconds
		src.changed()
	}
	return slices.Clone(src.listeners)
}

// forget makes the value unknown and returns who is to be told.
func (src *Source[V]) forget() []Listener {
	src.said = false
	src.set(Value[V]{Changed: time.Now()}, 0)
	src.changed()
	return slices.Clone(src.listeners)
}

// changed tells Config.Changed.
func (src *Source[V]) changed() {
	v, _ := src.Read()
	src.held = v.Expires
	if src.table.cfg.Changed != nil {
		src.table.cfg.Changed(src.key)
	}
}

// asBefore has the value of a monitor stay for the grace time, until the monitor speaks.
func (src *Source[V]) asBefore() {
	if src.owner() == Monitored {
		v, _ := src.Read()
		src.set(v, src.table.cfg.Grace)
	}
}

// set makes v the value, which fades after d, or never if d is 0 or less. Without an owner there is
// none.
func (src *Source[V]) set(v Value[V], d time.Duration) {
	v.Expires = time.Time{}
	if d > 0 {
		v.Expires = time.Now().Add(d)
		src.table.deadlines.Set(&src.fade, (*fading[V])(src), v.Expires)
	} else {
		src.table.deadlines.Remove(&src.fade)
	}
	src.kept.Store(&v)
}

// clear makes the value of a key unknown, if is reports true for its source. It tells the listeners,
// and reports whether it did so.
func (t *Table[V]) clear(key string, is func(*Source[V]) bool) bool {
	var told []Listener
	t.mu.Lock()
	src := t.sources[key]
	had := src != nil && src.owner() != "" && is(src)
	if had {
		told = src.forget()
		src.dropIfIdle()
	}
	t.mu.Unlock()
	tell(told)
	return had
}

// fading is a source whose value is to fade.
type fading[V any] Source[V]

// again is the time after which Config.MayExpire is asked again.
const again = time.Second

// Expired implements [deadline.Expirer]. Listeners may take their time: so they are told by
// another goroutine.
func (f *fading[V]) Expired() {
	src := (*Source[V])(f)
	t := src.table
	may := t.cfg.MayExpire == nil || t.cfg.MayExpire()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case may:
		t.start(func() { t.clear(src.key, (*Source[V]).overdue) })
	case src.overdue():
		t.deadlines.Set(&src.fade, f, time.Now().Add(again))
	}
}
