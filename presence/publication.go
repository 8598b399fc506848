package presence

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Publication is one published state, held until it expires (RFC 3903). It is a
// plain value: a store may serialize it.
type Publication struct {
	Presentity string // key of the presentity: the ID of its directory entry
	ETag       string // entity-tag, unique within the presentity
	Dialect    string // name of the dialect that opened it
	Own        Own    // the status it says
	Document   []byte // the body, for the Standard dialect, whose tuples are passed on; never changed by anybody
	Expires    time.Time
	Revision   uint64 // set by the store, rises with each Put
}

// Errors of a [PublicationStore].
var (
	ErrNoPublication = errors.New("presence: no such publication")
	ErrConflict      = errors.New("presence: the publication was changed meanwhile")
)

// PublicationStore keeps publications by presentity and entity-tag. The server
// has the live ones in memory as well, and writes each change through before it
// counts: a store is a record beside it, and one that several servers share
// tells them of conflicts. It does not read publications back.
//
// Values go in and out by copy, but for Document, which nobody changes. It is
// safe for concurrent use, calls end with their context, and what Put stored the
// next List sees. The server makes one call at a time for a presentity. A call
// that fails while a client waits is answered 412 where the error is one of
// those above, else 503. What could not be deleted is the store's to drop, once
// it has expired.
type PublicationStore interface {
	// Put stores p and returns its new revision. With replaces empty it is a new
	// publication; else it takes the place of the one with that entity-tag,
	// whose revision must be p.Revision: [ErrConflict] where it is another,
	// [ErrNoPublication] where there is none.
	Put(ctx context.Context, p Publication, replaces string) (revision uint64, err error)
	// Delete removes a publication; [ErrNoPublication] where there is none.
	Delete(ctx context.Context, presentity, etag string) error
	// List returns the publications of a presentity, the oldest first, expired
	// ones included. It is for the host.
	List(ctx context.Context, presentity string) ([]Publication, error)
}

// MemoryStore is a [PublicationStore] in memory. Make one with [NewMemoryStore].
type MemoryStore struct {
	mu       sync.Mutex
	revision uint64
	m        map[string][]Publication
}

// NewMemoryStore makes an empty store.
func NewMemoryStore() *MemoryStore { return &MemoryStore{m: make(map[string][]Publication)} }

// Put implements [PublicationStore].
func (s *MemoryStore) Put(_ context.Context, p Publication, replaces string) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.m[p.Presentity]
	i := -1
	if replaces != "" {
		if i = find(list, replaces); i < 0 {
			return 0, ErrNoPublication
		}
		if list[i].Revision != p.Revision {
			return 0, ErrConflict
		}
	}
	if j := find(list, p.ETag); j >= 0 && j != i {
		return 0, ErrConflict
	}
	s.revision++
	p.Revision = s.revision
	if i >= 0 {
		list[i] = p
	} else {
		s.m[p.Presentity] = append(list, p)
	}
	return p.Revision, nil
}

// Delete implements [PublicationStore].
func (s *MemoryStore) Delete(_ context.Context, presentity, etag string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.m[presentity]
	i := find(list, etag)
	if i < 0 {
		return ErrNoPublication
	}
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(s.m, presentity)
	} else {
		s.m[presentity] = list
	}
	return nil
}

// List implements [PublicationStore].
func (s *MemoryStore) List(_ context.Context, presentity string) ([]Publication, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.m[presentity]), nil
}

func find(list []Publication, etag string) int {
	return slices.IndexFunc(list, func(p Publication) bool { return p.ETag == etag })
}
