package boltstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/boltstore"
	"github.com/openblustar/blustar/presence/storetest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("BOLTSTORE_TEST_HOLD"); path != "" {
		hold(path)
		return
	}
	if path := os.Getenv("BOLTSTORE_TEST_FILL"); path != "" {
		fillUp(path)
		return
	}
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, before presence.Store) presence.Store {
		path := filepath.Join(t.TempDir(), "store.db")
		if before != nil {
			s := before.(*opened)
			require.NoError(t, s.Close())
			path = s.path
		}
		return &opened{open(t, path), path}
	})
}

type opened struct {
	*boltstore.Store
	path string
}

func open(t *testing.T, path string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fill puts n records in and returns what is loaded of them.
func fill(t *testing.T, s *boltstore.Store, n int) map[string]string {
	t.Helper()
	var batch []presence.Write
	for i := range n {
		batch = append(batch, presence.Write{
			Kind: []string{"dialog", "client"}[i%2], Key: fmt.Sprintf("key-%04d", i),
			Value: []byte(strings.Repeat(fmt.Sprint(i), 50)), Expires: time.Now().Add(time.Hour),
		})
	}
	_, err := s.Apply(t.Context(), batch)
	require.NoError(t, err)
	return contents(t, s)
}

func contents(t *testing.T, s presence.Store) map[string]string {
	t.Helper()
	all := make(map[string]string)
	require.NoError(t, s.Load(context.Background(), func(r presence.Record) error {
		all[r.Kind+"/"+r.Key] = string(r.Value)
		return nil
	}))
	return all
}

// A file that is made is its owner's alone.
func TestMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	open(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// What cannot be a store is one clear error, and stays as it was (BSX-11).
func TestRefused(t *testing.T) {
	other := func(t *testing.T, path string) {
		db, err := bbolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("somebody else's"))
			return err
		}))
		require.NoError(t, db.Close())
	}
	newer := func(t *testing.T, path string) {
		fill(t, open(t, path), 3)
		// as a later version of this package would
		s, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path+".copy", s, 0o600))
		db, err := bbolt.Open(path+".copy", 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("\x00about")).Put([]byte("format"), []byte{0, 0, 0, 3})
		}))
		require.NoError(t, db.Close())
		require.NoError(t, os.Rename(path+".copy", path))
	}
	for name, test := range map[string]struct {
		make func(t *testing.T, path string)
		want error
		text string
	}{
		"text":            {func(t *testing.T, path string) { write(t, path, []byte("hello")) }, boltstore.ErrCorrupt, "damaged"},
		"zeros":           {func(t *testing.T, path string) { write(t, path, make([]byte, 1<<16)) }, boltstore.ErrCorrupt, "damaged"},
		"somebody else's": {other, boltstore.ErrCorrupt, "other contents"},
		"newer":           {newer, boltstore.ErrVersion, "of another version: 3; this program knows 2"},
		"directory":       {func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, nil, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			test.make(t, path)
			before, _ := os.ReadFile(path)
			_, err := boltstore.Open(path)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			}
			require.ErrorContains(t, err, test.text)
			require.Equal(t, 1, strings.Count(err.Error(), path), "%v", err)
			after, _ := os.ReadFile(path)
			require.True(t, bytes.Equal(before, after), "the file was changed")
		})
	}
	t.Run("no such directory", func(t *testing.T) {
		_, err := boltstore.Open(filepath.Join(t.TempDir(), "none", "store.db"))
		require.ErrorIs(t, err, os.ErrNotExist)
	})
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// Two in one process, or two processes, do not share a file.
func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	_, err := boltstore.Open(path)
	require.ErrorIs(t, err, boltstore.ErrLocked)
	require.NoError(t, s.Close())
	require.NoError(t, open(t, path).Close())
}

