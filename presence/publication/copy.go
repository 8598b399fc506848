package publication

import "slices"

// A host of several nodes gives each of them what the others have: copies. A copy counts
// as any other contribution, and may be replaced by Publish or ended by Remove, but it
// does not expire by itself: that is for the node whose it is. Config.Changed is not told
// of what happens to copies.

// CountFrom numbers the next contributions from n on. n must be above all numbers until
// now, and no other node may use these numbers.
func (s *Store) CountFrom(n uint64) { s.number.Store(n) }

// Copy takes over a contribution of another node, and reports whether it did. Where keeps
// reports true, nothing changes; it is called with the presentity locked. Where two nodes
// have made a contribution of which a user has one, that which was received later counts.
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

// RemoveCopy ends a contribution that has ended at its node, and reports whether it did.
// keeps is that of Copy.
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

// Own makes a copy a contribution of this node, which expires, and returns it. It returns
// nil where there is no such copy.
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
