package directory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/openblustar/blustar/internal/jsonfile"
)

// Memory is a [Directory] that holds its entries itself. It is safe for
// concurrent use and does not change.
type Memory struct {
	entries   []Entry
	byAddress index[Address]
	byAccount index[string]
}

// index finds places in entries. Hardly ever has one key more than one.
type index[K comparable] struct {
	first map[K]int
	more  map[K][]int
}

func (x *index[K]) add(k K, place int) {
	if _, taken := x.first[k]; taken {
		x.more[k] = append(x.more[k], place)
		return
	}
	x.first[k] = place
}

// find returns the first place of a key, and all others.
func (x *index[K]) find(k K) (first int, more []int, ok bool) {
	first, ok = x.first[k]
	return first, x.more[k], ok
}

// NewMemory returns a directory of these entries, which it copies. Each needs an
// ID of its own. The addresses in SIP, Tel and Lines may be written as
// [ParseAddress] and [ParseTel] read them. An address that several entries have
// is no error here, but gets an [AmbiguousError] when it is looked up: it must
// not keep all the others from working.
func NewMemory(entries []Entry) (*Memory, error) {
	m := &Memory{entries: slices.Clone(entries)}
	ids := make(map[string]bool, len(entries))
	for i := range m.entries {
		e := &m.entries[i]
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
	}
	pack(m.entries)
	m.byAddress = index[Address]{make(map[Address]int, len(entries)), make(map[Address][]int)}
	m.byAccount = index[string]{make(map[string]int), make(map[string][]int)}
	for i, e := range m.entries {
		for _, v := range e.SIP {
			m.byAddress.add(Address{SchemeSIP, v}, i)
		}
		for _, v := range e.Tel {
			m.byAddress.add(Address{SchemeTel, v}, i)
		}
		if e.Account != "" {
			m.byAccount.add(fold(e.Account), i)
		}
	}
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

// pack has all entries share one string, and one slice for their lists. The collector
// follows each string of each user otherwise, which takes it longer than all else that
// a server of tens of thousands of users holds.
func pack(entries []Entry) {
	size, count := 0, 0
	for i := range entries {
		for _, s := range entries[i].texts() {
			size += len(*s)
		}
		for _, l := range entries[i].lists() {
			count += len(*l)
		}
	}
	var text strings.Builder
	text.Grow(size)
	all := make([]string, 0, count)
	for i := range entries {
		for _, l := range entries[i].lists() {
			at := len(all)
			all = append(all, *l...)
			if *l = nil; at < len(all) {
				*l = all[at:len(all):len(all)]
			}
		}
		for _, s := range entries[i].texts() {
			at := text.Len()
			text.WriteString(*s)
			*s = text.String()[at:]
		}
	}
}

// lists returns the lists of an entry.
func (e *Entry) lists() []*[]string { return []*[]string{&e.SIP, &e.Tel, &e.Lines, &e.Groups} }

// texts returns all strings of an entry.
func (e *Entry) texts() []*string {
	texts := []*string{&e.ID, &e.Account, &e.DisplayName, &e.Mail}
	for _, l := range e.lists() {
		for i := range *l {
			texts = append(texts, &(*l)[i])
		}
	}
	return texts
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
	first, more, ok := m.byAddress.find(a)
	switch {
	case !ok:
		return Result{Err: ErrNotFound}, true
	case len(more) == 0:
		return Result{Entry: m.entries[first]}, true
	}
	err := &AmbiguousError{Address: a, Entries: []string{m.entries[first].ID}}
	for _, i := range more {
		err.Entries = append(err.Entries, m.entries[i].ID)
	}
	return Result{Err: err}, true
}

// LookupAccount implements [Accounts]. An entry whose account names no domain has it in any
// domain.
func (m *Memory) LookupAccount(ctx context.Context, account string) (Entry, error) {
	account = fold(account)
	first, more, ok := m.byAccount.find(account)
	if _, user, domain := strings.Cut(account, `\`); domain && !ok {
		first, more, ok = m.byAccount.find(user)
	}
	switch {
	case ctx.Err() != nil:
		return Entry{}, ctx.Err()
	case !ok:
		return Entry{}, ErrNotFound
	case len(more) > 0:
		return Entry{}, fmt.Errorf("%w for account %s", ErrAmbiguous, quote(account))
	}
	return m.entries[first], nil
}

// fold writes an account as it is compared. Letters with several lower-case forms (final
// sigma, long s) come out as one.
func fold(account string) string { return strings.ToLower(strings.ToUpper(account)) }

// Len returns the number of entries.
func (m *Memory) Len() int { return len(m.entries) }

// All returns the entries in the order in which they were given.
func (m *Memory) All() iter.Seq[Entry] { return slices.Values(m.entries) }

// ReadUsers reads a directory from JSON:
//
//	{"users": [{"id": "tom", "account": "DE\\tom", "display_name": "Tom Hanks",
//	  "sip": ["tom.hanks@example.com"], "tel": ["2719"], "lines": ["2719"],
//	  "mail": "tom.hanks@example.com", "groups": ["Actors"]}]}
//
// Only id is required. Unknown keys are errors, so that a misspelt one is noticed;
// an error names the line, the key or the user.
func ReadUsers(r io.Reader) (*Memory, error) {
	var file struct {
		Users []Entry `json:"users"`
	}
	if err := jsonfile.Decode(r, &file); err != nil {
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
