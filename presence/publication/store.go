package publication

import (
	"cmp"
	"crypto/rand"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openblustar/blustar/internal/conf"
	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/pidf/aa"
)

// Config makes a [Store]. The zero value of each field is the default that its
// comment names.
type Config struct {
	MaxPublications int // live ones of one presentity; default 32
	MaxBytes        int // of the bodies of one presentity's publications together; default 32 KiB: what is passed on of them must fit a datagram
	// Changed is told of each contribution that is made, replaced or gone: before or
	// after is nil where there is none. It is called with the store locked, in the
	// order of events: it must be quick, must not block and must not call the store.
	Changed func(before, after *Contribution)
	// Expired is told of each contribution that was not refreshed, once it has gone.
	// Calls come one after another: it must not block.
	Expired func(c *Contribution)
}

// Store keeps contributions in memory until they expire. It is safe for concurrent
// use.
type Store struct {
	cfg       Config
	deadlines deadline.Queue

	mu     sync.Mutex
	of     map[string][]*Contribution // by presentity, the oldest first
	count  int
	number uint64
}

// NewStore makes an empty store. The error names everything that is wrong with the
// configuration.
func NewStore(cfg Config) (*Store, error) {
	check := conf.Of("publication: Config")
	conf.Default(check, "MaxPublications", &cfg.MaxPublications, 32)
	conf.Default(check, "MaxBytes", &cfg.MaxBytes, 32<<10)
	if err := check.Err(); err != nil {
		return nil, err
	}
	return &Store{cfg: cfg, of: make(map[string][]*Contribution)}, nil
}

// Shutdown stops what would expire.
func (s *Store) Shutdown() { s.deadlines.Stop() }

// Publish carries a PUBLISH out and returns what is published by it now. A
// contribution that is found by its entity-tag keeps its rule, whatever the request
// says. The error is one of [ErrNoMatch], [ErrNothing], [ErrOvertaken], [ErrTooMany]
// and [ErrTooLarge].
func (s *Store) Publish(r Request) (*Contribution, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current, err := s.matching(&r)
	if err != nil {
		return nil, err
	}
	switch {
	case current == nil && !r.body():
		return nil, ErrNothing
	case current != nil && current.Rule == Shared && r.body() && current.overtook(&r):
		return nil, ErrOvertaken
	}
	next := &Contribution{Presentity: r.Presentity, Rule: r.Rule, Address: r.Address, Owner: r.Owner, Received: time.Now()}
	if current != nil {
		*next = *current
	}
	if r.Said != nil {
		if err := s.say(next, current, &r); err != nil {
			return nil, err
		}
	}
	switch {
	case current == nil:
		if err := s.room(r.Presentity); err != nil {
			return nil, err
		}
		s.number++
		next.Number, next.ETag = s.number, s.newTag(r.Presentity, next.Rule)
		if next.Status == "" {
			next.Status = aa.StatusUnknown
		}
	case next.Rule == Separate:
		next.ETag = s.newTag(r.Presentity, next.Rule)
	}
	if next.Rule != Shared || next.Expires.Before(r.Expires) {
		next.Expires = r.Expires // a client that leaves sooner does not end what others keep alive
	}
	s.swap(current, next)
	return next, nil
}

// matching finds the contribution that a request is about: the one that it names, or
// the one that a user has one of. s.mu is held.
func (s *Store) matching(r *Request) (*Contribution, error) {
	list := s.of[r.Presentity]
	named := slices.IndexFunc(list, func(c *Contribution) bool {
		return c.ETag == r.IfMatch && (c.Rule != Forwarding || r.Rule == Forwarding)
	})
	switch {
	case r.IfMatch == "" || r.Rule == Shared && named < 0 && r.body():
		// The clients of BluStar know 200 and 401 alone (§2.4): a body counts.
	case named < 0:
		return nil, ErrNoMatch
	case r.Rule != Forwarding:
		return list[named], nil
	}
	if r.Rule == Separate {
		return nil, nil
	}
	return find(list, r.Rule), nil
}

func (r *Request) body() bool { return r.Said != nil || r.Body }

func find(list []*Contribution, rule Rule) *Contribution {
	for _, c := range list {
		if c.Rule == rule {
			return c
		}
	}
	return nil
}

// say writes what a request says into next. s.mu is held.
func (s *Store) say(next, current *Contribution, r *Request) error {
	said := r.Said
	switch next.Rule {
	case Shared:
		next.CallID, next.CSeq = strings.Clone(r.CallID), r.CSeq
		next.Status, next.Timestamp = said.Status, said.Timestamp
		if !said.KeepNote {
			next.Note = said.Note
		}
	case Separate:
		size := len(said.Body)
		for _, c := range s.of[r.Presentity] {
			if c != current {
				size += len(c.Body)
			}
		}
		if size > s.cfg.MaxBytes {
			return ErrTooLarge
		}
		next.Body, next.doc = said.Body, said.Document
	case Forwarding:
		next.Target = said.Target
	}
	next.Owner, next.Received = r.Owner, time.Now()
	return nil
}

