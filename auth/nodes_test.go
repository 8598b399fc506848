package auth_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// countStore is the store of several nodes. Each is told what is written after a while, in order.
type countStore struct {
	t      testing.TB
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex
	counts   map[string]auth.Count
	log      []auth.Count
	revision uint64
	nodes    int
	guards   map[string]*fixture
	asked    int
	takes    time.Duration // a write, and until others are told
	away     bool
	dead     string        // a node that cannot write any more
	loses    bool          // it takes what it is given, but says that it does not
	changed  chan struct{} // closed by the next write
}

var (
	errAway = errors.New("the store is away")
	errLost = errors.New("the store does not answer")
)

func newCountStore(t testing.TB) *countStore {
	s := &countStore{t: t, guards: make(map[string]*fixture), counts: make(map[string]auth.Count), changed: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	t.Cleanup(func() {
		s.cancel()
		s.work.Wait()
	})
	return s
}

func (s *countStore) lag(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes = d
}

// leave has a guard be none of the nodes any more.
func (s *countStore) leave(g *fixture) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.guards, func(_ string, f *fixture) bool { return f == g })
}

// held returns how many records there are.
func (s *countStore) held() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.counts {
		if c.Value != nil {
			n++
		}
	}
	return n
}

// join has a guard be a node, with a name that nobody had before.
func (s *countStore) join(g *fixture) {
	s.mu.Lock()
	s.nodes++
	name := fmt.Sprint("node", s.nodes)
	s.guards[name] = g
	run := g.Join(&countNode{s, name})
	s.mu.Unlock()
	s.work.Go(func() { run(s.ctx) })
	s.mu.Lock()
	after := len(s.log)
	for _, c := range s.counts {
		if time.Now().Before(c.Expires) {
			if err := g.Counted(c); err != nil {
				s.t.Error(err)
			}
		}
	}
	s.mu.Unlock()
	s.work.Go(func() { s.watch(g, after) })
}

func (s *countStore) watch(g *fixture, after int) {
	for {
		s.mu.Lock()
		changed, takes, news := s.changed, s.takes, s.log[after:]
		s.mu.Unlock()
		if len(news) == 0 {
			select {
			case <-changed:
				continue
			case <-s.ctx.Done():
				return
			}
		}
		time.Sleep(takes)
		for _, c := range news {
			if err := g.Counted(c); err != nil {
				s.t.Error(err)
			}
		}
		after += len(news)
	}
}

type countNode struct {
	*countStore
	name string
}

func (n *countNode) Node() string { return n.name }

func (n *countNode) Others() (names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name := range n.guards {
		if name != n.name {
			names = append(names, name)
		}
	}
	return names
}

func (n *countNode) Ask(_ context.Context, node string, question []byte) ([]byte, error) {
	n.mu.Lock()
	n.asked++
	other := n.guards[node]
	n.mu.Unlock()
	if other == nil {
		return nil, errAway
	}
	return other.Answer(question), nil
}

func (n *countNode) Write(_ context.Context, counts []auth.Count) ([]uint64, error) {
	n.mu.Lock()
	takes := n.takes
	n.mu.Unlock()
	time.Sleep(takes)
	revisions, err := n.take(counts)
	if errors.Is(err, errLost) {
		time.Sleep(time.Duration(n.nodes%2) * time.Millisecond) // all have been told by then, or not
	}
	return revisions, err
}

func (n *countNode) take(counts []auth.Count) ([]uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away || n.dead == n.name {
		return nil, errAway
	}
	revisions := make([]uint64, len(counts))
	for i, c := range counts {
		old := n.counts[c.Key]
		if old.Value == nil || !time.Now().Before(old.Expires) {
			old.Revision = 0
		}
		if old.Revision != c.Revision {
			continue
		}
		n.revision++
		revisions[i], c.Revision = n.revision, n.revision
		n.counts[c.Key], n.log = c, append(n.log, c)
	}
	close(n.changed)
	n.changed = make(chan struct{})
	if n.loses {
		return nil, errLost
	}
	return revisions, nil
}

