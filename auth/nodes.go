package auth

import (
	"context"
	"encoding/json"
	"iter"
	"net/netip"
	"slices"
	"time"
)

// Nodes is what guards that let in the same users at several nodes have in common.
// [presence.Server] is it for its Guard, where its store is shared. It is safe for concurrent use.
//
// [presence.Server]: https://pkg.go.dev/github.com/openblustar/blustar/presence#Server
type Nodes interface {
	// Node names this node among all, other than before where it is started again, by letters
	// and digits.
	Node() string
	// Others returns the other nodes that live, as far as is known.
	Others() []string
	// Ask has the guard of a node answer, by [Guard.Answer]. It returns when ctx ends, or with an
	// error where there is no such node.
	Ask(ctx context.Context, node string, question []byte) ([]byte, error)
	// Write writes counts, each where it has the revision that it names. It returns their
	// new revisions, and 0 for one that has another. With an error, some may have been written.
	Write(ctx context.Context, counts []Count) ([]uint64, error)
}

// Join has the guard be one of several: it counts failures together with the others, and takes the
// answers to their challenges. It is called once, before Check. The host runs what it returns until
// the guard is not used any more; without it, or after it, credentials cannot be verified. See
// [Guard.Counted] and [Guard.Answer].
func (g *Guard) Join(n Nodes) (run func(ctx context.Context)) {
	t := g.throttle
	g.nodes = n
	t.ledger = &ledger{throttle: t, nodes: n, wake: make(chan struct{}, 1), pages: make(map[recordKey]*page)}
	t.failures.keeps = true // a count that is forgotten here is not in the store
	return t.ledger.run
}

// question is what one guard asks another: for the keys of a client, whether a nonce is good, or,
// with an account, that it be used.
type question struct {
	Client  []byte     `json:"client,omitempty"`  // of its challenges
	Session []byte     `json:"session,omitempty"` // that it may have
	Nonce   string     `json:"nonce,omitempty"`
	Source  netip.Addr `json:"source,omitzero"`
	Account string     `json:"account,omitempty"`
	Count   uint32     `json:"count,omitempty"`
}

type answer struct {
	Keys []string `json:"keys,omitempty"`
	Good bool     `json:"good,omitempty"`
}

// Others are asked about what may be made up, so there is a bound.
const (
	maxAsks    = 64                     // at a time; a source has a quarter
	askTimeout = time.Second            // they are nearby, or away
	askPause   = 100 * time.Millisecond // that a question about keys keeps its place, at least: all nodes are asked
)

// Answer answers the question of another guard, which came by its [Nodes]: with the keys of its
// challenges to a client, most of all. So nobody but guards may ask. nil says that it cannot be read.
func (g *Guard) Answer(q []byte) []byte {
	var asked question
	if err := json.Unmarshal(q, &asked); err != nil {
		return nil
	}
	var a answer
	switch {
	case len(asked.Client) == len(recordKey{}) && len(asked.Session) == len(recordKey{}):
		a.Keys = slices.Collect(g.keysOf(recordKey(asked.Client)))
		if s, _ := g.sessions.get(recordKey(asked.Session)); s.key != "" {
			a.Keys = append(a.Keys, s.key)
		}
	case asked.Account != "":
		n := nonce{text: asked.Nonce}
		n.expires, a.Good = g.checkNonce(asked.Source, n.text)
		a.Good = a.Good && g.useNonce(context.Background(), nil, n, asked.Account, asked.Count)
	default:
		_, a.Good = g.checkNonce(asked.Source, asked.Nonce)
	}
	b, _ := json.Marshal(a) // texts and a bool
	return b
}

// keysElsewhere ranges over the keys that other nodes sent to the client of a request, as they
// answer.
func (g *Guard) keysElsewhere(ctx context.Context, r *Request) iter.Seq[string] {
	return func(yield func(string) bool) {
		others, source := g.nodes.Others(), keyOf("source", text(sourceNet(r.Source)))
		if len(others) == 0 || !g.asks.take(source) {
			return
		}
		began := time.Now()
		defer func() { time.AfterFunc(askPause-time.Since(began), func() { g.asks.leave(source) }) }()
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		client, session := g.clientKey("challenge", r), g.sessionKey(r)
		answers := make(chan answer, len(others))
		for _, node := range others {
			go func() { answers <- g.askNode(ctx, node, question{Client: client[:], Session: session[:]}) }()
		}
		for range others {
			select {
			case a := <-answers:
				for _, key := range a.Keys {
					if !yield(key) {
						return
					}
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// askNonce asks the node that made a nonce.
func (g *Guard) askNonce(ctx context.Context, r *Request, q question, node string) bool {
	source := keyOf("source", text(sourceNet(r.Source)))
	if !slices.Contains(g.nodes.Others(), node) || !g.asks.take(source) {
		return false
	}
	defer g.asks.leave(source)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	q.Source = r.Source
	return g.askNode(ctx, node, q).Good
}

// askNode returns nothing where there is no answer: the client is asked again, here.
func (g *Guard) askNode(ctx context.Context, node string, q question) (a answer) {
	b, _ := json.Marshal(q) // texts and numbers
	b, err := g.nodes.Ask(ctx, node, b)
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		g.cfg.Logger.Debug("another node does not say whether it sent a challenge", "node", node, "error", err)
	}
	return a
}
