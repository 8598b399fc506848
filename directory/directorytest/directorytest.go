// Package directorytest holds the tests that every [directory.Directory] should
// pass, whatever it gets its entries from.
package directorytest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
)

// Expect says what the directory under test holds. The addresses are URIs. Each
// list may be empty, but what is empty is not tested.
type Expect struct {
	// Found leads from addresses to the IDs of their entries. Two addresses of
	// one entry make the best test.
	Found map[string]string
	// Missing are addresses without an entry.
	Missing []string
	// Ambiguous are addresses with more than one entry.
	Ambiguous []string
}

// Run tests dir, which it only reads.
func Run(t *testing.T, dir directory.Directory, want Expect) {
	asked := want.addresses(t)

	t.Run("Lookup", func(t *testing.T) {
		for a, id := range asked {
			e, err := dir.Lookup(t.Context(), a)
			want.check(t, a, id, directory.Result{Entry: e, Err: err})
		}
	})

	// BSP-2.1-9: what a client wrote in upper case, with a port, parameters or
	// escapes is the same address.
	t.Run("Spelling", func(t *testing.T) {
		for uri, id := range want.Found {
			for _, variant := range spellings(uri) {
				a, err := directory.ParseAddress(variant)
				require.NoError(t, err)
				e, err := dir.Lookup(t.Context(), a)
				require.NoError(t, err, variant)
				require.Equal(t, id, e.ID, variant)
			}
		}
	})

	t.Run("LookupAll", func(t *testing.T) {
		var as []directory.Address
		for a := range asked {
			as = append(as, a)
		}
		as = slices.Concat(as, as) // a list may name an address twice
		results := directory.LookupAll(t.Context(), dir, as)
		require.Len(t, results, len(as))
		for i, a := range as {
			want.check(t, a, asked[a], results[i])
		}
		require.Empty(t, directory.LookupAll(t.Context(), dir, nil))
	})

	t.Run("Zero", func(t *testing.T) {
		_, err := dir.Lookup(t.Context(), directory.Address{})
		require.Error(t, err, "the zero Address is nobody's")
	})

	t.Run("Canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for a, id := range asked {
			e, err := dir.Lookup(ctx, a)
			if id != "" {
				require.NotErrorIs(t, err, directory.ErrNotFound, "giving up is not an answer about the address")
			}
			if id != ambiguous {
				require.NotErrorIs(t, err, directory.ErrAmbiguous)
			}
			if err == nil {
				require.Equal(t, id, e.ID)
			}
		}
	})

	t.Run("Concurrent", func(t *testing.T) {
		type answer struct {
			a directory.Address
			r directory.Result
		}
		const workers = 8
		answers := make(chan answer, workers*len(asked))
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for a := range asked {
					e, err := dir.Lookup(t.Context(), a)
					answers <- answer{a, directory.Result{Entry: e, Err: err}}
				}
			})
		}
		wg.Wait()
		close(answers)
		for got := range answers {
			want.check(t, got.a, asked[got.a], got.r)
		}
	})
}

const ambiguous = "\x00ambiguous"

// addresses returns what to ask for, each with the ID expected, "" or ambiguous.
func (x Expect) addresses(t *testing.T) map[directory.Address]string {
	t.Helper()
	as := make(map[directory.Address]string)
	add := func(uri, id string) {
		a, err := directory.ParseAddress(uri)
		require.NoError(t, err)
		as[a] = id
	}
	for uri, id := range x.Found {
		add(uri, id)
	}
	for _, uri := range x.Missing {
		add(uri, "")
	}
	for _, uri := range x.Ambiguous {
		add(uri, ambiguous)
	}
	require.NotEmpty(t, as, "directorytest: nothing expected, nothing tested")
	return as
}

func (x Expect) check(t *testing.T, a directory.Address, id string, got directory.Result) {
	t.Helper()
	switch id {
	case "":
		require.ErrorIs(t, got.Err, directory.ErrNotFound, a)
		require.NotErrorIs(t, got.Err, directory.ErrAmbiguous, a)
		require.Equal(t, directory.Entry{}, got.Entry, a)
	case ambiguous:
		require.ErrorIs(t, got.Err, directory.ErrAmbiguous, a)
		require.NotErrorIs(t, got.Err, directory.ErrNotFound, a)
		require.Equal(t, directory.Entry{}, got.Entry, a)
		var amb *directory.AmbiguousError
		require.ErrorAs(t, got.Err, &amb)
		require.Equal(t, a, amb.Address)
		require.GreaterOrEqual(t, len(amb.Entries), 2, "name entries, so that somebody can mend it")
	default:
		require.NoError(t, got.Err, a)
		require.Equal(t, id, got.Entry.ID, a)
		list := got.Entry.SIP
		if a.Scheme == directory.SchemeTel {
			list = got.Entry.Tel
		}
		require.Contains(t, list, a.Value, "an entry lists the addresses that lead to it, normalized")
	}
}

// spellings returns other ways to write a URI.
func spellings(uri string) []string {
	scheme, rest, _ := strings.Cut(uri, ":")
	if strings.EqualFold(scheme, directory.SchemeTel) {
		return []string{"TEL:" + rest, uri + ";phone-context=example.com", uri + ";ext=1"}
	}
	user, host, _ := strings.Cut(rest, "@")
	upper := strings.ToUpper(host)
	return []string{
		"SIP:" + user + "@" + upper,
		"sips:" + user + "@" + host + ":5061;transport=tcp?subject=x",
		"sip:" + user + ":secret@" + host,
		user + "@" + upper,
	}
}