// newNodes makes guards of several nodes. Their verifier is one.
func newNodes(t testing.TB, n int, edit func(*auth.Config)) (*countStore, []*fixture) {
	s := newCountStore(t)
	nodes := make([]*fixture, n)
	for i := range nodes {
		nodes[i] = newFixture(t, func(c *auth.Config) {
			c.KeepSession = func(r auth.SessionRecord) {
				for j, other := range nodes {
					if j != i {
						require.NoError(t, other.RestoreSession(r))
					}
				}
			}
			if i > 0 {
				c.Verifier = nodes[0].verifier
			}
			if edit != nil {
				edit(c)
			}
		})
		nodes[i].verifier = nodes[0].verifier
	}
	for _, g := range nodes {
		s.join(g)
	}
	return s, nodes
}

// BSP-2.10-8, BSX-12: who goes round the nodes has as many guesses in all as at one, one
// after the other or all at the same moment, however late a node hears of the others.
func TestNodesCountTogether(t *testing.T) {
	for name, at := range map[string]struct {
		locks bool
		most  int64
		try   func(f *fixture, node, i int) (r auth.Request, account string)
	}{
		"an account that a directory locks": {true, 4, func(f *fixture, node, i int) (auth.Request, string) {
			return f.from(fmt.Sprintf("192.0.%d.%d", node, i)), []string{`DE\tom`, "tom@de.example", "tom"}[i%3]
		}},
		"a local account": {false, 4, func(f *fixture, _, i int) (auth.Request, string) {
			r := f.from("192.0.2.1")
			r.Client = fmt.Sprint("client ", i)
			return r, `DE\tom`
		}},
		"one source": {true, 20, func(f *fixture, _, i int) (auth.Request, string) {
			r := f.from("192.0.2.1")
			r.Client = fmt.Sprint("client ", i)
			return r, fmt.Sprint("account ", i)
		}},
	} {
		for _, lag := range []time.Duration{0, 20 * time.Millisecond} {
			t.Run(fmt.Sprint(name, " ", lag), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, nodes := newNodes(t, 3, func(c *auth.Config) {
						c.MaxPending = 1000 // so that nothing else holds them back
						if !at.locks {
							c.Verifier = unlocked{c.Verifier}
						}
					})
					s.lag(lag)
					v := nodes[0].verifier
					v.override = func(context.Context, auth.Credentials) (auth.Identity, error) {
						time.Sleep(10 * time.Millisecond)
						return auth.Identity{}, auth.ErrBadPassword
					}
					var all sync.WaitGroup
					var refused atomic.Int64
					for i := range 40 {
						for node, f := range nodes {
							r, account := at.try(f, node, i)
							answer := f.answer(r, f.Check(r), account, fmt.Sprint("guess ", node, i))
							all.Go(func() {
								if d := f.Check(answer); !errors.Is(d.Reason, auth.ErrThrottled) {
									assert.ErrorIs(t, d.Reason, auth.ErrBadPassword)
									refused.Add(1)
								}
							})
						}
					}
					all.Wait()
					require.Equal(t, at.most, v.calls.Load())
					require.Equal(t, at.most, refused.Load())
					for i := range 40 {
						r, account := at.try(nodes[i%3], i%3, i+50)
						require.ErrorIs(t, nodes[i%3].try(r, account, "guess").Reason, auth.ErrThrottled)
					}
					require.Equal(t, at.most, v.calls.Load())
					time.Sleep(15*time.Minute + time.Second)
					for i := range int(at.most) {
						r, account := at.try(nodes[i%3], i%3, i)
						require.ErrorIs(t, nodes[i%3].try(r, account, "guess").Reason, auth.ErrBadPassword)
						time.Sleep(time.Second)
					}
				})
			})
		}
	}
}

