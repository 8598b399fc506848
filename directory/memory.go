package directory

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/openblustar/blustar/internal/strictjson"
)

// Memory is a [Directory] that holds its entries itself. It is safe for
// concurrent use and does not change.
//
// The garbage collector would follow each string of each user, which takes it longer than
// all else that a server of tens of thousands of users holds. So all their strings are one,
// and records and indexes are numbers.
type Memory struct {
	text    string   // of all entries
	lists   []string // of all entries, parts of text
	records []record

	bySIP, byTel, byAccount index
}

// record is where the parts of an entry begin, and where the last one ends.
type record struct {
	texts [5]int // in Memory.text: ID, Account, DisplayName, Mail
	lists [5]int // in Memory.lists: SIP, Tel, Lines, Groups
}

// index finds entries by the hash of a key. Hardly ever have two the same.
type index struct {
	seed  maphash.Seed
	first map[uint64]int
	more  map[string][]int // all others
}

func newIndex(size int) index {
	return index{maphash.MakeSeed(), make(map[uint64]int, size), make(map[string][]int)}
}

func (x *index) add(key string, place int) {
	h := maphash.String(x.seed, key)
	if _, taken := x.first[h]; taken {
		x.more[key] = append(x.more[key], place)
		return
	}
	x.first[h] = place
}

// find returns the first place of a key, and all others. has tells whether the entry at a
// place has the key.
func (x *index) find(key string, has func(place int) bool) (first int, more []int, ok bool) {
	first, ok = x.first[maphash.String(x.seed, key)]
	more = x.more[key]
	if ok = ok && has(first); !ok && len(more) > 0 {
		return more[0], more[1:], true
	}
	return first, more, ok
}

// NewMemory returns a directory of these entries, which it copies. Each needs an
// ID of its own. The addresses in SIP, Tel and Lines may be written as
// [ParseAddress] and [ParseTel] read them. An address that several entries have
// is no error here, but gets an [AmbiguousError] when it is looked up: it must
// not keep all the others from working.
func NewMemory(entries []Entry) (*Memory, error) {
	m := &Memory{bySIP: newIndex(len(entries)), byTel: newIndex(0), byAccount: newIndex(0)}
	entries = slices.Clone(entries)
	ids := make(map[string]bool, len(entries))
	for i := range entries {
		e := &entries[i]
		if e.ID == "" {
			return nil, fmt.Errorf("directory: users[%d].id: missing", i)
		}
		if ids[e.ID] {
			return nil, fmt.Errorf("directory: users[%d].id: %q is there twice", i, e.ID)
		}
		ids[e.ID] = true
		if err := e.normalize(); err != nil {
			return nil, fmt.Errorf("directory: users[%d].%w", i, err)
		}
		for _, v := range e.SIP {
			m.bySIP.add(v, i)
		}
		for _, v := range e.Tel {
			m.byTel.add(v, i)
		}
		if e.Account != "" {
			m.byAccount.add(fold(e.Account), i)
		}
	}
	m.pack(entries)
	return m, nil
}

// normalize writes addresses as they are compared.
func (e *Entry) normalize() (err error) {
	e.SIP, err = parseList("sip", e.SIP, func(s string) (Address, error) {
		a, err := parse(s)
		if err == nil && a.Scheme != SchemeSIP {
			err = errors.New("not a SIP address")
		}
		return a, err
	})
	if err == nil {
		e.Tel, err = parseList("tel", e.Tel, parseNumber)
	}
	if err == nil {
		e.Lines, err = parseList("lines", e.Lines, parseNumber)
	}
	return err
}

// pack makes the records.
func (m *Memory) pack(entries []Entry) {
	count := 0
	for _, e := range entries {
		count += len(e.SIP) + len(e.Tel) + len(e.Lines) + len(e.Groups)
	}
	m.lists, m.records = make([]string, 0, count), make([]record, 0, len(entries))
	var text strings.Builder
	for _, e := range entries {
		var r record
		for n, s := range []string{e.ID, e.Account, e.DisplayName, e.Mail} {
			r.texts[n] = text.Len()
			text.WriteString(s)
			r.texts[n+1] = text.Len()
		}
		for n, list := range [][]string{e.SIP, e.Tel, e.Lines, e.Groups} {
			r.lists[n] = len(m.lists)
			m.lists = append(m.lists, list...)
			r.lists[n+1] = len(m.lists)
		}
		m.records = append(m.records, r)
	}
	for _, s := range m.lists {
		text.WriteString(s)
	}
	m.text = strings.Clone(text.String()) // of the right size
	at := len(m.text)
	for i, s := range slices.Backward(m.lists) {
		m.lists[i] = m.text[at-len(s) : at]
		at -= len(s)
	}
}

