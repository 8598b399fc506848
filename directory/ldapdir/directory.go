package ldapdir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/conf"
)

// A Directory looks users up in LDAP servers. It implements [directory.Directory]
// and [directory.Batch], and is safe for concurrent use.
type Directory struct {
	cfg     Config
	mapping *mapping
	hosts   *hosts
	pool    *pool
	log     *slog.Logger
	counts  counts

	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	known   *lru[directory.Address, directory.Entry]
	unknown *lru[directory.Address, error] // no entry, or several
	// Account names by user principal name, "" where nobody has it.
	principals *lru[string, string]
	flights    map[directory.Address]*flight
	work       sync.WaitGroup // of goroutines that search
	closed     bool

	guesses chan struct{} // one for each search for a principal
}

type counts struct {
	searches, failures, hits, misses, stale, shared atomic.Uint64
}

var (
	_ directory.Directory = (*Directory)(nil)
	_ directory.Batch     = (*Directory)(nil)
	_ directory.Accounts  = (*Directory)(nil)
)

// New returns a directory that is configured so. It connects when it is first
// asked: that a server is down is no error here. Call Close when done.
func New(cfg Config) (*Directory, error) {
	cfg = cfg.withDefaults()
	check := conf.Of("ldapdir: Config")
	conf.Default(check, "MaxConns", &cfg.MaxConns, DefaultMaxConns)
	conf.Default(check, "CacheSize", &cfg.CacheSize, DefaultCacheSize)
	conf.Default(check, "MaxPending", &cfg.MaxPending, DefaultMaxPending)
	m := cfg.mapping(check)
	hs := newHosts(check, cfg.Server)
	b := newBinder(check, cfg.BindDN, cfg.BindPassword, hs.log)
	if err := check.Err(); err != nil {
		return nil, err
	}
	if b.dn != "" && !hs.encrypted() {
		hs.log.Warn("the password of the account that searches is sent in clear; use ldaps or StartTLS", "dn", b.dn)
	}
	d := &Directory{
		cfg:     cfg,
		mapping: m,
		hosts:   hs,
		pool:    newPool(hs, b, cfg.MaxConns),
		log:     hs.log,
		known:   newLRU[directory.Address, directory.Entry](cfg.CacheSize),
		unknown: newLRU[directory.Address, error](cfg.CacheSize),

		principals: newLRU[string, string](cfg.CacheSize),
		guesses:    make(chan struct{}, max(1, cfg.MaxConns/2)),
		flights:    make(map[directory.Address]*flight),
	}
	d.ctx, d.cancel = context.WithCancelCause(context.Background())
	return d, nil
}

// Ready returns nil if the directory can be asked now: a server is there, accepts
// the account that searches, and has BaseDN. While all servers fail it returns at
// once most of the time, with the last error.
func (d *Directory) Ready(ctx context.Context) error {
	return d.pool.ready(ctx, d.cfg.BaseDN)
}

// Close ends the searches under way, whose callers get [ErrClosed], closes the
// connections, and returns when no goroutine is left or the context has ended, then
// with its error. It may be called again.
func (d *Directory) Close(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel(ErrClosed)
	d.pool.close()
	done := make(chan struct{})
	go func() {
		d.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ldapdir: close: %w", context.Cause(ctx))
	}
}

// Stats is a snapshot of what a Directory has done and holds.
type Stats struct {
	Up       bool // whether a server works, as far as is known
	Conns    int  // open connections
	Searches uint64
	Failures uint64 // searches without answer
	Hits     uint64 // addresses answered from the cache
	Misses   uint64 // addresses searched for
	Shared   uint64 // addresses whose search another caller had begun
	Stale    uint64 // addresses answered past their lifetime
	Known    int    // addresses with an entry in the cache
	Unknown  int    // addresses without one in the cache
	Evicted  uint64 // addresses that the cache had no room for
	Pending  int    // addresses being searched for
}

// Stats returns a snapshot.
func (d *Directory) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Stats{
		Up:       d.hosts.up(),
		Conns:    d.pool.size(),
		Searches: d.counts.searches.Load(),
		Failures: d.counts.failures.Load(),
		Hits:     d.counts.hits.Load(),
		Misses:   d.counts.misses.Load(),
		Shared:   d.counts.shared.Load(),
		Stale:    d.counts.stale.Load(),
		Known:    d.known.len(),
		Unknown:  d.unknown.len(),
		Evicted:  d.known.evicted + d.unknown.evicted,
		Pending:  len(d.flights),
	}
}

// remember puts what a search said into the cache.
func (d *Directory) remember(a directory.Address, r directory.Result, now time.Time) {
	switch {
	case r.Err == nil:
		d.known.put(a, r.Entry, now)
		d.unknown.remove(a)
	case isStatement(r.Err):
		d.unknown.put(a, r.Err, now)
		d.known.remove(a)
	}
}

// recall returns the answer that the cache has for a, and whether it is fresh. An
// answer that is not may be used only while the directory is unavailable.
func (d *Directory) recall(a directory.Address, now time.Time) (r directory.Result, ok, fresh bool) {
	if e, age, ok := d.known.get(a, now); ok {
		if age < d.cfg.Lifetime {
			return directory.Result{Entry: e}, true, true
		}
		return directory.Result{Entry: e}, age < max(d.cfg.Lifetime, 0)+d.cfg.StaleLifetime, false
	}
	if err, age, ok := d.unknown.get(a, now); ok && age < d.cfg.NegativeLifetime {
		return directory.Result{Err: err}, true, true
	}
	return directory.Result{}, false, false
}

// isStatement reports whether an error says something about the address.
func isStatement(err error) bool {
	return errors.Is(err, directory.ErrNotFound) || errors.Is(err, directory.ErrAmbiguous)
}
