package directory_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/directory/directorytest"
)

func parse(t testing.TB, uri string) directory.Address {
	t.Helper()
	a, err := directory.ParseAddress(uri)
	require.NoError(t, err)
	return a
}

// BSP-2.1-1, BSP-2.1-2, BSP-2.1-7: SIP and Tel columns, and one entry behind both.
func TestMemory(t *testing.T) {
	m, err := directory.LoadUsers("testdata/users.json")
	require.NoError(t, err)
	require.Equal(t, 3, m.Len())
	directorytest.Run(t, m, directorytest.Expect{
		Found: map[string]string{
			"sip:tom.hanks@example.com": "tom",
			"sip:tom@example.com":       "tom",
			"tel:2719":                  "tom",
			"tel:+14255550102":          "meg",
			"sip:meg.ryan@example.com":  "meg",
		},
		Missing:   []string{"sip:2719@example.com", "sip:nobody@example.com", "tel:9", "sip:tom.hanks@example.org"},
		Ambiguous: []string{"tel:+14255550107"},
	})
}

// An entry is found by its account, in any case, and in any domain where it names none.
func TestMemoryAccounts(t *testing.T) {
	m, err := directory.NewMemory([]directory.Entry{
		{ID: "tom", Account: `DE\Tom`}, {ID: "bare", Account: "Tom"}, {ID: "ann", Account: "ann"}, {ID: "contact"},
		{ID: "one", Account: `de\two`}, {ID: "two", Account: `DE\TWO`}, {ID: "sigma", Account: "ΝΙΚΟΣ"},
	})
	require.NoError(t, err)
	for account, id := range map[string]string{
		`de\tom`: "tom", `fr\tom`: "bare", "tom": "bare", `de\ann`: "ann", "ANN": "ann", "νικος": "sigma", "νικοσ": "sigma",
		"": "", `\`: "", `de\`: "", `de\nobody`: "", "contact": "",
	} {
		e, err := m.LookupAccount(t.Context(), account)
		require.Equal(t, id, e.ID, account)
		require.Equal(t, id == "", errors.Is(err, directory.ErrNotFound), account)
	}
	_, err = m.LookupAccount(t.Context(), `de\two`)
	require.ErrorIs(t, err, directory.ErrAmbiguous)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.LookupAccount(ctx, "ann")
	require.ErrorIs(t, err, context.Canceled)
}

// The same tests without Batch and without a type of its own.
func TestFunc(t *testing.T) {
	m, err := directory.LoadUsers("testdata/users.json")
	require.NoError(t, err)
	directorytest.Run(t, directory.Func(m.Lookup), directorytest.Expect{
		Found:     map[string]string{"sip:tom@example.com": "tom", "tel:2719": "tom"},
		Missing:   []string{"tel:9"},
		Ambiguous: []string{"tel:+14255550107"},
	})
}

func TestMemoryEntry(t *testing.T) {
	m, err := directory.LoadUsers("testdata/users.json")
	require.NoError(t, err)
	e, err := m.Lookup(t.Context(), parse(t, "tel:+1-425-555-0102"))
	require.NoError(t, err)
	require.Equal(t, directory.Entry{
		ID: "meg", Account: `DE\meg`, DisplayName: "Meg Ryan", Mail: "Meg.Ryan@example.com",
		SIP: []string{"meg.ryan@example.com"}, Tel: []string{"+14255550102", "+14255550107"}, Lines: []string{"+14255550102", "2720"},
	}, e)
}

func TestMemoryCopies(t *testing.T) {
	given := []directory.Entry{{ID: "a", SIP: []string{"sip:A@b"}}}
	m, err := directory.NewMemory(given)
	require.NoError(t, err)
	given[0].SIP[0], given[0].ID = "x", "y"
	e, err := m.Lookup(t.Context(), parse(t, "a@b"))
	require.NoError(t, err)
	require.Equal(t, directory.Entry{ID: "a", SIP: []string{"a@b"}}, e)
}

func TestReadUsersErrors(t *testing.T) {
	tests := map[string]string{
		`{"users":[{"id":"a"},{"sip":["a@b"]}]}`:        "users[1].id: missing",
		`{"users":[{"id":"a"},{"id":"a"}]}`:             `users[1].id: "a" is there twice`,
		`{"users":[{"id":"a","sip":["a@b","nobody"]}]}`: `users[0].sip[1]: "nobody": no user part`,
		`{"users":[{"id":"a","sip":["tel:200"]}]}`:      "users[0].sip[0]",
		`{"users":[{"id":"a","tel":["x"]}]}`:            `users[0].tel[0]: "x": not a telephone number`,
		`{"users":[{"id":"a","lines":[""]}]}`:           "users[0].lines[0]",
		`{"users":[{"id":"a","phone":"1"}]}`:            "users[0].phone: unknown key",
		`{"users":[{"ID":"a"}]}`:                        "users[0].ID: unknown key",
		`{"users":[{"id":"a","id":"b"}]}`:               "users[0].id: is there twice",
		`{"users":[]} {}`:                               "text after the end",
		`{"users":[{"id":7}]}`:                          "users[0].id: want a string",
		"{\"users\":[\n{\"id\":\"a\"},\n{\"id\":}]}":    "users: line 3: ",
		``: "no complete JSON value",
		`{"users":[{"id":"a","tel":["` + "1\\u0000" + `"]}]}`: "tel[0]",
	}
	for text, want := range tests {
		_, err := directory.ReadUsers(strings.NewReader(text))
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "directory: ")
	}

	name := filepath.Join(t.TempDir(), "users.json")
	_, err := directory.LoadUsers(name)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(name, []byte("{"), 0o600))
	_, err = directory.LoadUsers(name)
	require.ErrorContains(t, err, name)
}

func TestAmbiguousError(t *testing.T) {
	var err error = &directory.AmbiguousError{Address: parse(t, "tel:200"), Entries: []string{"cn=a", "cn=b"}}
	require.ErrorIs(t, err, directory.ErrAmbiguous)
	require.NotErrorIs(t, err, directory.ErrNotFound)
	require.EqualError(t, err, "directory: more than one entry for tel:200: cn=a; cn=b")
}

type batch struct{ directory.Directory }

func (batch) LookupAll(_ context.Context, as []directory.Address) []directory.Result {
	return make([]directory.Result, len(as))
}

func TestLookupAll(t *testing.T) {
	as := []directory.Address{parse(t, "a@b"), parse(t, "tel:1")}
	boom := errors.New("boom")
	failing := directory.Func(func(context.Context, directory.Address) (directory.Entry, error) {
		return directory.Entry{}, boom
	})
	require.Equal(t, []directory.Result{{Err: boom}, {Err: boom}}, directory.LookupAll(t.Context(), failing, as))
	require.Equal(t, make([]directory.Result, 2), directory.LookupAll(t.Context(), batch{failing}, as), "a Batch is asked once")

	// Once the context has ended, nothing more is asked.
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	stops := directory.Func(func(context.Context, directory.Address) (directory.Entry, error) {
		asked++
		cancel()
		return directory.Entry{ID: "x"}, nil
	})
	got := directory.LookupAll(ctx, stops, as)
	require.Equal(t, 1, asked)
	require.Equal(t, "x", got[0].Entry.ID)
	require.ErrorIs(t, got[1].Err, context.Canceled)
}
