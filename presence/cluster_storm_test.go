package presence_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/sipx"
)

var stormSeeds = flag.Uint64("storm.seeds", 100, "how many seeds TestClusterStorm runs")

// Nodes come and die, cannot reach the store for a while, or for so long that another
// takes their place while they still run; writes take their time, are seen late, or are
// done without an answer; and clients speak to whichever node there is. Whatever the
// order (BSX-12):
//
//   - no CSeq comes twice or goes back in a dialog, and who cannot reach the store is silent;
//   - nobody is signed out who has not, and in the end every watcher has the newest state;
//   - of two PUBLISHes with one entity-tag at most one is answered 200, and what was
//     answered so is there until it expires;
//   - what one node has written no other writes again, or has expire, but for its heir;
//   - each line that somebody watches has one monitor among the nodes that live, a death moves
//     no other lines than those of the dead and to its heir, and what is shown of a line never
//     goes back for longer than a second where all nodes reach the store, nor to unknown.
//
// That it finds what it is there for was shown by planting bugs, one at a time; each was
// found within 20 seeds, by what stands behind it:
//
//   - a lapsed lease is ignored: speaks without the store
//   - a copy expires by itself: they have copies expire
//   - what has not been refreshed ends at a node that could not hear it: bob is there
//   - a take-over without a new run: a CSeq comes twice
//   - what another node wrote is written again: the nodes write without end
//   - a change that is not in the store yet is not held against an older one: is written
//     twice, what was answered 200 is gone, nodes know different lines
//   - the entity-tag is not compared in the store: both have won
//   - a node that was away speaks before it has read everything: what was answered 200 is gone
//   - deletions that were missed are not made up for: nodes know different lines
//   - every node runs its monitors, or none after a death: is watched at
//   - the value of a monitor is not written: is shown
//   - what a monitor that is to end says late stays, over what the other one has said: is shown
//   - a node that has no watcher any more has the value forgotten: is unknown
func TestClusterStorm(t *testing.T) {
	for seed := range *stormSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { bubble(t, func(t *testing.T) { newStorm(t, seed).run() }) })
	}
}

// storm is a site, and what is known of it.
type storm struct {
	*site
	rng   *rand.Rand
	alive []string
	away  map[string]bool // of those: they cannot reach the store
	texts int

	last    map[string]uint32         // CSeq, by dialog
	shows   map[string]shown          // the newest, by dialog
	watches []*sub                    // of tom
	watch   []*sub                    // of bob
	pool    []*sub                    // of the lines
	numbers map[string]map[string]int // of the lines, by dialog
	unrest  time.Time                 // the last time that a node was away
	tom     *endpoint
	own     *sub
	said    []string // what tom may be shown to say
	bob     struct { // what is known of his publication
		tag   string
		sure  bool      // that it has this tag
		since time.Time // that
		until time.Time
	}
}

func newStorm(t *testing.T, seed uint64) *storm {
	s := &storm{
		rng: rand.New(rand.NewPCG(seed, 1)), site: newSite(t), away: make(map[string]bool),
		last: make(map[string]uint32), shows: make(map[string]shown), numbers: make(map[string]map[string]int),
	}
	s.site.watch(6)
	s.hub.delay = time.Duration(s.rng.IntN(3)) * 20 * time.Millisecond
	for _, name := range []string{"a", "b", "c"} {
		s.join(name)
	}
	return s
}

// join starts a node, whose writes take a while of its own.
func (s *storm) join(name string) {
	s.logf("%s joins", name)
	s.start(name)
	s.hub.mu.Lock()
	s.hub.nodes[name].lag = time.Duration(s.rng.IntN(4)) * 15 * time.Millisecond
	s.hub.mu.Unlock()
	s.alive = append(s.alive, name)
}

// any returns a node to speak to, and there one that can reach the store; nil for none.
func (s *storm) any() *world { return s.nodes[s.alive[s.rng.IntN(len(s.alive))]] }

