package presence_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
)

// switchboard is a telephone exchange that all nodes watch. It numbers what it says of a line.
// Of lines that do not begin with 3 it knows nothing.
type switchboard struct {
	mu      sync.Mutex
	lines   map[string]int               // the last number
	since   map[string]time.Time         // that
	monitor map[string]map[string]func() // by line and node: to be called with each change
}

func newSwitchboard() *switchboard {
	return &switchboard{lines: make(map[string]int), since: make(map[string]time.Time), monitor: make(map[string]map[string]func())}
}

// pool is a user with all lines of the exchange, of whom there are n.
func pool(n int) directory.Entry {
	e := directory.Entry{ID: "pool", SIP: []string{"pool@example.com"}}
	for i := range n {
		e.Lines = append(e.Lines, fmt.Sprint(300+i))
	}
	return e
}

// lineMonitor is the exchange as a node watches it.
type lineMonitor struct {
	*switchboard
	node string
}

func (m lineMonitor) MonitorLine(ctx context.Context, dn string, update func(presence.LineState)) error {
	changed := make(chan struct{}, 1)
	changed <- struct{}{}
	m.mu.Lock()
	if m.monitor[dn] == nil {
		m.monitor[dn] = make(map[string]func())
	}
	if m.monitor[dn][m.node] != nil {
		panic("a line is watched twice at a node")
	}
	m.monitor[dn][m.node] = func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.monitor[dn], m.node)
	}()
	for {
		select {
		case <-changed:
			if dn[0] == '3' {
				m.mu.Lock()
				v := presence.LineState{State: aa.LineBusy, Forward: fmt.Sprint(m.lines[dn])}
				m.mu.Unlock()
				update(v)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// change has another state of a line.
func (x *switchboard) change(dn string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lines[dn]++
	x.since[dn] = time.Now()
	for _, tell := range x.monitor[dn] {
		tell()
	}
}

// watching returns the nodes that watch a line.
func (x *switchboard) watching(dn string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Sorted(maps.Keys(x.monitor[dn]))
}

// owners returns the one node that watches each line of the pool, of those that are asked
// about.
func (s *site) owners(of ...string) map[string]string {
	s.Helper()
	owners := make(map[string]string)
	for _, dn := range s.lines {
		at := slices.DeleteFunc(s.board.watching(dn), func(node string) bool { return !slices.Contains(of, node) })
		require.Len(s, at, 1, "%s is watched at %v", dn, at)
		owners[dn] = at[0]
	}
	return owners
}

// numbers returns what a NOTIFY shows of the lines of the pool; 0 where one is unknown.
func (n *notify) numbers(t require.TestingT) map[string]int {
	shown := make(map[string]int)
	for _, d := range n.doc(t).Devices {
		line := aa.LineOf(&d)
		number := 0
		if line.Forward != nil {
			_, err := fmt.Sscan(line.Forward.Destination, &number)
			require.NoError(t, err)
		}
		shown[line.DN] = number
	}
	return shown
}

// A line is watched by one of the nodes where somebody watches it, and all of them show what
// that one says. When a node dies, its lines move, and no others; when one comes, it gets
// its part; and nobody is shown anything meanwhile (BSX-12).
func TestClusterMonitors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSite(t)
		s.watch(40)
		subs := make(map[string]*sub)
		for _, name := range []string{"a", "b", "c"} {
			s.start(name)
			subs[name], _ = s.nodes[name].client("ann", "192.0.2.8").subscribe("sip:pool@example.com", "Expires: 3000")
			settle()
			last := subs[name].of(s.nodes[name].net.take())
			for dn, number := range last[len(last)-1].numbers(t) {
				require.Equal(t, 1, number, dn)
			}
		}
		three := s.owners("a", "b", "c")
		for _, dn := range s.lines {
			s.board.change(dn)
			settle()
			for name, sub := range subs {
				require.Equal(t, 2, sub.one().numbers(t)[dn], "at %s", name)
			}
		}
		s.hub.mu.Lock()
		writes := len(s.hub.log)
		s.hub.mu.Unlock()

		// one dies
		s.kill("b")
		time.Sleep(time.Minute)
		s.inherit("b", "c")
		time.Sleep(2 * presence.ResumeSpread)
		two := s.owners("a", "c")
		for dn, owner := range three {
			if owner != "b" {
				require.Equal(t, owner, two[dn], "it need not move")
			}
		}
		time.Sleep(10 * time.Minute) // for longer than the grace time
		require.Empty(t, s.nodes["a"].net.take(), "nobody notices")
		for _, n := range s.nodes["c"].net.take() {
			for dn, number := range n.numbers(t) {
				require.Equal(t, 2, number, dn)
			}
		}
		for _, dn := range s.lines {
			s.board.change(dn)
			settle()
			require.Equal(t, 3, subs["a"].one().numbers(t)[dn])
			s.nodes["c"].net.take()
		}

		// one comes
		s.start("d")
		subs["d"], _ = s.nodes["d"].client("ann", "192.0.2.8").subscribe("sip:pool@example.com", "Expires: 3000")
		for dn, number := range subs["d"].one().numbers(t) {
			require.Equal(t, 3, number, "what others know of %s is there at once", dn)
		}
		settle()
		now, moved := s.owners("a", "c", "d"), 0
		for dn, owner := range now {
			if owner != two[dn] {
				require.Equal(t, "d", owner)
				moved++
			}
		}
		require.InDelta(t, len(s.lines)/3, moved, 8)
		time.Sleep(10 * time.Minute)
		for name, w := range s.nodes {
			require.Empty(t, w.net.take(), name)
		}

		// nobody is there any more
		require.Equal(t, 200, subs["a"].end().Status)
		require.Equal(t, 200, subs["d"].end().Status)
		time.Sleep(time.Minute)
		require.NotEmpty(t, s.owners("c"), "the last of them")
		time.Sleep(time.Hour)
		for _, dn := range s.lines {
			require.Empty(t, s.board.watching(dn))
			for name, w := range s.nodes {
				_, known := w.server.Feed().Line(dn)
				require.Equal(t, name == "b", known, "%s at %s", dn, name)
			}
		}
		s.hub.mu.Lock()
		defer s.hub.mu.Unlock()
		for key := range s.hub.records {
			require.NotContains(t, []string{"line", "asked"}, key[0], "nothing is left of it")
		}
		require.Less(t, len(s.hub.log)-writes, 1000)
	})
}
