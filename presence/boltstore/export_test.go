package boltstore

// LimitSize bounds the size of the file, as a full disk does; 0 does not.
func LimitSize(s *Store, bytes int) { s.db.MaxSize = bytes }