// A file that was cut off anywhere, or has one bit turned anywhere, is an error, or
// loads exactly what was applied: free room may be damaged. It never ends the process,
// and is left as it was.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	s := open(t, path)
	fill(t, s, 200)
	want := fill(t, s, 400) // and some free pages
	require.NoError(t, s.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	refused, tries := 0, 0
	try := func(data []byte, what string) {
		t.Helper()
		tries++
		damaged := filepath.Join(dir, fmt.Sprintf("damaged-%d.db", tries))
		defer os.Remove(damaged)
		write(t, damaged, data)
		s, err := boltstore.Open(damaged)
		if err != nil {
			refused++
			require.ErrorIs(t, err, boltstore.ErrCorrupt, what)
			after, _ := os.ReadFile(damaged)
			require.True(t, bytes.Equal(data, after), "%s: the file was changed", what)
			return
		}
		require.Equal(t, want, contents(t, s), what)
		_, err = s.Apply(t.Context(), []presence.Write{{Kind: "k", Key: "after", Value: []byte("x")}})
		require.NoError(t, err, what)
		require.NoError(t, s.Close())
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		n := 1 + random.IntN(len(whole)-1)
		try(whole[:n], fmt.Sprintf("cut off at %d of %d", n, len(whole)))
	}
	require.NotZero(t, refused)
	refused = 0
	for range 300 {
		i, bit := random.IntN(len(whole)), byte(1)<<random.IntN(8)
		data := bytes.Clone(whole)
		data[i] ^= bit
		try(data, fmt.Sprintf("bit %08b of byte %d of %d", bit, i, len(whole)))
	}
	require.NotZero(t, refused)
}

// What bbolt writes of its own pages has no checksum, or is made up for where it is damaged:
// each bit of their headers, of the pages that tell where the others are, and of those that
// lead to them.
func TestDamagedPages(t *testing.T) {
	const pageSize, header, first, branch = 4096, 16, 80, 1
	dir := t.TempDir()
	path := filepath.Join(dir, "store.db")
	s := open(t, path)
	fill(t, s, 40)
	want := fill(t, s, 120) // and some free pages
	require.NoError(t, s.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	refused, branches := 0, 0
	for page := 0; page < len(whole); page += pageSize {
		upTo := header
		switch id := binary.NativeEndian.Uint64(whole[page:]); {
		case page < 2*pageSize:
			upTo = first
		case id == uint64(page/pageSize) && binary.NativeEndian.Uint16(whole[page+8:]) == branch:
			upTo = header + 16*int(binary.NativeEndian.Uint16(whole[page+10:]))
			branches++
		}
		for bit := range upTo * 8 {
			data := bytes.Clone(whole)
			data[page+bit/8] ^= 1 << (bit % 8)
			damaged := filepath.Join(dir, "damaged.db")
			write(t, damaged, data)
			s, err := boltstore.Open(damaged)
			if err != nil {
				refused++
				require.ErrorIs(t, err, boltstore.ErrCorrupt, "page %d, bit %d", page/pageSize, bit)
			} else {
				require.Equal(t, want, contents(t, s), "page %d, bit %d", page/pageSize, bit)
				require.NoError(t, s.Close())
			}
			require.NoError(t, os.Remove(damaged)) // where a panic of bbolt has left it locked
		}
	}
	require.NotZero(t, branches)
	require.Greater(t, refused, 2*8*(first-header)) // at least what has a checksum
	t.Logf("%d refused", refused)
}

// A batch that finds no room is an error, and the store is as it was and goes on once
// there is room again.
func TestFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	want := fill(t, s, 10)
	boltstore.LimitSize(s, int(s.Size()))
	big := []presence.Write{
		{Kind: "dialog", Key: "key-0000", Value: []byte("changed")},
		{Kind: "k", Key: "big", Value: make([]byte, 8<<20)},
	}
	_, err := s.Apply(t.Context(), big)
	require.ErrorIs(t, err, boltstore.ErrFull)
	require.Equal(t, want, contents(t, s))
	boltstore.LimitSize(s, 0)
	_, err = s.Apply(t.Context(), big)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.Len(t, contents(t, open(t, path)), len(want)+1)
}