// BSP-2.10-8, BSX-12: a success at one node forgets what failed at others, is known to them,
// and leaves nothing in the store; what is in it meanwhile is no password.
func TestNodesForgetTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, nodes := newNodes(t, 3, nil)
		tom := nodes[0].from("192.0.2.1")
		for i, f := range nodes {
			f.fail(tom, `DE\tom`, 1)
			synctest.Wait()
			require.Equal(t, 2, f.Stats().Failures, i) // of the source and the account
		}
		s.mu.Lock()
		for _, c := range s.log {
			require.NotContains(t, string(c.Value), "wrong")
			require.NotContains(t, string(c.Value), "tom")
		}
		s.mu.Unlock()
		require.Equal(t, auth.Accept, nodes[1].try(tom, `DE\tom`, "secret").Verdict)
		synctest.Wait()
		require.Zero(t, s.held())
		for _, f := range nodes {
			require.Zero(t, f.Stats().Failures)
		}
		// Strangers have three of the four, wherever they are, and tom the last.
		for _, f := range nodes {
			f.fail(f.from("198.51.100.1"), `DE\tom`, 1)
			synctest.Wait()
		}
		for _, f := range nodes {
			require.ErrorIs(t, f.try(f.from("198.51.100.2"), `DE\tom`, "secret").Reason, auth.ErrThrottled)
		}
		require.Equal(t, auth.Accept, nodes[2].try(tom, `DE\tom`, "secret").Verdict)
	})
}

// BSX-12: an attempt that the store cannot count does not reach the directory, and one of which
// it is not certain whether it has been counted holds nobody back for long. A node that dies in
// an attempt has had it.
func TestNodesStoreFails(t *testing.T) {
	for n := 2; n <= 3; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { storeFails(t, n) }) })
	}
}

func storeFails(t *testing.T, n int) {
	s, nodes := newNodes(t, n, nil)
	set := func(away, loses bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.away, s.loses = away, loses
	}
	a, b := nodes[0], nodes[1]
	for _, loses := range []bool{false, true} {
		set(!loses, loses)
		for i := range 3 {
			d := a.try(a.from(fmt.Sprint("192.0.2.", i)), `DE\tom`, "secret")
			require.Equal(t, auth.Unavailable, d.Verdict)
			if loses {
				require.ErrorIs(t, d.Reason, errLost)
			} else {
				require.ErrorIs(t, d.Reason, errAway)
			}
		}
		require.Zero(t, a.verifier.calls.Load())
		set(false, false)
		time.Sleep(time.Second)
		require.Equal(t, auth.Accept, b.try(b.from("192.0.2.1"), `DE\tom`, "secret").Verdict)
		time.Sleep(time.Second)
		require.Zero(t, s.held())
		a.verifier.calls.Store(0)
	}

	hangs := make(chan struct{})
	a.verifier.override = func(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
		<-hangs
		return auth.Identity{}, auth.ErrBadPassword
	}
	var last sync.WaitGroup
	for i := range 2 {
		last.Go(func() { a.try(a.from("192.0.2.9"), `DE\bill`, fmt.Sprint("wrong", i)) })
	}
	synctest.Wait()
	s.mu.Lock()
	s.dead = "node1"
	s.mu.Unlock()
	close(hangs)
	last.Wait()
	a.verifier.override = nil
	b.fail(b.from("192.0.2.10"), `DE\bill`, 2)

	// Who is at the limit waits for them while that node may live, and is held back once it does not.
	var waits sync.WaitGroup
	waits.Go(func() {
		began := time.Now()
		assert.ErrorIs(t, b.try(b.from("192.0.2.10"), `DE\bill`, "other").Reason, auth.ErrThrottled)
		assert.InDelta(t, 5, time.Since(began).Seconds(), 0.5)
	})
	time.Sleep(5 * time.Second)
	s.leave(a)
	waits.Wait()
	for _, g := range nodes[1:] {
		began := time.Now()
		require.ErrorIs(t, g.try(g.from("192.0.2.10"), `DE\bill`, "other").Reason, auth.ErrThrottled)
		require.Zero(t, time.Since(began))
	}
	time.Sleep(15 * time.Minute)
	require.Equal(t, auth.Accept, b.try(b.from("192.0.2.10"), `DE\bill`, "other").Verdict)
}

