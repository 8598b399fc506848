package auth

import "context"

// Nodes is what guards that let in the same users at several nodes have in common.
// [presence.Server] is it for its Guard, where its store is shared.
//
// [presence.Server]: https://pkg.go.dev/github.com/openblustar/blustar/presence#Server
type Nodes interface {
	// Node names this node among all, other than before where it is started again.
	Node() string
	// Write writes counts, each where it has the revision that it names. It returns their
	// new revisions, and 0 for one that has another. With an error, some may have been written.
	Write(ctx context.Context, counts []Count) ([]uint64, error)
}

// Join has the guard count failures together with those of other nodes. It is called once,
// before Check. The host runs what it returns until the guard is not used any more; without
// it, or after it, credentials cannot be verified. See [Guard.Counted].
func (g *Guard) Join(n Nodes) (run func(ctx context.Context)) {
	t := g.throttle
	t.ledger = &ledger{throttle: t, nodes: n, wake: make(chan struct{}, 1), pages: make(map[recordKey]*page)}
	t.failures.keeps = true // a count that is forgotten here is not in the store
	return t.ledger.run
}