// entry returns the entry at a place.
func (m *Memory) entry(place int) Entry {
	r := &m.records[place]
	text := func(n int) string { return m.text[r.texts[n]:r.texts[n+1]] }
	list := func(n int) []string {
		if from, to := r.lists[n], r.lists[n+1]; from < to {
			return m.lists[from:to:to]
		}
		return nil
	}
	return Entry{
		ID: text(0), Account: text(1), DisplayName: text(2), Mail: text(3),
		SIP: list(0), Tel: list(1), Lines: list(2), Groups: list(3),
	}
}

// parseList parses the values of one key, leaving out what it has already.
func parseList(key string, list []string, parse func(string) (Address, error)) ([]string, error) {
	var values []string
	for i, s := range list {
		a, err := parse(s)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %s: %w", key, i, quote(s), err)
		}
		if !slices.Contains(values, a.Value) {
			values = append(values, a.Value)
		}
	}
	return values, nil
}

// Lookup implements [Directory].
func (m *Memory) Lookup(ctx context.Context, a Address) (Entry, error) {
	if err := ctx.Err(); err != nil {
		return Entry{}, err
	}
	r, _ := m.Peek(a)
	return r.Entry, r.Err
}

// Peek implements [Immediate]. It always has an answer.
func (m *Memory) Peek(a Address) (Result, bool) {
	var first int
	var more []int
	ok := false
	switch a.Scheme {
	case SchemeSIP:
		first, more, ok = m.bySIP.find(a.Value, func(place int) bool { return slices.Contains(m.entry(place).SIP, a.Value) })
	case SchemeTel:
		first, more, ok = m.byTel.find(a.Value, func(place int) bool { return slices.Contains(m.entry(place).Tel, a.Value) })
	}
	switch {
	case !ok:
		return Result{Err: ErrNotFound}, true
	case len(more) == 0:
		return Result{Entry: m.entry(first)}, true
	}
	err := &AmbiguousError{Address: a, Entries: []string{m.entry(first).ID}}
	for _, i := range more {
		err.Entries = append(err.Entries, m.entry(i).ID)
	}
	return Result{Err: err}, true
}

// LookupAccount implements [Accounts]. An entry whose account names no domain has it in any
// domain.
func (m *Memory) LookupAccount(ctx context.Context, account string) (Entry, error) {
	account = fold(account)
	find := func(account string) (int, []int, bool) {
		return m.byAccount.find(account, func(place int) bool { return fold(m.entry(place).Account) == account })
	}
	first, more, ok := find(account)
	if _, user, domain := strings.Cut(account, `\`); domain && !ok {
		first, more, ok = find(user)
	}
	switch {
	case ctx.Err() != nil:
		return Entry{}, ctx.Err()
	case !ok:
		return Entry{}, ErrNotFound
	case len(more) > 0:
		return Entry{}, fmt.Errorf("%w for account %s", ErrAmbiguous, quote(account))
	}
	return m.entry(first), nil
}

// fold writes an account as it is compared. Letters with several lower-case forms (final
// sigma, long s) come out as one.
func fold(account string) string { return strings.ToLower(strings.ToUpper(account)) }

// Len returns the number of entries.
func (m *Memory) Len() int { return len(m.records) }

// All returns the entries in the order in which they were given.
func (m *Memory) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for place := range m.records {
			if !yield(m.entry(place)) {
				return
			}
		}
	}
}

// ReadUsers reads a directory from JSON:
//
//	{"users": [{"id": "tom", "account": "DE\\tom", "display_name": "Tom Hanks",
//	  "sip": ["tom.hanks@example.com"], "tel": ["2719"], "lines": ["2719"],
//	  "mail": "tom.hanks@example.com", "groups": ["Actors"]}]}
//
// Only id is required. Unknown and repeated keys are errors; an error names the line, the
// key or the user.
func ReadUsers(r io.Reader) (*Memory, error) {
	var file struct {
		Users []Entry `json:"users"`
	}
	if err := strictjson.Read(r, &file); err != nil {
		return nil, fmt.Errorf("directory: users: %w", err)
	}
	return NewMemory(file.Users)
}

// LoadUsers is [ReadUsers] for a file. The error names the file.
func LoadUsers(name string) (*Memory, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("directory: users: %w", err)
	}
	defer f.Close()
	m, err := ReadUsers(f)
	if err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, name)
	}
	return m, nil
}