// fillUp is the process of TestFullForReal. Its files may be of a few pages at most, then of
// 1 MB, as if the disk had no more, until it raises that.
func fillUp(path string) {
	limit := func(bytes uint64) {
		var l syscall.Rlimit
		must(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l))
		l.Cur = min(bytes, l.Max)
		must(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l))
	}
	put := func(s *boltstore.Store, i int) error {
		_, err := s.Apply(context.Background(), []presence.Write{{Kind: "k", Key: fmt.Sprintf("%08d", i), Value: make([]byte, 64<<10)}})
		return err
	}
	for pages := range uint64(5) { // wherever a new one is cut off
		limit(pages << 12)
		if _, err := boltstore.Open(path); !errors.Is(err, boltstore.ErrFull) {
			must(fmt.Errorf("no room for a new one: %v", err))
		}
		left, err := os.ReadDir(filepath.Dir(path))
		if must(err); len(left) > 0 {
			must(fmt.Errorf("left behind: %v", left))
		}
		must(os.WriteFile(path, nil, 0o600)) // one that was made empty stays so
		if _, err := boltstore.Open(path); !errors.Is(err, boltstore.ErrFull) {
			must(fmt.Errorf("no room for an empty one: %v", err))
		}
		info, err := os.Stat(path)
		if must(err); info.Size() > 0 {
			must(fmt.Errorf("%d bytes are left behind", info.Size()))
		}
		must(os.Remove(path))
	}
	limit(1 << 20)
	s, err := boltstore.Open(path)
	must(err)
	n := 0
	for err == nil && n < 1000 {
		if err = put(s, n); err == nil {
			n++
		}
	}
	if !errors.Is(err, boltstore.ErrFull) {
		must(fmt.Errorf("after %d: %v", n, err))
	}
	limit(1 << 40)
	must(put(s, n))
	must(s.Close())
	fmt.Println(n + 1)
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// A disk that is full is an error; everything that was taken before is there, and the
// store goes on once there is room (BSX-11).
func TestFullForReal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BOLTSTORE_TEST_FILL="+path)
	out, err := cmd.Output()
	require.NoError(t, err, string(out))
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	require.NoError(t, err, string(out))
	require.Greater(t, n, 1)
	require.Len(t, contents(t, open(t, path)), n)
}

// A backup taken while the store is written is a store with what was there at one
// moment.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "store.db"))
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			value := []byte(fmt.Sprint(i))
			if _, err := s.Apply(context.Background(), []presence.Write{{Kind: "a", Key: "x", Value: value}, {Kind: "b", Key: "y", Value: value}}); err != nil {
				done <- err
				return
			}
		}
	}()
	for i := range 20 {
		var copied bytes.Buffer
		n, err := s.Backup(&copied)
		require.NoError(t, err)
		require.EqualValues(t, copied.Len(), n)
		path := filepath.Join(dir, fmt.Sprintf("backup-%d.db", i))
		write(t, path, copied.Bytes())
		all := contents(t, open(t, path))
		require.Equal(t, all["a/x"], all["b/y"], "two batches are mixed")
	}
	close(stop)
	require.NoError(t, <-done)
}

// hold writes batches until it is killed, and says how far it has come.
func hold(path string) {
	s, err := boltstore.Open(path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	start := 0
	_ = s.Load(context.Background(), func(r presence.Record) error {
		_, err := fmt.Sscan(string(r.Value), &start)
		return err
	})
	for i := start + 1; ; i++ {
		value := []byte(fmt.Sprint(i))
		if _, err := s.Apply(context.Background(), []presence.Write{{Kind: "a", Key: "x", Value: value}, {Kind: "b", Key: "y", Value: value}}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

// What Apply has returned for is there after a process was killed at any moment
// (BSX-11).
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	random := rand.New(rand.NewPCG(3, 4))
	last := 0
	for range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "BOLTSTORE_TEST_HOLD="+path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		upTo := last + 1 + random.IntN(30)
		for n := 0; n < upTo; {
			_, err := fmt.Fscan(out, &n)
			require.NoError(t, err)
			last = max(last, n)
		}
		require.NoError(t, cmd.Process.Kill())
		for n := 0; ; last = max(last, n) { // what it said before it was killed counts
			if _, err := fmt.Fscan(out, &n); err != nil {
				break
			}
		}
		require.Error(t, cmd.Wait())
		s, err := boltstore.Open(path)
		require.NoError(t, err)
		all := contents(t, s)
		require.NoError(t, s.Close())
		require.Equal(t, all["a/x"], all["b/y"])
		n := 0
		_, err = fmt.Sscan(all["a/x"], &n)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, last)
		last = n
	}
}

// BenchmarkApply writes batches of as many records as its name says: what one of them
// costs.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, err := boltstore.Open(filepath.Join(b.TempDir(), "store.db"))
			require.NoError(b, err)
			defer s.Close()
			value := make([]byte, 300)
			batch := make([]presence.Write, n)
			i := 0
			for b.Loop() {
				for j := range batch {
					i++
					batch[j] = presence.Write{Kind: "dialog", Key: fmt.Sprintf("%016x", uint64(i%100_000)*0x9e3779b97f4a7c15), Value: value}
				}
				if _, err := s.Apply(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
		})
	}
}
