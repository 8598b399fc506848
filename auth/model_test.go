package auth_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// TestModel drives a guard through random requests of users and attackers, on a clock
// of its own, and holds each decision against a reference that knows the rules of the
// package documentation and nothing of the code; or several guards, of nodes that share a
// store. The directory counts wrong passwords
// as Active Directory does, and must never lock an account (BSP-2.10-8).
//
// That it finds what it is there for was shown by planting bugs, one at a time. Each
// was found within 60 seeds:
//
//   - a replaced key stays good for ever, or for no time; one more pushes out a good one
//   - a derived key is good for one part of the guard's life alone, or for three
//   - a session is not bound to its flow, or to its connection of TLS, or does not move
//     to the connection over which its credentials come again
//   - a success of another account takes the session over; a restored one begins anew
//   - a success forgets all failures, those of a namesake included, or none, or none
//     but those under the name that was typed
//   - failures are never forgotten, or Retry-After goes by the first of them
//   - a directory that is down counts as a failure
//   - strangers have the last attempt, or one more; a user is known for ever, or at
//     every source
//   - accounts that no directory locks are held as a whole, or guesses are not slow
//   - attempts at once are not counted while they are under way
//   - of several nodes: those of others do not count while they are under way, or what has failed
//     there; a place in the store is not given back; an attempt has one under one key alone; who
//     is beaten to a write takes it as done; an older record replaces a newer one; a success
//     forgets nothing at others; no node is asked for its keys, or not for those of sessions
func TestModel(t *testing.T) {
	seeds := 60
	if n, err := strconv.Atoi(os.Getenv("BLUSTAR_MODEL_SEEDS")); err == nil {
		seeds = n
	}
	for seed := range uint64(seeds) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newModel(t, seed).run(150) })
		})
	}
}

const (
	modelWindow  = 15 * time.Minute
	modelSession = 8 * time.Hour
	modelKnown   = 7 * 24 * time.Hour
)

// tries are failures under one key.
type tries struct {
	last  time.Time
	names []string
}

type modelKey struct {
	decision auth.Decision
	issued   time.Time
	derived  bool // since four keys were good already
	gone     bool // with all that the client had, since it had asked for none in its lifetime
}

type modelSessionOf struct {
	account, proof string
	key            string // of the answer that opened it here
	expires        time.Time
	conn           uint64
	tls            bool
}

type model struct {
	t     *testing.T
	rng   *rand.Rand
	nodes []*modelNode
	locks bool
	log   []string
	kept  map[string]auth.SessionRecord
	store *countStore // nil for one node

	// The directory.
	down bool
	mu   sync.Mutex
	bad  map[string]*tries
	hang time.Duration

	// What the rules say.
	tries   map[string]tries
	told    map[string]modelToldOf // by client: what is known to all nodes
	retry   time.Duration          // of what is held back
	answers []auth.Request         // that opened a session, to be sent again
}

// modelNode is a guard, and what the rules say of it alone.
type modelNode struct {
	*fixture
	began    time.Time
	keys     map[string][]modelKey
	sessions map[string]modelSessionOf
	known    map[string]time.Time
}

type modelToldOf struct {
	account string
	until   time.Time
}

var modelPasswords = map[string]string{`de\tom`: "tom-pw", `fr\tom`: "other-pw", `de\bill`: "bill-pw"}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), locks: seed%3 > 0, kept: make(map[string]auth.SessionRecord),
		bad: make(map[string]*tries), tries: make(map[string]tries), told: make(map[string]modelToldOf),
	}
	m.nodes = make([]*modelNode, 1+seed/3%3)
	if len(m.nodes) > 1 {
		m.store = newCountStore(t)
	}
	for i := range m.nodes {
		m.restart(i)
	}
	return m
}