// overtook reports whether a newer request of the same client has overtaken r on its
// way. RFC 3903 leaves that to the entity-tag, which stays the same here.
func (c *Contribution) overtook(r *Request) bool {
	return c.CallID == r.CallID && r.CSeq < c.CSeq && time.Since(c.Received) < overtaking
}

// overtaking is how long a request may be under way (RFC 3261 §17.1.2.2, timer F):
// after that a lower CSeq is a client that counts anew.
const overtaking = 32 * time.Second

func (s *Store) room(presentity string) error {
	if len(s.of[presentity]) >= s.cfg.MaxPublications {
		return ErrTooMany
	}
	return nil
}

// newTag makes an entity-tag that the presentity does not have: up to 9 digits for
// the clients of BluStar, as they are printed, else 128 random bits. A forwarding has
// that of what its user shares (§4.3). s.mu is held.
func (s *Store) newTag(presentity string, rule Rule) string {
	if rule == Separate {
		return rand.Text()
	}
	if c := find(s.of[presentity], Shared); rule == Forwarding && c != nil {
		return c.ETag
	}
	for {
		n, _ := rand.Int(rand.Reader, big.NewInt(1e9)) // crypto/rand does not fail
		tag := n.String()
		if !slices.ContainsFunc(s.of[presentity], func(c *Contribution) bool { return c.ETag == tag }) {
			return tag
		}
	}
}

// swap puts next in the place of current, either of which may be nil. s.mu is held.
func (s *Store) swap(current, next *Contribution) {
	s.place(current, next)
	if s.cfg.Changed != nil {
		s.cfg.Changed(current, next)
	}
}

// place is swap without a word to Config.Changed.
func (s *Store) place(current, next *Contribution) {
	key := ""
	if next != nil {
		key = next.Presentity
	} else {
		key = current.Presentity
	}
	// A new list each time: Of hands them out.
	list := make([]*Contribution, 0, len(s.of[key])+1)
	for _, c := range s.of[key] {
		if c != current {
			list = append(list, c)
		}
	}
	if current != nil {
		s.deadlines.Remove(current.due)
		s.count--
	}
	if next != nil {
		list = append(list, next)
		next.store, next.due = s, new(deadline.Item)
		s.deadlines.Set(next.due, (*expiring)(next), next.Expires)
		s.count++
	}
	if len(list) == 0 {
		delete(s.of, key)
	} else {
		s.of[key] = list
	}
}

// Remove ends the contribution with an entity-tag. The error is [ErrNoMatch].
func (s *Store) Remove(presentity, etag string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.of[presentity]
	i := slices.IndexFunc(list, func(c *Contribution) bool { return c.ETag == etag })
	if i < 0 {
		return ErrNoMatch
	}
	s.swap(list[i], nil)
	return nil
}

// RemoveOne ends the one contribution that a user has by the Shared or Forwarding
// rule, and returns it, or nil.
func (s *Store) RemoveOne(presentity string, rule Rule) *Contribution {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := find(s.of[presentity], rule)
	if c != nil {
		s.swap(c, nil)
	}
	return c
}

// expiring is a contribution whose time has come.
type expiring Contribution

// Expired implements [deadline.Expirer].
func (e *expiring) Expired() {
	c := (*Contribution)(e)
	s := c.store
	s.mu.Lock()
	gone := slices.Contains(s.of[c.Presentity], c)
	if gone {
		s.swap(c, nil)
	}
	s.mu.Unlock()
	if gone && s.cfg.Expired != nil {
		s.cfg.Expired(c)
	}
}

// Restore puts a contribution of a former run back, unless it has expired meanwhile
// or there is one with its entity-tag. Config.Changed is not told.
func (s *Store) Restore(c Contribution) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Until(c.Expires) <= 0 || slices.ContainsFunc(s.of[c.Presentity], func(o *Contribution) bool { return o.ETag == c.ETag && o.Rule == c.Rule }) {
		return
	}
	if len(c.Body) > 0 {
		c.doc, _ = aa.Decode(c.Body)
	}
	s.number = max(s.number, c.Number)
	s.place(nil, &c)
	slices.SortStableFunc(s.of[c.Presentity], byAge) // which nobody has seen yet
}

// Of returns the live contributions of a presentity, the oldest first. Nobody changes
// what it returns.
func (s *Store) Of(presentity string) []*Contribution {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[presentity]
}

// One returns the one that a user has by the Shared or Forwarding rule, or nil.
func (s *Store) One(presentity string, rule Rule) *Contribution {
	s.mu.Lock()
	defer s.mu.Unlock()
	return find(s.of[presentity], rule)
}

// Has reports whether anything is published about a presentity.
func (s *Store) Has(presentity string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.of[presentity]) > 0
}

// Len returns how many contributions there are.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// All returns all contributions, by presentity and age.
func (s *Store) All() []*Contribution {
	s.mu.Lock()
	all := make([]*Contribution, 0, s.count)
	for _, list := range s.of {
		all = append(all, list...)
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *Contribution) int {
		return cmp.Or(strings.Compare(a.Presentity, b.Presentity), byAge(a, b))
	})
	return all
}

func byAge(a, b *Contribution) int {
	return cmp.Or(a.Received.Compare(b.Received), cmp.Compare(a.Number, b.Number))
}
