package boltstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"syscall"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/openblustar/blustar/presence"
)

// inspect reads the whole file, and reports what is wrong with it: bbolt trusts what
// it finds in a file, and panics, or worse, where that is wrong. A file that is not
// there, or empty, is right.
func inspect(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Size() == 0:
		return nil
	case err == nil && !info.Mode().IsRegular():
		return errors.New("it is not a regular file")
	}
	db, err := open(path, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: lockPatience, NoStatistics: true})
	if err != nil {
		return err
	}
	err = guarded(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			info, err := os.Stat(path) // while nobody else writes
			if err != nil {
				return err
			}
			if tx.Size() > info.Size() {
				return fmt.Errorf("%w: it was cut off at %d of %d bytes", ErrCorrupt, info.Size(), tx.Size())
			}
			if err := inspectPages(path, tx); err != nil {
				return err
			}
			return inspectAll(tx)
		})
	})
	if closed := guarded(db.Close); err == nil {
		err = closed
	}
	return err
}

func inspectAll(tx *bbolt.Tx) error {
	about := tx.Bucket(bucketAbout)
	if about == nil {
		if tx.ID() > 1 { // that of a file into which nothing has been written
			return fmt.Errorf("%w: it has other contents", ErrCorrupt)
		}
		return nil
	}
	data := about.Get(keyFormat)
	if len(data) != 4 {
		return fmt.Errorf("%w: it does not name its version", ErrCorrupt)
	}
	if v := binary.BigEndian.Uint32(data); v != format {
		return fmt.Errorf("%w: %d; this program knows %d", ErrVersion, v, format)
	}
	var told state
	if err := about.ForEach(func(k, v []byte) error {
		switch {
		case bytes.Equal(k, keyFormat):
			return nil
		case bytes.Equal(k, keyState):
			return told.decode(v)
		}
		return fmt.Errorf("%w: %q is not known", ErrCorrupt, k)
	}); err != nil {
		return err
	}
	found := make(map[string]tally)
	if err := walk(tx, func(r presence.Record) error {
		data := tx.Bucket([]byte(r.Kind)).Get([]byte(r.Key))
		if data == nil { // the way to it is damaged
			return fmt.Errorf("%w: %s %q is not found", ErrCorrupt, r.Kind, r.Key)
		}
		t := found[r.Kind]
		t.add(data)
		found[r.Kind] = t
		return nil
	}); err != nil {
		return err
	}
	for kind := range found {
		if _, ok := told.kinds[kind]; !ok {
			return fmt.Errorf("%w: there are records %q, of which it does not tell", ErrCorrupt, kind)
		}
	}
	for kind, t := range told.kinds { // a page may be damaged so that records are not seen
		if found[kind] != t {
			return fmt.Errorf("%w: %d records %q are there instead of %d, or others", ErrCorrupt, found[kind].count, kind, t.count)
		}
	}
	var wrong error // which pages are free is told by no record, and protected by no checksum
	for err := range tx.Check(bbolt.WithKVStringer(silent{})) {
		wrong = cmp.Or(wrong, fmt.Errorf("%w: %w", ErrCorrupt, err))
	}
	return wrong
}

// silent has a check not tell keys, whose length may be damaged.
type silent struct{}

func (silent) KeyToString([]byte) string   { return "" }
func (silent) ValueToString([]byte) string { return "" }

// open opens a database. A file that was cut off or changed makes bbolt panic.
func open(path string, o *bbolt.Options) (db *bbolt.DB, err error) {
	var file *os.File
	o.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		f, err = os.OpenFile(name, flag, mode)
		file = f
		return f, err
	}
	err = guarded(func() (err error) {
		db, err = bbolt.Open(path, 0o600, o)
		return err
	})
	if err != nil && file != nil {
		_ = file.Close() // a panic has left it open; its mapping stays, and has it locked until the process ends
	}
	if _, system := errors.AsType[*fs.PathError](err); err != nil && !system && !errors.Is(err, bolterrors.ErrTimeout) {
		if _, system = errors.AsType[syscall.Errno](err); !system && !errors.Is(err, ErrCorrupt) {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return db, err
}

// guarded turns a panic of f into an error, that of memory which is not there in the
// mapped file included.
func guarded(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(before)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	return f()
}
