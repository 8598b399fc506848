package publication

import (
	"cmp"
	"crypto/rand"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/openblustar/blustar/internal/conf"
	"github.com/openblustar/blustar/internal/deadline"
	"github.com/openblustar/blustar/internal/shard"
	"github.com/openblustar/blustar/pidf/aa"
)

// Config makes a [Store]. The zero value of each field is the default that its
// comment names.
type Config struct {
	MaxPublications int // live ones of one presentity; default 32
	// MaxBytes is of the bodies of one presentity's publications together; default 32 KiB: what is
	// passed on of them must fit a datagram.
	MaxBytes int
	// Read reads a Body whose Reading is nil, for [Contribution.Reading]. It is called with the
	// presentity locked, must not block and must not call the store. nil: nothing is read.
	Read func(body []byte) any
	// Changed is told of each contribution that is made, replaced or gone: before or
	// after is nil where there is none. It is called with the presentity locked, in the
	// order of its events, and for several presentities at once: it must be quick, must
	// not block and must not call the store.
	Changed func(before, after *Contribution)
	// MayExpire is asked before a contribution that was not refreshed ends; while it
	// reports false, all stay. It must not block. nil: they may.
	MayExpire func() bool
	// Expired is told of each contribution that was not refreshed, once it has gone.
	// Calls come one after another: it must not block.
	Expired func(c *Contribution)
}

// Store keeps contributions in memory until they expire. It is safe for concurrent
// use.
type Store struct {
	cfg       Config
	deadlines deadline.Queue
	of        *shard.Map[[]*Contribution] // by presentity, the oldest first
	count     atomic.Int64
	number    atomic.Uint64 // of the newest contribution
}

// shelf has what is published of some presentities.
type shelf = shard.Part[[]*Contribution]

// NewStore makes an empty store. The error names everything that is wrong with the
// configuration.
func NewStore(cfg Config) (*Store, error) {
	check := conf.Of("publication: Config")
	conf.Default(check, "MaxPublications", &cfg.MaxPublications, 32)
	conf.Default(check, "MaxBytes", &cfg.MaxBytes, 32<<10)
	if err := check.Err(); err != nil {
		return nil, err
	}
	return &Store{cfg: cfg, of: shard.New[[]*Contribution]()}, nil
}

// Shutdown stops what would expire.
func (s *Store) Shutdown() { s.deadlines.Stop() }

// Publish carries out a PUBLISH. It returns the contribution that it has made or changed, and the
// one before, which may be nil. A contribution that is found by its entity-tag keeps its rule,
// whatever the request says. The error is one of [ErrNoMatch], [ErrNothing], [ErrOvertaken],
// [ErrTooMany] and [ErrTooLarge].
func (s *Store) Publish(r Request) (now, before *Contribution, err error) {
	sh := s.of.Lock(r.Presentity)
	defer sh.Unlock()
	list := sh.Of[r.Presentity]
	if c := repeated(list, &r); c != nil {
		return c, c, nil
	}
	current, err := matching(list, &r)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case current == nil && !r.body():
		return nil, nil, ErrNothing
	case current != nil && current.Rule == Shared && r.body() && current.overtook(&r):
		return nil, nil, ErrOvertaken
	}
	next := &Contribution{Presentity: r.Presentity, Rule: r.Rule, Address: r.Address, Owner: r.Owner, Received: time.Now()}
	if current != nil {
		*next = *current
		next.copied = false
	}
	if r.Said != nil {
		next.say(&r)
		size := len(next.Body)
		for _, c := range list {
			if c != current {
				size += len(c.Body)
			}
			if !next.Received.After(c.Received) { // no two have the same time: it gives their order after a restart
				next.Received = c.Received.Add(1)
			}
		}
		if next.Rule == Separate && size > s.cfg.MaxBytes {
			return nil, nil, ErrTooLarge
		}
		s.read(next)
	}
	switch {
	case current == nil && len(list) >= s.cfg.MaxPublications:
		return nil, nil, ErrTooMany
	case current == nil:
		next.Number, next.ETag = s.number.Add(1), newTag(list, next.Rule)
		if next.Status == "" {
			next.Status = aa.StatusUnknown
		}
	case next.Rule == Separate:
		next.ETag = newTag(list, next.Rule)
	}
	if next.Rule == Separate {
		next.IfMatch, next.CallID, next.CSeq = strings.Clone(r.IfMatch), strings.Clone(r.CallID), r.CSeq
	}
	if next.Rule != Shared || next.Expires.Before(r.Expires) {
		next.Expires = r.Expires // no client ends sooner what another keeps alive
	}
	s.swap(sh, current, next)
	return next, current, nil
}

