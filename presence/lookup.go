package presence

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/openblustar/blustar/directory"
)

// lookupBatch is how many addresses a look-up for the server itself has.
const lookupBatch = 50

// lookups asks the directory. It bounds the look-ups under way: all of them, and those of each account or
// source. Those of the server itself, the zero party, have no share of their own. What the directory has at
// hand does not count.
type lookups struct {
	directory  directory.Directory
	timeout    time.Duration
	log        *slog.Logger
	most, each int

	mu      sync.Mutex
	running int
	of      map[party]int
}

// isNobody reports whether a look-up says that an address has no entry. Other errors say that the
// directory could not be asked.
func isNobody(err error) bool {
	return errors.Is(err, directory.ErrNotFound) || errors.Is(err, directory.ErrAmbiguous)
}

// one looks up one address.
func (l *lookups) one(ctx context.Context, who party, a directory.Address) directory.Result {
	if r, known := l.peek(a); known {
		return r
	}
	return l.all(ctx, who, []directory.Address{a})[0]
}

// peek returns what the directory knows without being asked.
func (l *lookups) peek(a directory.Address) (r directory.Result, known bool) {
	if d, ok := l.directory.(directory.Immediate); ok {
		r, known = d.Peek(a)
	}
	return r, known && (r.Err == nil || errors.Is(r.Err, directory.ErrNotFound))
}

// all looks up several addresses.
func (l *lookups) all(ctx context.Context, who party, as []directory.Address) []directory.Result {
	results := make([]directory.Result, len(as))
	known := true
	for i := 0; i < len(as) && known; i++ {
		results[i], known = l.peek(as[i])
	}
	if known {
		return results
	}
	if !l.enter(who) {
		for i := range results {
			results[i] = directory.Result{Err: errBusy}
		}
		return results
	}
	defer l.leave(who)
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	results = directory.LookupAll(ctx, l.directory, as)
	for i, r := range results {
		if r.Err != nil && !errors.Is(r.Err, directory.ErrNotFound) {
			l.log.Warn("directory look-up", "address", as[i].String(), "error", r.Err)
		}
	}
	return results
}

// account asks the directory for the entry of an account, if it is a [directory.Accounts].
func (l *lookups) account(ctx context.Context, who party, account string) (r directory.Result) {
	d, ok := l.directory.(directory.Accounts)
	if !ok {
		return directory.Result{Err: directory.ErrNotFound}
	}
	if _, atHand := l.directory.(directory.Immediate); !atHand {
		if !l.enter(who) {
			return directory.Result{Err: errBusy}
		}
		defer l.leave(who)
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	if r.Entry, r.Err = d.LookupAccount(ctx, account); r.Err != nil && !errors.Is(r.Err, directory.ErrNotFound) {
		l.log.Warn("directory look-up", "account", account, "error", r.Err)
	}
	return r
}

var errBusy = errors.New("presence: too many directory look-ups under way")

func (l *lookups) enter(who party) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running >= l.most || who != (party{}) && l.of[who] >= l.each {
		return false
	}
	l.running++
	if who != (party{}) {
		l.of[who]++
	}
	return true
}

func (l *lookups) leave(who party) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	if who == (party{}) {
		return
	}
	if l.of[who]--; l.of[who] == 0 {
		delete(l.of, who)
	}
}