func (s *storm) name(w *world) string {
	for name, other := range s.nodes {
		if other == w {
			return name
		}
	}
	return ""
}

func (s *storm) there(but ...string) (name string, w *world) {
	var names []string
	for _, name := range s.alive {
		if !s.away[name] && !slices.Contains(but, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	name = names[s.rng.IntN(len(names))]
	return name, s.nodes[name]
}

// look holds what has left all nodes against what left them before.
func (s *storm) look() {
	if slices.ContainsFunc(s.alive, func(name string) bool { return s.away[name] }) {
		s.unrest = time.Now()
	}
	for _, name := range s.alive {
		sent := s.nodes[name].net.take()
		if s.away[name] {
			require.Empty(s, sent, "%s speaks without the store", name)
		}
		for _, n := range sent {
			require.Greater(s, n.CSeq, s.last[n.CallID], "a CSeq comes twice, or goes back")
			s.logf("%s: NOTIFY %d in %s: %v", name, n.CSeq, n.CallID, n.shown(s))
			s.last[n.CallID] = n.CSeq
			s.shows[n.CallID] = n.shown(s)
			if n.CSeq > 1 && n.URI.User == "ann" && s.ofTom(n.CallID) && strings.HasPrefix(n.state(), "active") {
				require.NotEqual(s, "signed out", s.shows[n.CallID].blustar)
			}
			if n.From.URI.User == "pool" && strings.HasPrefix(n.state(), "active") {
				s.lookAtLines(n)
			}
			if s.bob.sure && n.at.After(s.bob.since.Add(time.Second)) && n.at.Before(s.bob.until) && n.From.URI.User == "bob" {
				require.NotEqual(s, "signed out", s.shows[n.CallID].blustar, "bob is there")
			}
		}
	}
}

// lookAtLines holds what is shown of lines against what was shown before.
func (s *storm) lookAtLines(n *notify) {
	now, before := n.numbers(s), s.numbers[n.CallID]
	for dn, number := range now {
		s.board.mu.Lock()
		since := s.board.since[dn]
		s.board.mu.Unlock()
		if number < before[dn] {
			require.NotZero(s, number, "line %s is unknown", dn)
			if n.at.Before(s.unrest.Add(5 * time.Second)) {
				continue // who watches the line, or did, could not reach the store
			}
			require.Less(s, n.at.Sub(since), time.Second, "line %s goes back from %d to %d", dn, before[dn], number)
		}
	}
	s.numbers[n.CallID] = now
}

// ring has a line change, and perhaps who watches the lines.
func (s *storm) ring() {
	dn := s.lines[s.rng.IntN(len(s.lines))]
	s.board.change(dn)
	s.logf("line %s: %d", dn, s.board.lines[dn])
	switch {
	case s.rng.IntN(3) > 0:
	case len(s.pool) > 2:
		i := s.rng.IntN(len(s.pool))
		s.pool[i].e.w = s.any()
		if res := s.pool[i].again("", "Expires: 0"); res.Status == 200 {
			s.logf("%s ends", s.pool[i].callID)
			s.pool = slices.Delete(s.pool, i, i+1)
		}
	default:
		s.watchPool()
	}
}

// hasPool reports whether somebody watches the lines at a node.
func (s *storm) hasPool(name string) bool {
	return slices.Contains(s.alive, name) && slices.ContainsFunc(s.nodes[name].server.Subscriptions(), func(is presence.SubscriptionInfo) bool {
		return slices.ContainsFunc(s.pool, func(w *sub) bool { return w.toTag == is.ID })
	})
}

func (s *storm) watchPool() {
	s.texts++
	w, res := s.any().client("ann", fmt.Sprint("192.0.2.", 20+s.texts)).subscribe("sip:pool@example.com", "Expires: 3000")
	if res.Status == 200 {
		s.pool = append(s.pool, w)
	}
}

// steady waits until all is quiet, where all can reach the store, and returns who watches
// the lines; nil where that cannot be.
func (s *storm) steady() map[string]string {
	if len(s.pool) == 0 || slices.ContainsFunc(s.alive, func(name string) bool { return s.away[name] }) {
		return nil
	}
	s.sleep(2 * presence.ResumeSpread)
	owners := s.owners(s.alive...)
	for dn := range owners {
		for _, name := range s.alive {
			v, known := s.nodes[name].server.Feed().Line(dn)
			require.True(s, known, "line %s is unknown at %s", dn, name)
			require.Equal(s, fmt.Sprint(s.board.lines[dn]), v.Value.Forward, "line %s at %s, of %s", dn, name, owners[dn])
		}
		for _, w := range s.pool {
			require.Equal(s, s.board.lines[dn], s.numbers[w.callID][dn], "what is shown of line %s in %s", dn, w.callID)
		}
	}
	return owners
}

func (s *storm) ofTom(callID string) bool {
	return slices.ContainsFunc(s.watches, func(w *sub) bool { return w.callID == callID })
}

// logf logs what happens, for a seed that fails.
func (s *storm) logf(format string, a ...any) {
	s.Logf(time.Now().Format("04:05.000 ")+format, a...)
}

func (s *storm) sleep(d time.Duration) {
	time.Sleep(d)
	s.look()
}

func (s *storm) text() string {
	s.texts++
	return fmt.Sprint("text ", s.texts)
}

func (s *storm) say() {
	s.tom.w = s.any()
	text := s.text()
	res := s.tom.status("", []string{"busy", "available"}[s.rng.IntN(2)], text)
	s.logf("tom says %s: %d", text, res.Status)
	switch res.Status {
	case 200:
		s.said = []string{text}
	default:
		require.Equal(s, 503, res.Status)
		s.said = append(s.said, text) // it may have been taken
	}
}

func bobSays(text string) string {
	return `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"` +
		` xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:bob@example.com">` +
		`<tuple id="t"><status><basic>open</basic></status></tuple><dm:person id="p"><r:activities><r:note>` + text +
		`</r:note><r:busy/></r:activities></dm:person></presence>`
}

const bobLasts = time.Minute

// publish has bob publish at some nodes at once, by the entity-tag that he has. One
// without a body is a refresh.
func (s *storm) publish(refresh bool, at ...*world) {
	began := time.Now()
	answers := make([]*sipx.Response, len(at))
	var done sync.WaitGroup
	for i, w := range at {
		body := ""
		if !refresh || s.bob.tag == "" {
			body = bobSays(s.text())
		}
		done.Go(func() {
			answers[i] = w.standard("bob", "192.0.2.9").publish(s.bob.tag, body, fmt.Sprint("Expires: ", int(bobLasts.Seconds())))
		})
		if s.bob.tag == "" {
			break // else there are two
		}
	}
	done.Wait()
	n := make(map[int]int)
	tag := ""
	for i, res := range answers {
		if res != nil {
			s.logf("bob publishes by %.4q at %s: %d %.4s", s.bob.tag, s.name(at[i]), res.Status, etag(res))
			if n[res.Status]++; res.Status == 200 {
				tag = etag(res)
			}
		}
	}
	alive := s.bob.sure && began.Before(s.bob.until)
	switch {
	case n[200] > 0:
		require.Equal(s, 1, n[200], "both have won")
		if !s.bob.sure {
			s.bob.since = time.Now()
		}
		s.bob.tag, s.bob.sure, s.bob.until = tag, true, began.Add(bobLasts)
	case n[503] > 0 && s.bob.tag != "":
		s.bob.sure = false // it may have another tag now
	default:
		require.False(s, alive && n[412] > 0, "what was answered 200 is gone")
		s.bob.tag, s.bob.sure = "", false // he does not know the tag, if there is one
		s.sleep(bobLasts + 10*time.Second)
	}
}

// feed has the host tell two nodes something else of a line at the same time.
func (s *storm) feed() {
	var done sync.WaitGroup
	for range 2 {
		w, clear, line := s.any(), s.rng.IntN(4) == 0, presence.LineState{State: "busy", Forward: s.text()}
		s.logf("%s is told of a line, clear: %v, %s", s.name(w), clear, line.Forward)
		done.Go(func() {
			if clear {
				_ = w.server.Feed().ClearLine(s.Context(), "2719")
			} else {
				_ = w.server.Feed().SetLine(s.Context(), "2719", line)
			}
		})
	}
	done.Wait()
}

func (s *storm) refresh() {
	w := append(slices.Concat(s.watches, s.watch), s.own)[s.rng.IntN(len(s.watches)+len(s.watch)+1)]
	w.e.w = s.any()
	if status := w.again("", "Expires: 3000").Status; status != 200 {
		require.Equal(s, 503, status)
	}
}

func (s *storm) leave(is bool, name string) {
	s.look()
	s.logf("%s is away: %v", name, is)
	s.hub.leave(is, name)
	s.away[name] = is
}

// succeed ends a node, and has another one take its place; at once where it is away and
// still runs.
func (s *storm) succeed(name string) {
	heir, _ := s.there(name)
	if heir == "" {
		return
	}
	before := s.steady()
	s.look()
	s.logf("%s dies, its heir is %s, away: %v", name, heir, s.away[name])
	if s.away[name] {
		s.hub.mu.Lock()
		s.hub.nodes[name].dead = true
		s.hub.mu.Unlock()
		s.inherit(name, heir)
		s.say()
		s.sleep(time.Duration(s.rng.IntN(5000)) * time.Millisecond)
		require.Empty(s, s.nodes[name].net.take(), "it has an heir")
		s.kill(name)
	} else {
		s.kill(name)
	}
	s.alive = slices.DeleteFunc(s.alive, func(n string) bool { return n == name })
	if !s.away[name] {
		if s.rng.IntN(2) == 0 {
			s.say()
		}
		s.sleep(time.Duration(s.rng.IntN(12)) * time.Second)
		s.inherit(name, heir)
	}
	delete(s.away, name)
	if after := s.steady(); before != nil {
		for dn, owner := range after {
			if s.hasPool(before[dn]) { // else it has left them to others
				require.Contains(s, []string{heir, before[dn]}, owner, "line %s, of %s, moves", dn, before[dn])
			}
		}
	}
}

// late refreshes bob's publication just before it would expire, where another node
// perhaps does not hear of it.
func (s *storm) late() {
	name, w := s.there()
	if wait := time.Until(s.bob.until) - 500*time.Millisecond; w != nil && s.bob.sure && wait > 0 {
		cut, _ := s.there(name)
		if cut != "" {
			s.leave(true, cut)
		}
		s.sleep(wait)
		s.publish(true, w)
		s.sleep(5 * time.Second)
		if cut != "" {
			s.leave(false, cut)
		}
	}
}

func (s *storm) run() {
	s.tom = s.any().client("tom", "192.0.2.7")
	s.own, _ = s.tom.subscribe("sip:tom@example.com", "Expires: 3000")
	s.say()
	s.publish(false, s.any())
	s.sleep(time.Second)
	for i := range 4 {
		w := s.any()
		for _, user := range []string{"tom", "bob"}[:1+i%2] {
			watch, res := w.client("ann", fmt.Sprint("192.0.2.", 10+i)).subscribe("sip:"+user+"@example.com", "Expires: 3000")
			require.Equal(s, 200, res.Status)
			if user == "tom" {
				s.watches = append(s.watches, watch)
			} else {
				s.watch = append(s.watch, watch)
			}
		}
	}
	for range 2 {
		s.watchPool()
	}
	for i := range 30 {
		name := s.alive[s.rng.IntN(len(s.alive))]
		switch n := s.rng.IntN(24); {
		case n >= 20:
			s.ring()
		case n < 5:
			s.say()
		case n < 7:
			s.refresh()
		case n < 8:
			s.publish(s.rng.IntN(2) == 0, s.any())
		case n < 10:
			one, two := s.any(), s.any()
			s.publish(s.rng.IntN(4) == 0, slices.Compact([]*world{one, two})...)
		case n < 12:
			s.feed()
		case n < 13:
			s.late()
		case n < 14:
			s.loses(name)
		case n < 16:
			s.leave(!s.away[name], name)
		case n < 18:
			s.succeed(name)
		case len(s.alive) < 3:
			if _, w := s.there(); w != nil {
				s.join(fmt.Sprint("n", i))
			}
		}
		s.sleep(time.Duration(50+s.rng.IntN(450)) * time.Millisecond) // a tag is known everywhere then
	}
	s.end()
}

// loses has the store take what a node writes, but not say so.
func (s *storm) loses(name string) {
	set := func(is bool) {
		s.hub.mu.Lock()
		s.hub.nodes[name].loses = is
		s.hub.mu.Unlock()
	}
	s.logf("%s hears no answers", name)
	set(true)
	s.say()
	s.publish(false, s.any())
	s.sleep(time.Second)
	set(false)
	s.sleep(5 * time.Second)
}

// end waits until all is quiet, and holds all nodes against each other.
func (s *storm) end() {
	for name := range maps.Clone(s.away) {
		if s.away[name] {
			s.leave(false, name)
		}
	}
	s.sleep(5 * time.Second)
	s.publish(false, s.any())
	for range 2 * len(s.alive) {
		if !s.bob.sure || s.bob.tag == "" {
			s.sleep(time.Second)
			s.publish(false, s.any())
		}
	}
	require.True(s, s.bob.sure, "it is refused for ever")
	text := fmt.Sprint("text ", s.texts)
	s.sleep(2 * presence.ResumeSpread)
	s.publish(true, s.any())
	require.True(s, s.bob.sure)
	s.sleep(time.Second)
	for len(s.pool) == 0 {
		s.watchPool()
	}
	s.steady()
	for i, w := range s.watches {
		require.Contains(s, s.said, s.shows[w.callID].note)
		require.Equal(s, s.shows[s.watches[0].callID], s.shows[w.callID], i)
	}
	for _, w := range s.watch {
		require.Equal(s, text, s.shows[w.callID].note)
	}
	s.hub.mu.Lock()
	line, stored := s.hub.records[[2]string{"line", "2719"}]
	log := s.hub.log
	s.hub.mu.Unlock()
	require.Empty(s, s.hub.stray, "they have copies expire")
	for _, name := range s.alive {
		for _, p := range s.nodes[name].server.Publications() {
			if p.Presentity == "bob" {
				require.Equal(s, s.bob.tag, p.ETag, name)
			}
		}
		require.Len(s, s.nodes[name].server.Publications(), 2)
		v, known := s.nodes[name].server.Feed().Line("2719")
		require.Equal(s, stored, known, name)
		require.Contains(s, string(line.Value), v.Value.Forward, "%s: revision %d by %s", name, line.Revision, line.Node)
	}
	for _, w := range append(slices.Concat(s.watches, s.watch), s.own) { // all are there, once
		n := 0
		for _, name := range s.alive {
			for _, sub := range s.nodes[name].server.Subscriptions() {
				if sub.ID == w.toTag {
					n++
				}
			}
		}
		require.Equal(s, 1, n, w.callID)
	}
	last := make(map[[2]string]presence.Record)
	for _, r := range log {
		key := [2]string{r.Kind, r.Key}
		if l := last[key]; l.Value != nil && string(l.Value) == string(r.Value) && l.Node != r.Node &&
			!strings.Contains(string(r.Value), `"owner":"monitor"`) { // of two monitors, for a moment
			require.NotContains(s, s.alive, l.Node, "a %s is written twice", r.Kind)
		}
		last[key] = r
	}
}
