package publication

import "slices"

// A host of several nodes gives each of them what the others have: copies. A copy counts
// as any other contribution, and may be replaced by Publish or ended by Remove, but it
// does not expire by itself: that is for the node whose it is. Config.Changed is not told
// of what happens to copies.

// CountFrom has the next contributions be numbered from n on, which is above what they
// were: no two nodes use the same numbers.
func (s *Store) CountFrom(n uint64) { s.number.Store(n) }

// Copy takes over a contribution of another node, and reports whether it does. keeps is
// asked with the presentity locked, and has all stay as it is. Where two nodes have begun
// what a user has one of, the one that was received later counts.
func (s *Store) Copy(c Contribution, keeps func() bool) bool {
	sh := s.of.Lock(c.Presentity)
	defer sh.Unlock()
	list := sh.Of[c.Presentity]
	current := find(list, c.Rule)
	if i := slices.IndexFunc(list, func(o *Contribution) bool { return o.Number == c.Number }); i >= 0 || c.Rule == Separate {
		current = nil
		if i >= 0 {
			current = list[i]
		}
	}
	if keeps() || current != nil && current.Number != c.Number && byAge(current, &c) > 0 {
		return false
	}
	if current != nil && current.Number != c.Number {
		if current.copied {
			s.place(sh, current, nil)
		} else {
			s.swap(sh, current, nil)
		}
		current = nil
	}
	if current != nil {
		c.due = current.due
	}
	s.read(&c)
	c.copied = true
	s.place(sh, current, &c)
	slices.SortStableFunc(sh.Of[c.Presentity], byAge) // which nobody has seen yet
	return true
}

// RemoveCopy ends what has ended at the node whose it is, and reports whether it does;
// keeps is as of Copy.
func (s *Store) RemoveCopy(presentity string, number uint64, keeps func() bool) bool {
	sh := s.of.Lock(presentity)
	defer sh.Unlock()
	list := sh.Of[presentity]
	i := slices.IndexFunc(list, func(c *Contribution) bool { return c.Number == number })
	if keeps() || i < 0 {
		return false
	}
	s.place(sh, list[i], nil)
	return true
}

// Own makes a copy this node's, and returns it, or nil. It expires from now on.
func (s *Store) Own(presentity string, number uint64) *Contribution {
	sh := s.of.Lock(presentity)
	defer sh.Unlock()
	for _, c := range sh.Of[presentity] {
		if c.Number == number && c.copied {
			own := *c
			own.copied = false
			s.place(sh, c, &own)
			return &own
		}
	}
	return nil
}
