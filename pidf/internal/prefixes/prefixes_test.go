package prefixes_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/openblustar/blustar/pidf/internal/markup"
	"github.com/openblustar/blustar/pidf/internal/prefixes"
	"github.com/stretchr/testify/require"
)

const (
	home markup.ID = iota + 3
	own            // with a prefix of its own
	first
	second
)

func table() *prefixes.Table {
	spaces := []string{"urn:1", "urn:2"}
	return &prefixes.Table{
		Fixed: []prefixes.Fixed{home: {Space: "urn:h"}, own: {Space: "urn:o", Head: "o:", Declaration: ` xmlns:o="urn:o"`}},
		Space: func(n markup.ID) string { return spaces[n-first] },
	}
}

// What was written is declared, and nothing else. A prefix that another namespace has is not taken.
func TestDeclare(t *testing.T) {
	p := table()
	for range 2 { // for one document after the other
		p.Root(home, 10)
		require.Empty(t, p.Head(home))
		require.Equal(t, "<a/>", string(p.Declare([]byte("<a/>"), 2)))
		require.Equal(t, "o:", p.Head(own))
		require.True(t, p.Take(first, "o", "x"), "o is another's")
		require.Equal(t, "x:", p.Head(first))
		require.True(t, p.Take(second, "x", "o"))
		require.Equal(t, "ns1:", p.Head(second))
		require.Equal(t, `<a xmlns:o="urn:o" xmlns:ns1="urn:2" xmlns:x="urn:1"/>`, string(p.Declare([]byte("<a/>"), 2)))
		p.Clear()
	}
}

// The root declares no more than there is room for. What stands alone declares all itself.
func TestRoom(t *testing.T) {
	p := table()
	p.Root(home, 100)
	n := 0
	for p.Binds(fmt.Sprint("p", n), fmt.Sprint("urn:x:", n)) {
		n++
	}
	require.Equal(t, prefixes.Most, n)
	require.True(t, p.Binds("p0", "urn:x:0"))
	require.False(t, p.Binds("p0", "urn:x:1"))
	require.False(t, p.Take(first, "x", ""))
	prefix, here := p.Attr(0, "urn:1", "x")
	require.Equal(t, "x", prefix)
	require.True(t, here)
	require.Equal(t, prefixes.Most, strings.Count(string(p.Declare(nil, 0)), "xmlns"))
	p.Clear()

	p.Alone("urn:1")
	require.False(t, p.Take(first, "x", "y"))
	require.Equal(t, "ns0:", p.Head(first))
	require.Equal(t, "o:", p.Head(own))
	require.Equal(t, []markup.Binding{{Prefix: "ns0", Space: "urn:1"}, {Prefix: "o", Space: "urn:o"}}, p.Declared())
}

// A prefix that an element declares itself hides that of the root, until the element ends.
func TestHidden(t *testing.T) {
	p := table()
	p.Root(home, 10)
	require.True(t, p.Take(first, "x", ""))
	local := p.Local()
	p.Here("x", "urn:other")
	require.False(t, p.Binds("x", "urn:1"))
	prefix, here := p.Attr(0, "urn:other", "y")
	require.Equal(t, "x", prefix)
	require.False(t, here)
	p.Leave(local)
	require.True(t, p.Binds("x", "urn:1"))
}

// A document begins with the declarations of the one before, which give way to its own, whatever their length.
func TestGuess(t *testing.T) {
	p := table()
	for _, use := range [][]string{{}, {"x"}, {"x"}, {"x", "yy"}, {"yy"}, {}, {"x"}} {
		p.Root(home, 10)
		want := ""
		doc := append(p.Guess([]byte("<a")), "/>"...)
		for i, prefix := range use {
			require.True(t, p.Take(first+markup.ID(i), prefix, ""))
			want += fmt.Sprintf(` xmlns:%s="urn:%d"`, prefix, i+1)
		}
		require.Equal(t, "<a"+want+"/>", string(p.Declare(doc, 2)))
		p.Clear()
	}
}