// Revert undoes a Publish that returned now and before, or, with a nil now, the removal of before.
// If something has changed again since, it does nothing, and reports false.
func (s *Store) Revert(now, before *Contribution) bool {
	key := cmp.Or(now, before).Presentity
	sh := s.of.Lock(key)
	defer sh.Unlock()
	list := sh.Of[key]
	switch {
	case now != nil && !slices.Contains(list, now),
		now == nil && (len(list) >= s.cfg.MaxPublications || before.Rule != Separate && find(list, before.Rule) != nil):
		return false
	}
	if before != nil {
		again := *before
		again.copied = false // it is written here
		before = &again
	}
	s.swap(sh, now, before)
	return true
}

// repeated finds what the same request has made before. The process that carried it out may have
// ended without an answer: the client sends it once more, with the entity-tag of before.
func repeated(list []*Contribution, r *Request) *Contribution {
	for _, c := range list {
		if c.Rule == Separate && r.Rule == Separate && r.CallID != "" && c.CallID == r.CallID && c.CSeq == r.CSeq &&
			c.IfMatch == r.IfMatch {
			return c
		}
	}
	return nil
}

// matching finds the contribution that a request is about: the one that it names, or
// the one that a user has one of.
func matching(list []*Contribution, r *Request) (*Contribution, error) {
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

// say writes down what a request says.
func (c *Contribution) say(r *Request) {
	said := r.Said
	switch c.Rule {
	case Shared:
		if c.CallID != r.CallID {
			c.CallID = strings.Clone(r.CallID)
		}
		c.CSeq = r.CSeq
		c.Status, c.Timestamp = said.Status, said.Timestamp
		if !said.KeepNote {
			c.Note = said.Note
		}
	case Separate:
		c.Body, c.Reading = said.Body, said.Reading
	case Forwarding:
		c.Target = said.Target
	}
	c.Owner, c.Received = r.Owner, time.Now()
}

// overtook reports whether a newer request of the same client has overtaken r on its
// way. RFC 3903 leaves that to the entity-tag, which stays the same here.
func (c *Contribution) overtook(r *Request) bool {
	return c.CallID == r.CallID && r.CSeq < c.CSeq && time.Since(c.Received) < overtaking
}

// overtaking is how long a request may be under way (RFC 3261 §17.1.2.2, timer F):
// after that a lower CSeq is a client that counts anew.
const overtaking = 32 * time.Second

// newTag makes an entity-tag that none of a presentity's contributions has: up to 9
// digits for the clients of BluStar, as they are printed, else 128 random bits. A
// forwarding has that of what its user shares (§4.3).
func newTag(list []*Contribution, rule Rule) string {
	if rule == Separate {
		return rand.Text()
	}
	if c := find(list, Shared); rule == Forwarding && c != nil {
		return c.ETag
	}
	for {
		n, _ := rand.Int(rand.Reader, big.NewInt(1e9)) // crypto/rand does not fail
		if tag := n.String(); !slices.ContainsFunc(list, func(c *Contribution) bool { return c.ETag == tag }) {
			return tag
		}
	}
}

// swap puts next in the place of current, either of which may be nil. The shelf is
// locked.
func (s *Store) swap(sh *shelf, current, next *Contribution) {
	s.place(sh, current, next)
	if s.cfg.Changed != nil {
		s.cfg.Changed(current, next)
	}
}

// place is swap without Config.Changed.
func (s *Store) place(sh *shelf, current, next *Contribution) {
	key := cmp.Or(next, current).Presentity
	// A new list each time: Of hands them out.
	list := make([]*Contribution, 0, len(sh.Of[key])+1)
	for _, c := range sh.Of[key] {
		if c != current {
			list = append(list, c)
		}
	}
	switch {
	case next == nil:
		s.deadlines.Remove(&current.due.Item)
		s.count.Add(-1)
	case current == nil:
		next.due = &expiry{store: s, presentity: key, number: next.Number}
		s.count.Add(1)
	}
	if next != nil {
		list = append(list, next)
		if next.copied {
			s.deadlines.Remove(&next.due.Item)
		} else {
			s.deadlines.Set(&next.due.Item, next.due, next.Expires)
		}
	}
	if len(list) == 0 {
		delete(sh.Of, key)
	} else {
		sh.Of[key] = list
	}
}

// Remove ends the contribution with an entity-tag. The error is [ErrNoMatch].
func (s *Store) Remove(presentity, etag string) error {
	if s.removeFunc(presentity, func(c *Contribution) bool { return c.ETag == etag }) == nil {
		return ErrNoMatch
	}
	return nil
}

// RemoveOne ends the one contribution that a user has by the Shared or Forwarding
// rule, and returns it, or nil.
func (s *Store) RemoveOne(presentity string, rule Rule) *Contribution {
	return s.removeFunc(presentity, func(c *Contribution) bool { return c.Rule == rule })
}

// removeFunc ends the oldest contribution for which is reports true, and returns it, or nil.
func (s *Store) removeFunc(presentity string, is func(*Contribution) bool) *Contribution {
	sh := s.of.Lock(presentity)
	defer sh.Unlock()
	for _, c := range sh.Of[presentity] {
		if is(c) {
			s.swap(sh, c, nil)
			return c
		}
	}
	return nil
}

// expiry is the deadline of a contribution.
type expiry struct {
	deadline.Item
	store      *Store
	presentity string
	number     uint64
}

// again is when Config.MayExpire is asked again.
const again = time.Second

// Expired implements [deadline.Expirer].
func (e *expiry) Expired() {
	may := e.store.cfg.MayExpire == nil || e.store.cfg.MayExpire()
	c := e.store.removeFunc(e.presentity, func(c *Contribution) bool {
		if c.Number != e.number || time.Until(c.Expires) > 0 { // it may have been refreshed meanwhile
			return false
		}
		if !may && !c.copied {
			e.store.deadlines.Set(&e.Item, e, time.Now().Add(again))
		}
		return may
	})
	if c != nil && e.store.cfg.Expired != nil {
		e.store.cfg.Expired(c)
	}
}

// Abandon ends the Shared contribution of a user whose last client has ended. It does not tell
// Config.Changed of a copy: every node does the same.
func (s *Store) Abandon(presentity string) {
	sh := s.of.Lock(presentity)
	defer sh.Unlock()
	if c := find(sh.Of[presentity], Shared); c != nil {
		s.end(sh, c)
	}
}

// end ends a contribution. Of a copy Config.Changed is not told. The shelf is locked.
func (s *Store) end(sh *shelf, c *Contribution) {
	if c.copied {
		s.place(sh, c, nil)
	} else {
		s.swap(sh, c, nil)
	}
}

// Restore puts a contribution of a former run back, unless it has expired meanwhile
// or there is one with its entity-tag. Config.Changed is not told.
func (s *Store) Restore(c Contribution) {
	sh := s.of.Lock(c.Presentity)
	defer sh.Unlock()
	there := func(o *Contribution) bool { return o.ETag == c.ETag && o.Rule == c.Rule }
	if time.Until(c.Expires) <= 0 || slices.ContainsFunc(sh.Of[c.Presentity], there) {
		return
	}
	for n := s.number.Load(); n < c.Number && !s.number.CompareAndSwap(n, c.Number); n = s.number.Load() {
	}
	s.takeOver(sh, nil, &c)
}

// takeOver puts a contribution from elsewhere in the place of current, which may be nil. The shelf
// is locked.
func (s *Store) takeOver(sh *shelf, current, c *Contribution) {
	c.Expires = deadline.Steady(c.Expires)
	s.read(c)
	s.place(sh, current, c)
	slices.SortStableFunc(sh.Of[c.Presentity], byAge) // which nobody has seen yet
}

func (s *Store) read(c *Contribution) {
	if c.Reading == nil && s.cfg.Read != nil && len(c.Body) > 0 {
		c.Reading = s.cfg.Read(c.Body)
	}
}

// Of returns the live contributions of a presentity, the oldest first. Nobody changes
// what it returns.
func (s *Store) Of(presentity string) []*Contribution { return s.of.Get(presentity) }

// One returns the one that a user has by the Shared or Forwarding rule, or nil.
func (s *Store) One(presentity string, rule Rule) *Contribution {
	return find(s.Of(presentity), rule)
}

// Len returns how many contributions there are.
func (s *Store) Len() int { return int(s.count.Load()) }

// All returns all contributions, by presentity and age.
func (s *Store) All() []*Contribution {
	all := slices.Concat(s.of.Values()...)
	slices.SortFunc(all, func(a, b *Contribution) int {
		return cmp.Or(strings.Compare(a.Presentity, b.Presentity), byAge(a, b))
	})
	return all
}

func byAge(a, b *Contribution) int {
	return cmp.Or(a.Received.Compare(b.Received), cmp.Compare(a.Number, b.Number))
}

// Contribution is one thing that was published about a user, until it expires. It is
// a flat value: a store of records may write it down. It is not changed once it is
// in a [Store].
type Contribution struct {
	Presentity string // whose presence it is about: the host's key
	Address    string // of the presentity, as far as the host has said
	ETag       string // entity-tag (RFC 3903 §4.1), unique within the presentity
	Rule       Rule
	Owner      string // who published it last: a Contact, or a network address
	Received   time.Time
	Expires    time.Time
	Number     uint64 // tells those of a presentity apart, and rises

	Status    aa.Status // Shared: what it says
	Note      string    // Shared: the user's free text
	Timestamp time.Time // Shared: as published, else Received
	Body      []byte    // Separate: the document, as published
	Target    string    // Forwarding: the destination

	// Shared: the newest request that changed it. An older one of the same Call-ID
	// does not (RFC 3261 §8.2.6.1 has no order; the entity-tag, which stays, cannot
	// tell).
	//
	// Separate: the newest request, with its SIP-If-Match. The same one once more changes nothing.
	CallID  string
	CSeq    uint32
	IfMatch string

	Reading any // Separate: what the host has read of Body; see Config.Read

	due    *expiry // the same one in all versions
	copied bool    // it is another node's, which has it expire
}
