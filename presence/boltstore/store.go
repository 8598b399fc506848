package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/openblustar/blustar/presence"
)

// Errors of [Open] and of the methods of [Store], to be told with [errors.Is].
var (
	ErrLocked  = errors.New("another process has it open")
	ErrCorrupt = errors.New("it is damaged, or no such store")
	ErrVersion = errors.New("it is of another version")
	ErrFull    = errors.New("there is no room for it")
)

// Store is a [presence.Store] in a file. Make one with [Open]. It is safe for
// concurrent use.
type Store struct {
	path string
	db   *bbolt.DB
	room []byte // for keys and values, until the end of the transaction that writes; its own
}

var _ presence.Store = (*Store)(nil)

// format is the version of what is in the file. It is written once, when the file is
// made.
const format = 2

var (
	bucketAbout = []byte("\x00about") // no kind begins so
	keyFormat   = []byte("format")
	keyState    = []byte("state")
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

const (
	headerSize   = 4 + 8 + 8   // checksum, expiry, revision
	lockPatience = time.Second // a process that has ended may take a moment to let go
)

// Open opens the store in a file, which it makes where there is none: for its owner
// alone (mode 0600). The whole file is checked before anything is written, which takes
// about a second for 200 MB. The error wraps [ErrLocked], [ErrCorrupt], [ErrVersion]
// or [ErrFull], or that of the operating system, and names the file, which is left as
// it was.
//
// A new file appears whole. A loss of power meanwhile may leave another one beside it,
// of the same name with ".new-" after it, which may be removed.
func Open(path string) (*Store, error) {
	if err := inspect(path); err != nil {
		return nil, fail(path, err)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, fail(path, err)
		}
	}
	s, err := begin(path)
	if err != nil && info != nil && info.Size() == 0 && !errors.Is(err, bolterrors.ErrTimeout) {
		_ = os.Truncate(path, 0) // half of what belongs into it would be a damaged file
	}
	return s, fail(path, err)
}

// create makes the file under another name first: after a loss of power it is there
// wholly or not at all.
func create(path string) error {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	_ = f.Close()
	defer os.Remove(f.Name())
	s, err := begin(f.Name())
	if err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	switch err := os.Link(f.Name(), path); {
	case errors.Is(err, fs.ErrExist): // another process has made it meanwhile
		return nil
	case err != nil: // a file system without links
		if err := os.Rename(f.Name(), path); err != nil {
			return err
		}
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// begin opens a file that is right, and makes an empty one a store.
func begin(path string) (*Store, error) {
	db, err := open(path, &bbolt.Options{Timeout: lockPatience, FreelistType: bbolt.FreelistMapType, NoStatistics: true})
	if err != nil {
		return nil, err
	}
	isNew := false
	err = db.View(func(tx *bbolt.Tx) error {
		isNew = tx.Bucket(bucketAbout) == nil
		return nil
	})
	if err == nil && isNew {
		err = db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket(bucketAbout)
			if err != nil {
				return err
			}
			if err := b.Put(keyState, new(state).encode()); err != nil {
				return err
			}
			return b.Put(keyFormat, binary.BigEndian.AppendUint32(nil, format))
		})
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return &Store{path: path, db: db}, nil
}

// Close closes the file. What was applied is in it.
func (s *Store) Close() error { return s.db.Close() }

// Backup writes a copy of the file as it is at this moment, while the store goes on. It
// returns how many bytes it wrote.
func (s *Store) Backup(w io.Writer) (n int64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		n, err = tx.WriteTo(w)
		return err
	})
	return n, fail(s.path, err)
}

// Size returns the size of the file in bytes. Room that records have left is used
// again; the file does not become smaller.
func (s *Store) Size() (n int64) {
	_ = s.db.View(func(tx *bbolt.Tx) error {
		n = tx.Size()
		return nil
	})
	return n
}

// Load implements [presence.Store]. What has expired is dropped from the file.
func (s *Store) Load(ctx context.Context, f func(presence.Record) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var old []presence.Write
	var told error
	err := s.db.View(func(tx *bbolt.Tx) error {
		return walk(tx, func(r presence.Record) error {
			if !r.Expires.IsZero() && time.Until(r.Expires) <= 0 {
				old = append(old, presence.Write{Kind: r.Kind, Key: r.Key, Conditional: true, Revision: r.Revision})
				return nil
			}
			if told = ctx.Err(); told == nil {
				told = f(r)
			}
			return told
		})
	})
	switch {
	case told != nil:
		return told
	case err != nil:
		return fail(s.path, err)
	case len(old) > 0:
		_, err = s.apply(old, true)
		return fail(s.path, err)
	}
	return nil
}

// Apply implements [presence.Store]: all writes of a batch are carried out, or none,
// with one sync of the file.
func (s *Store) Apply(ctx context.Context, batch []presence.Write) ([]uint64, error) {
	if err := ctx.Err(); err != nil || len(batch) == 0 {
		return nil, err
	}
	revisions, err := s.apply(batch, false)
	return revisions, fail(s.path, err)
}

func checksum(key, data []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, data[4:])
}

func decode(key, data []byte) (presence.Record, error) {
	if len(data) < headerSize || binary.BigEndian.Uint32(data) != checksum(key, data) {
		return presence.Record{}, fmt.Errorf("%w: a record does not match its checksum", ErrCorrupt)
	}
	r := presence.Record{Key: string(key), Value: data[headerSize:], Revision: binary.BigEndian.Uint64(data[12:])}
	if at := binary.BigEndian.Uint64(data[4:]); at != 0 {
		r.Expires = time.UnixMilli(int64(at))
	}
	return r, nil
}

// walk calls f with each record.
func walk(tx *bbolt.Tx, f func(presence.Record) error) error {
	return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		if bytes.Equal(name, bucketAbout) {
			return nil
		}
		kind := string(name)
		return b.ForEach(func(key, data []byte) error {
			r, err := decode(key, data)
			if err != nil {
				return fmt.Errorf("%w (%s %q)", err, kind, key)
			}
			r.Kind = kind
			return f(r)
		})
	})
}

// fail names the file in an error, and what is wrong in our own words.
func fail(path string, err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok && strings.HasPrefix(pathErr.Path, path) {
		err = pathErr.Err // the path is named once
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bolterrors.ErrTimeout):
		err = ErrLocked
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG),
		errors.Is(err, bolterrors.ErrMaxSizeReached),
		strings.HasPrefix(err.Error(), "file resize error:"): // bbolt does not wrap what the system said
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("boltstore: %s: %w", path, err)
}