// restart makes a new guard. Sessions of datagrams and TCP, and who is known, are all that goes
// on, and where there are others what has failed.
func (m *model) restart(i int) {
	n := &modelNode{began: time.Now(), keys: make(map[string][]modelKey), sessions: make(map[string]modelSessionOf), known: make(map[string]time.Time)}
	n.fixture = newFixture(m.t, func(c *auth.Config) {
		c.Verifier = auth.VerifierFunc(m.directory)
		if !m.locks {
			c.Verifier = unlocked{c.Verifier}
		}
		c.KeepSession = func(r auth.SessionRecord) { m.keep(n, r) }
	})
	if m.store != nil {
		if old := m.nodes[i]; old != nil {
			m.store.leave(old.fixture)
		}
		m.store.join(n.fixture)
	} else {
		clear(m.tries)
	}
	for _, r := range m.kept {
		if !r.Expires.IsZero() {
			require.NoError(m.t, n.RestoreSession(r))
		}
	}
	if old := m.nodes[i]; old != nil {
		for k, s := range old.sessions {
			if s.proof, s.key = "", ""; !s.tls {
				n.sessions[k] = s
			}
		}
		m.answers = nil
	}
	for client, k := range m.told {
		n.knows(client, k.account, k.until)
	}
	m.nodes[i] = n
}

// keep is where the records of a guard go: to the others, and to those that are made later.
func (m *model) keep(from *modelNode, r auth.SessionRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[r.Key] = r
	for _, n := range m.nodes {
		if n != nil && n != from {
			require.NoError(m.t, n.RestoreSession(r))
		}
	}
}

func (n *modelNode) knows(client, account string, until time.Time) {
	n.known[client] = until
	if until.After(n.known[account]) {
		n.known[account] = until
	}
}

