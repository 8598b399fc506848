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
	byAddress map[Address][]Entry
	byAccount map[string][]int // places in entries
	entries   []Entry
}

// NewMemory returns a directory of these entries, which it copies. Each needs an
// ID of its own. The addresses in SIP, Tel and Lines may be written as
// [ParseAddress] and [ParseTel] read them. An address that several entries have
// is no error here, but gets an [AmbiguousError] when it is looked up: it must
// not keep all the others from working.
func NewMemory(entries []Entry) (*Memory, error) {
	m := &Memory{byAddress: make(map[Address][]Entry), byAccount: make(map[string][]int)}
	ids := make(map[string]bool, len(entries))
	for i, e := range entries {
		if e.ID == "" {
			return nil, fmt.Errorf("directory: users[%d].id: missing", i)
		}
		if ids[e.ID] {
			return nil, fmt.Errorf("directory: users[%d].id: %q is there twice", i, e.ID)
		}
		ids[e.ID] = true
		if err := m.add(e); err != nil {
			return nil, fmt.Errorf("directory: users[%d].%w", i, err)
		}
	}
	return m, nil
}

func (m *Memory) add(e Entry) error {
	sip, err := parseList("sip", e.SIP, func(s string) (Address, error) {
		a, err := parse(s)
		if err == nil && a.Scheme != SchemeSIP {
			err = errors.New("not a SIP address")
		}
		return a, err
	})
	if err != nil {
		return err
	}
	tel, err := parseList("tel", e.Tel, parseNumber)
	if err != nil {
		return err
	}
	lines, err := parseList("lines", e.Lines, parseNumber)
	if err != nil {
		return err
	}
	e.SIP, e.Tel, e.Lines = values(sip), values(tel), values(lines)
	e.Groups = slices.Clone(e.Groups)
	if e.Account != "" {
		key := fold(e.Account)
		m.byAccount[key] = append(m.byAccount[key], len(m.entries))
	}
	m.entries = append(m.entries, e)
	for _, a := range slices.Concat(sip, tel) {
		m.byAddress[a] = append(m.byAddress[a], e)
	}
	return nil
}

// parseList parses the values of one key, leaving out what it has already.
func parseList(key string, list []string, parse func(string) (Address, error)) ([]Address, error) {
	var as []Address
	for i, s := range list {
		a, err := parse(s)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %s: %w", key, i, quote(s), err)
		}
		if !slices.Contains(as, a) {
			as = append(as, a)
		}
	}
	return as, nil
}

func values(as []Address) []string {
	var vs []string
	for _, a := range as {
		vs = append(vs, a.Value)
	}
	return vs
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
	switch es := m.byAddress[a]; len(es) {
	case 0:
		return Result{Err: ErrNotFound}, true
	case 1:
		return Result{Entry: es[0]}, true
	default:
		err := &AmbiguousError{Address: a}
		for _, e := range es {
			err.Entries = append(err.Entries, e.ID)
		}
		return Result{Err: err}, true
	}
}

// LookupAccount implements [Accounts]. An entry whose account names no domain has it in any
// domain.
func (m *Memory) LookupAccount(ctx context.Context, account string) (Entry, error) {
	account = fold(account)
	found := m.byAccount[account]
	if _, user, ok := strings.Cut(account, `\`); ok && len(found) == 0 {
		found = m.byAccount[user]
	}
	switch {
	case ctx.Err() != nil:
		return Entry{}, ctx.Err()
	case len(found) == 0:
		return Entry{}, ErrNotFound
	case len(found) > 1:
		return Entry{}, fmt.Errorf("%w for account %s", ErrAmbiguous, quote(account))
	}
	return m.entries[found[0]], nil
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