// BSX-12: below the limit nobody waits for the attempts of a node that has died: they are failures
// of the account, until somebody signs in there. The same becomes of those of a node that lives
// where another does not know that yet, and it says how they ended all the same.
func TestNodesBuryTheDead(t *testing.T) {
	for _, dies := range []bool{true, false} {
		t.Run(fmt.Sprint("dies ", dies), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { buryTheDead(t, dies) }) })
	}
}

func buryTheDead(t *testing.T, dies bool) {
	s, nodes := newNodes(t, 2, nil)
	a, b := nodes[0], nodes[1]
	hangs := make(chan struct{})
	a.verifier.override = func(context.Context, auth.Credentials) (auth.Identity, error) {
		<-hangs
		return auth.Identity{Account: `de\bill`}, nil
	}
	var last sync.WaitGroup
	for i := range 3 {
		last.Go(func() { a.try(a.from("192.0.2.9"), `DE\bill`, fmt.Sprint("other", i)) })
	}
	synctest.Wait()
	a.verifier.override = nil
	s.leave(a)
	if dies {
		s.mu.Lock()
		s.dead = "node1"
		s.mu.Unlock()
	}
	try := func(i int, password string) error {
		began := time.Now()
		defer func() { require.Zero(t, time.Since(began)) }()
		return b.try(b.from(fmt.Sprint("192.0.2.", 10+i)), `DE\bill`, password).Reason
	}
	require.ErrorIs(t, try(1, "wrong"), auth.ErrBadPassword)
	require.ErrorIs(t, try(2, "other"), auth.ErrThrottled)
	close(hangs)
	last.Wait()
	if dies {
		require.ErrorIs(t, try(3, "other"), auth.ErrThrottled)
		time.Sleep(15 * time.Minute)
	}
	time.Sleep(time.Second) // the ends of three attempts are in the store
	require.NoError(t, try(4, "other"))
	for i := range 3 { // the last one is for those who have signed in
		require.ErrorIs(t, try(5+i, "wrong"), auth.ErrBadPassword)
	}
	require.ErrorIs(t, try(8, "other"), auth.ErrThrottled)
}

// BSP-2.10-3, BSX-12: the answer to a challenge of one node is good at another, for as long as at
// the one that sent it, and so are the credentials of a session for as long as it lasts.
func TestNodesTakeAnswers(t *testing.T) {
	for name, cipher := range ciphers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, nodes := newNodes(t, 3, func(c *auth.Config) { c.Cipher = cipher })
				a, b, c := nodes[0], nodes[1], nodes[2]
				r, other := a.request("tom"), a.request("bill")
				first := a.Check(r)
				d := a.Check(r)
				time.Sleep(32 * time.Second)
				require.ErrorIs(t, b.Check(b.answer(r, first, `DE\tom`, "secret")).Reason, auth.ErrWrongKey, "replaced")
				require.ErrorIs(t, b.Check(b.answer(other, d, `DE\tom`, "secret")).Reason, auth.ErrWrongKey, "another client's")
				require.ErrorIs(t, b.Check(b.answer(r, d, `DE\tom`, "wrong")).Reason, auth.ErrBadPassword)
				answer := b.answer(r, d, `DE\tom`, "secret")
				require.Equal(t, auth.Accept, b.Check(answer).Verdict)
				calls := a.verifier.calls.Load()
				time.Sleep(time.Hour)
				for range 3 { // whichever node is asked, the directory is asked once
					require.Equal(t, auth.Accept, c.Check(answer).Verdict)
					require.Equal(t, auth.Accept, b.Check(answer).Verdict)
				}
				require.Equal(t, calls+1, a.verifier.calls.Load())
				s.leave(b)
				s.leave(c)
				require.ErrorIs(t, a.Check(answer).Reason, auth.ErrWrongKey, "nobody is left who knows")
			})
		})
	}
}