// account is what the directory calls a name that was typed.
func account(n auth.Name) string {
	a := strings.TrimSuffix(n.Account(), "@de.example")
	if !strings.Contains(a, `\`) {
		a = `de\` + a
	}
	return a
}

// directory locks an account after five wrong passwords, each within the window after
// the one before.
func (m *model) directory(_ context.Context, c auth.Credentials) (auth.Identity, error) {
	time.Sleep(m.hang)
	m.mu.Lock()
	defer m.mu.Unlock()
	a := account(c.Name)
	switch want, ok := modelPasswords[a]; {
	case m.down:
		return auth.Identity{}, errors.New("down")
	case !ok:
		return auth.Identity{}, auth.ErrUnknownAccount
	case want == string(c.Password.Reveal()):
		delete(m.bad, a)
		return auth.Identity{Account: a}, nil
	}
	b := m.bad[a]
	if b == nil || time.Since(b.last) >= modelWindow {
		b = &tries{}
		m.bad[a] = b
	}
	b.last, b.names = time.Now(), append(b.names, c.Name.String())
	if m.locks && len(b.names) >= 5 {
		m.fail("the directory locks %s: %q", a, b.names)
	}
	return auth.Identity{}, auth.ErrBadPassword
}

func (m *model) fail(format string, args ...any) {
	m.t.Fatalf("%s\n%s", strings.Join(m.log, "\n"), fmt.Sprintf(format, args...))
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func pick[T any](m *model, of ...T) T { return of[m.rng.IntN(len(of))] }

// request is one of a few clients, at one of a few addresses, over one of a few flows.
func (m *model) request() auth.Request {
	user := pick(m, "tom", "bill", "eve")
	r := auth.Request{
		From: "sip:" + user + "@example.com", Source: netip.AddrFrom4([4]byte{192, 0, 2, byte(m.rng.IntN(3))}), Method: "SUBSCRIBE",
		Client: "sip:" + user + "@example.com contact " + pick(m, "1", "2"), Connection: pick[uint64](m, 0, 0, 0, 1, 2),
	}
	r.Secure = r.Connection > 0 && m.rng.IntN(2) == 0
	return r
}

func clientOf(r auth.Request) string { return fmt.Sprint(r.Source, r.Client) }

func sessionOf(r auth.Request) string {
	return fmt.Sprint(r.Source, r.Client, r.Connection > 0, r.Secure)
}

func (m *model) run(steps int) {
	for range steps {
		switch n := m.rng.IntN(20); {
		case n < 3:
			d := pick(m, time.Second, 31*time.Second, 32*time.Second, 5*time.Minute-time.Second, 5*time.Minute, 14*time.Minute, modelWindow,
				3*time.Hour, modelSession-time.Second, modelSession, 80*time.Hour, modelKnown)
			m.note("sleep %v", d)
			time.Sleep(d)
		case n == 3 && m.rng.IntN(4) == 0:
			m.note("restart")
			if m.store == nil {
				m.mu.Lock()
				clear(m.bad) // else what it forgets could lock an account, as documented
				m.mu.Unlock()
			}
			m.restart(m.rng.IntN(len(m.nodes)))
		case n == 4:
			m.down = !m.down && m.rng.IntN(2) == 0
			m.note("down %t", m.down)
		case n == 5:
			m.burst()
		case n < 9:
			m.plain(pick(m, m.nodes...), m.request())
		case n == 9 && len(m.answers) > 0:
			r := pick(m, m.answers[max(0, len(m.answers)-5):]...)
			if r.Connection > 0 {
				r.Connection = pick[uint64](m, 1, 2)
			}
			m.again(pick(m, m.nodes...), r)
		default:
			n, r := pick(m, m.nodes...), m.request()
			m.challenge(n, r)
			if m.rng.IntN(4) == 0 { // one of many keys, late
				for range m.rng.IntN(7) {
					m.challenge(n, r)
				}
				d := pick(m, time.Second, 31*time.Second, 32*time.Second, time.Minute, 5*time.Minute)
				m.note("wait %v", d)
				time.Sleep(d)
			}
			keys := n.keys[clientOf(r)]
			k := keys[len(keys)-1]
			if m.rng.IntN(4) == 0 {
				k = pick(m, keys[max(0, len(keys)-8):]...)
			}
			name := pick(m, `DE\tom`, `DE\tom`, "tom@de.example", "tom", `FR\tom`, `DE\bill`, "nobody")
			password := pick(m, "tom-pw", "other-pw", "bill-pw", "wrong", "guess")
			if n, _ := auth.ParseName(name); (m.rng.IntN(3) == 0 || m.locks) && modelPasswords[account(n)] != "" && m.rng.IntN(3) > 0 {
				password = modelPasswords[account(n)]
			}
			at := n
			if m.rng.IntN(2) == 0 {
				at = pick(m, m.nodes...)
			}
			m.answer(at, n, r, k, name, password)
		}
	}
}

// plain is a request without credentials.
func (m *model) plain(n *modelNode, r auth.Request) {
	s, ok := n.sessions[sessionOf(r)]
	ok = ok && time.Now().Before(s.expires) && (!r.Secure || s.conn == r.Connection)
	d := n.Check(r)
	m.note("%s %s: %v as %q", r.Source, sessionOf(r), d.Verdict, d.Identity.Account)
	switch {
	case ok && (d.Verdict != auth.Accept || d.Identity.Account != s.account):
		m.fail("there is a session of %s", s.account)
	case !ok && d.Verdict != auth.Challenge:
		m.fail("there is no session")
	case !ok:
		m.issued(n, r, d)
	}
}

// challenge asks for a key, also where there is a session.
func (m *model) challenge(n *modelNode, r auth.Request) {
	r.Rauth = "AAAA"
	d := n.Check(r)
	if d.Verdict != auth.Challenge {
		m.fail("%s is no answer to nonsense", d.Verdict)
	}
	m.issued(n, r, d)
}

func (m *model) issued(n *modelNode, r auth.Request, d auth.Decision) {
	if keys := n.keys[clientOf(r)]; len(keys) > 0 && time.Since(keys[len(keys)-1].issued) >= 5*time.Minute {
		for i := range keys {
			keys[i].gone = !keys[i].derived
		}
	}
	own := m.own(n, r)
	derived := len(own) >= 4 && time.Since(own[len(own)-3].issued) < 32*time.Second
	if !derived {
		for _, k := range n.keys[clientOf(r)] {
			if k.decision.Header[0] == d.Header[0] {
				m.fail("a key was sent twice")
			}
		}
	}
	n.keys[clientOf(r)] = append(n.keys[clientOf(r)], modelKey{d, time.Now(), derived, false})
}

// own are the keys of a client that were made for it, and not derived.
func (m *model) own(n *modelNode, r auth.Request) []modelKey {
	return slices.DeleteFunc(slices.Clone(n.keys[clientOf(r)]), func(k modelKey) bool { return k.derived || k.gone })
}

// good says whether a key may be answered: the last one for five minutes, and the three
// before it for 32 seconds after they were replaced. A derived one is good for this part
// of the guard's life, of five minutes each, and the next.
func (m *model) good(n *modelNode, r auth.Request, k modelKey) bool {
	const lifetime = 5 * time.Minute
	if k.derived {
		return time.Since(n.began)/lifetime-k.issued.Sub(n.began)/lifetime <= 1
	}
	if k.gone {
		return false
	}
	keys := m.own(n, r)
	i := slices.IndexFunc(keys, func(o modelKey) bool { return o.decision.Header[0] == k.decision.Header[0] })
	if i == len(keys)-1 {
		return time.Since(k.issued) < lifetime
	}
	replaced := keys[i+1].issued
	return i >= len(keys)-4 && replaced.Sub(k.issued) < lifetime && time.Since(replaced) < 32*time.Second
}

// answer answers the key that one node sent, at one of them. Where it is the key of a session,
// it is good at the others for as long as that is there.
func (m *model) answer(n, from *modelNode, r auth.Request, k modelKey, name, password string) {
	answer := n.answer(r, k.decision, name, password)
	if s := n.sessions[sessionOf(r)]; s.proof == answer.Rauth {
		m.again(n, answer) // by chance: the cipher gives the same text again
		return
	}
	typed, err := auth.ParseName(name)
	require.NoError(m.t, err)
	want, wait := auth.ErrWrongKey, time.Duration(0)
	m.retry = 0
	good := m.good(from, r, k)
	for _, other := range m.nodes {
		s := other.sessions[sessionOf(r)]
		good = good || other != n && s.key == k.decision.Header[0].Value && time.Now().Before(s.expires)
	}
	if good {
		wait, want = m.try(n, r, typed, password)
	}
	start := time.Now()
	d := n.Check(answer)
	m.note("%s %s: %s %s: %v %v", r.Source, sessionOf(r), name, password, d.Verdict, d.Reason)
	switch {
	case want == nil && d.Verdict != auth.Accept, want != nil && !errors.Is(d.Reason, want):
		m.fail("want %v", want)
	case want == auth.ErrThrottled && d.RetryAfter != m.retry:
		m.fail("come back in %v, want %v", d.RetryAfter, m.retry)
	case time.Since(start) != wait:
		m.fail("took %v, want %v", time.Since(start), wait)
	}
	synctest.Wait() // others know
	switch {
	case d.Verdict == auth.Challenge:
		m.issued(n, r, d)
	case d.Verdict == auth.Accept:
		m.opened(n, r, account(typed), answer.Rauth, k.decision.Header[0].Value)
		m.answers = append(m.answers, answer)
	}
}

// opened enters a session.
func (m *model) opened(at *modelNode, r auth.Request, account, proof, with string) {
	key := sessionOf(r)
	s, ok := at.sessions[key]
	ended := ok && time.Now().Before(s.expires) && s.account != account
	for _, n := range m.nodes {
		switch s, ok := n.sessions[key]; {
		case n != at && r.Secure:
		case ended:
			delete(n.sessions, key)
		case n == at:
			n.sessions[key] = modelSessionOf{account, proof, with, time.Now().Add(modelSession), r.Connection, r.Secure}
		case ok && time.Now().Before(s.expires):
			n.sessions[key] = modelSessionOf{account, s.proof, s.key, time.Now().Add(modelSession), 0, false}
		default:
			n.sessions[key] = modelSessionOf{account, "", "", time.Now().Add(modelSession), 0, false}
		}
	}
}

// again sends credentials that were sent before.
func (m *model) again(n *modelNode, r auth.Request) {
	s, ok := n.sessions[sessionOf(r)]
	if !ok || !time.Now().Before(s.expires) || s.proof != r.Rauth {
		return // only its key could help: see answer
	}
	d := n.Check(r)
	m.note("%s %s: again: %v", r.Source, sessionOf(r), d.Verdict)
	if d.Verdict != auth.Accept || d.Identity.Account != s.account {
		m.fail("these credentials opened the session of %s", s.account)
	}
	s.conn = r.Connection
	n.sessions[sessionOf(r)] = s
	r.Rauth = ""
	m.plain(n, r)
}

// counted returns the failures of a key that still count.
func (m *model) counted(key string) tries {
	f := m.tries[key]
	if time.Since(f.last) >= modelWindow {
		return tries{}
	}
	return f
}

// try says what becomes of credentials, and enters it.
func (m *model) try(node *modelNode, r auth.Request, n auth.Name, password string) (time.Duration, error) {
	user := strings.TrimSuffix(strings.ToLower(n.User), "@de.example")
	at, source := "account "+user, "source "+r.Source.String()
	party := fmt.Sprint("party ", user, r.Source)
	client := fmt.Sprint("client ", user, r.Source, r.From)
	isKnown := time.Now().Before(node.known[client])
	if isKnown {
		party = client
	}
	wait, counts, most := time.Duration(0), party, 4
	switch {
	case m.locks:
		counts = at
		if time.Now().Before(node.known[at]) && !isKnown {
			most = 3
		}
	case !isKnown && len(m.counted(at).names) >= 4:
		wait = time.Second
	}
	for _, l := range []struct {
		key  string
		most int
	}{{source, 20}, {counts, most}} {
		if f := m.counted(l.key); len(f.names) >= l.most {
			m.retry = modelWindow - time.Since(f.last)
			return 0, auth.ErrThrottled
		}
	}
	if m.down {
		return wait, auth.ErrUnavailable
	}
	a, now := account(n), time.Now().Add(wait)
	keys := []string{at, party, source}
	if want, ok := modelPasswords[a]; !ok || want != password {
		for _, k := range keys {
			f := m.counted(k)
			if now.Sub(f.last) >= modelWindow {
				f = tries{}
			}
			m.tries[k] = tries{now, append(slices.Clone(f.names), n.Account())}
		}
		return wait, auth.ErrBadCredentials
	}
	for _, k := range append(keys, client) {
		f := m.counted(k)
		f.names = slices.DeleteFunc(slices.Clone(f.names), func(name string) bool { return name == n.Account() || name == a })
		m.tries[k] = f
	}
	until := now.Add(modelKnown)
	node.knows(client, at, until)
	if until.Sub(m.told[client].until) > modelKnown/7 {
		m.told[client] = modelToldOf{at, until}
		for _, n := range m.nodes {
			n.knows(client, at, until)
		}
	}
	return wait, nil
}

// burst is many attempts at once at one account, from everywhere, in a time of their
// own. The directory sees to it that they do not lock it.
func (m *model) burst() {
	time.Sleep(modelWindow) // what was counted is forgotten before and after it
	m.mu.Lock()
	m.down, m.hang = false, time.Second
	m.mu.Unlock()
	if m.store != nil {
		m.store.lag(time.Duration(m.rng.IntN(3)) * 20 * time.Millisecond)
		defer m.store.lag(0)
	}
	var wg sync.WaitGroup
	for i := range 12 {
		r := m.request()
		r.Source, r.Client = netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), fmt.Sprint("burst ", i)
		n := pick(m, m.nodes...)
		answer := n.answer(r, n.Check(r), pick(m, `DE\tom`, "tom@de.example", "tom"), fmt.Sprint("guess ", i))
		wg.Go(func() { n.Check(answer) })
	}
	wg.Wait()
	m.hang = 0
	m.note("burst")
	time.Sleep(modelWindow)
}
