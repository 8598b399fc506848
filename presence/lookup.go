package presence

import (
	"context"
	"errors"
	"sync"

	"github.com/openblustar/blustar/directory"
)

// lookupBatch is how many addresses a look-up for the server itself has.
const lookupBatch = 50

// isNobody reports whether a look-up says that an address has no entry. Other errors say that the
// directory could not be asked.
func isNobody(err error) bool {
	return errors.Is(err, directory.ErrNotFound) || errors.Is(err, directory.ErrAmbiguous)
}

// lookupOne is lookup for one address.
func (s *Server) lookupOne(ctx context.Context, who party, a directory.Address) directory.Result {
	if r, known := s.peek(a); known {
		return r
	}
	return s.lookup(ctx, who, []directory.Address{a})[0]
}

// peek returns what the directory knows without being asked.
func (s *Server) peek(a directory.Address) (r directory.Result, known bool) {
	if d, ok := s.cfg.Directory.(directory.Immediate); ok {
		r, known = d.Peek(a)
	}
	return r, known && (r.Err == nil || errors.Is(r.Err, directory.ErrNotFound))
}

// lookup asks the directory. Time and number of look-ups are bounded, and each account or source
// has a share. What the directory has at hand does not count.
func (s *Server) lookup(ctx context.Context, who party, as []directory.Address) []directory.Result {
	results := make([]directory.Result, len(as))
	known := true
	for i := 0; i < len(as) && known; i++ {
		results[i], known = s.peek(as[i])
	}
	if known {
		return results
	}
	if !s.lookups.enter(who) {
		for i := range results {
			results[i] = directory.Result{Err: errBusy}
		}
		return results
	}
	defer s.lookups.leave(who)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LookupTimeout)
	defer cancel()
	results = directory.LookupAll(ctx, s.cfg.Directory, as)
	for i, r := range results {
		if r.Err != nil && !errors.Is(r.Err, directory.ErrNotFound) {
			s.cfg.Logger.Warn("directory look-up", "address", as[i].String(), "error", r.Err)
		}
	}
	return results
}

// lookupAccount asks the directory for the entry of an account, if it is a [directory.Accounts].
func (s *Server) lookupAccount(ctx context.Context, who party, account string) (r directory.Result) {
	d, ok := s.cfg.Directory.(directory.Accounts)
	if !ok {
		return directory.Result{Err: directory.ErrNotFound}
	}
	if _, atHand := s.cfg.Directory.(directory.Immediate); !atHand {
		if !s.lookups.enter(who) {
			return directory.Result{Err: errBusy}
		}
		defer s.lookups.leave(who)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LookupTimeout)
	defer cancel()
	if r.Entry, r.Err = d.LookupAccount(ctx, account); r.Err != nil && !errors.Is(r.Err, directory.ErrNotFound) {
		s.cfg.Logger.Warn("directory look-up", "account", account, "error", r.Err)
	}
	return r
}

var errBusy = errors.New("presence: too many directory look-ups under way")

// lookups bounds the look-ups under way: all of them, and those of each account or source. Those of
// the server itself, the zero party, have no share of their own.
type lookups struct {
	mu         sync.Mutex
	most, each int
	running    int
	of         map[party]int
}

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