// BSX-12, RFC 7616 §3.4: a nonce of one node is good at another, from the source that it was sent
// to, and each count once at all of them together. That of a node that has died is stale, which
// a client answers by itself.
func TestNodesTakeDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := localAccounts(t)
		s, nodes := newNodes(t, 3, func(c *auth.Config) { c.Verifier, c.Digest = local, local })
		a, b, c := nodes[0], nodes[1], nodes[2]
		r := a.request("tom")
		r.Digest, r.UserAgent = true, "baresip"
		challenge := challenges(t, a.Check(r))[0]
		answer := respond(t, r, challenge, `DE\tom`, "secret", 1)
		require.Equal(t, auth.Accept, b.Check(answer).Verdict)
		for _, f := range nodes {
			require.ErrorIs(t, f.Check(answer).Reason, auth.ErrStale, "once")
		}
		require.Equal(t, auth.Accept, c.Check(respond(t, r, challenge, `DE\tom`, "secret", 2)).Verdict)
		require.Equal(t, auth.Accept, a.Check(respond(t, r, challenge, `DE\tom`, "secret", 3)).Verdict)
		require.ErrorIs(t, b.Check(respond(t, r, challenge, `DE\tom`, "wrong", 4)).Reason, auth.ErrBadPassword)
		elsewhere := respond(t, r, challenge, `DE\tom`, "secret", 5)
		elsewhere.Source = netip.MustParseAddr("203.0.113.1")
		require.ErrorIs(t, b.Check(elsewhere).Reason, auth.ErrStale)
		last := respond(t, r, challenge, `DE\tom`, "secret", 6)
		asked := s.asked
		for _, node := range []string{"", "*", ">", "node9", "node1.node2", "NODE1"} {
			made := *challenge
			made.Nonce, _, _ = strings.Cut(made.Nonce, ".")
			made.Nonce += "." + node
			require.ErrorIs(t, b.Check(respond(t, r, &made, `DE\tom`, "secret", 6)).Reason, auth.ErrStale, node)
		}
		require.Equal(t, asked, s.asked, "nobody is asked but those who are there")
		require.Equal(t, auth.Accept, b.Check(last).Verdict)
		s.leave(a)
		d := b.Check(respond(t, r, challenge, `DE\tom`, "secret", 7))
		require.ErrorIs(t, d.Reason, auth.ErrStale)
		stale := challenges(t, d)[0]
		require.True(t, stale.Stale)
		require.Equal(t, auth.Accept, b.Check(respond(t, r, stale, `DE\tom`, "secret", 1)).Verdict)
		time.Sleep(5 * time.Minute)
		require.ErrorIs(t, c.Check(respond(t, r, stale, `DE\tom`, "secret", 2)).Reason, auth.ErrStale)
	})
}

// BSX-8, BSX-12: who floods a node with challenges, or with answers that are none, does not reach
// the store, and the other nodes at a bounded rate; what guards are asked is read with care.
func TestNodesUnderFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, nodes := newNodes(t, 3, nil)
		strange := nodes[0].Check(nodes[0].request("bill"))
		began := time.Now()
		for i := range 300 {
			r := nodes[0].from(fmt.Sprintf("203.0.%d.%d", i/250, i%250))
			d := nodes[0].Check(r)
			require.ErrorIs(t, nodes[1].Check(nodes[1].answer(r, strange, `DE\tom`, "secret")).Reason, auth.ErrWrongKey)
			require.Equal(t, auth.Accept, nodes[0].Check(nodes[0].answer(r, d, `DE\tom`, "secret")).Verdict, "here it is known")
			if i%100 == 99 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		require.GreaterOrEqual(t, s.asked, 2*64)
		require.LessOrEqual(t, s.asked, 2*64*int(1+time.Since(began)/(100*time.Millisecond)))
		for _, q := range []string{"", "{}", "x", `{"client":"AAAA","session":"AAAA"}`, `{"nonce":"x","source":"y"}`, `{"nonce":"","account":"a"}`, `{"count":-1}`} {
			require.NotContains(t, string(nodes[0].Answer([]byte(q))), "true", q)
		}
	})
}
