package hostconfig

import (
	"time"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/boltstore"
)

// Open opens the store and puts it into the configuration of a server. Of nil it is nil.
func (s *Store) Open(cfg *presence.Config) (*boltstore.Store, error) {
	if s == nil {
		return nil, nil
	}
	store, err := boltstore.Open(s.File)
	if err != nil {
		return nil, err
	}
	cfg.Store, cfg.StoreAlways, cfg.StoreSync = store, s.Sync < 0, time.Duration(max(0, s.Sync))
	return store, nil
}
