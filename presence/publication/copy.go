package publication

// A host of several nodes gives each node copies of what the others have. A copy counts as any
// other contribution, and Publish or Remove may replace or end it. It does not expire by itself:
// the node that it belongs to has it expire. Config.Changed is not told of copies.

// CountFrom numbers the next contributions from n on. n must be above all numbers until
// now, and no other node may use these numbers.
func (s *Store) CountFrom(n uint64) { s.number.Store(n) }

// Copy takes over a contribution of another node, and reports whether it did. If keeps reports
// true, nothing changes; it is called with the presentity locked. If two nodes have made a
// contribution of which a user has only one, the one counts that was received later.
func (s *Store) Copy(c Contribution, keeps func() bool) bool {
	sh := s.of.Lock(c.Presentity)
	defer sh.Unlock()
	list := sh.Of[c.Presentity]
	var rival *Contribution
	current := numbered(list, c.Number)
	if current != nil {
		c.due = current.due
	} else if c.Rule != Separate {
		rival = find(list, c.Rule)
	}
	if keeps() || rival != nil && byAge(rival, &c) > 0 {
		return false
	}
	if rival != nil {
		s.end(sh, rival)
	}
	c.copied = true
	s.takeOver(sh, current, &c)
	return true
}

// RemoveCopy ends a contribution that has ended at its node, and reports whether it did.
// keeps is that of Copy.
func (s *Store) RemoveCopy(presentity string, number uint64, keeps func() bool) bool {
	sh := s.of.Lock(presentity)
	defer sh.Unlock()
	c := numbered(sh.Of[presentity], number)
	if keeps() || c == nil {
		return false
	}
	s.place(sh, c, nil)
	return true
}

// Own makes a copy a contribution of this node, which expires here, and returns it; nil if there is
// no such copy.
func (s *Store) Own(presentity string, number uint64) *Contribution {
	sh := s.of.Lock(presentity)
	defer sh.Unlock()
	c := numbered(sh.Of[presentity], number)
	if c == nil || !c.copied {
		return nil
	}
	own := *c
	own.copied = false
	s.place(sh, c, &own)
	return &own
}

func numbered(list []*Contribution, number uint64) *Contribution {
	for _, c := range list {
		if c.Number == number {
			return c
		}
	}
	return nil
}
