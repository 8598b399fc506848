package hostconfig

import (
	"time"

	"github.com/openblustar/blustar/directory/ldapdir"
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

// checkFiles finds files of NATS that cannot be read. The connection would be tried for ever.
func (s *Store) checkFiles() error {
	if s == nil || s.NATS == nil {
		return nil
	}
	if name := s.NATS.CredentialsFile; name != "" {
		if _, err := ReadFile(name, maxFile); err != nil {
			return Wrong("credentials_file", "%s: %s", name, err)
		}
	}
	if name := s.NATS.CAFile; name != "" {
		if _, err := ldapdir.LoadCA(name); err != nil {
			return Wrong("ca_file", "%s", err)
		}
	}
	return nil
}
