package presence

import (
	"context"
	"slices"

	"github.com/openblustar/blustar/auth"
)

// What guards of several nodes have in common goes by way of the cluster.

// sharingGuard is a [Guard] that knows of those of other nodes.
type sharingGuard interface {
	Join(auth.Nodes) (run func(context.Context))
	Counted(auth.Count) error
	Answer(question []byte) []byte
}

var (
	_ sharingGuard = (*auth.Guard)(nil)
	_ auth.Nodes   = (*cluster)(nil)
)

// Node implements [auth.Nodes].
func (c *cluster) Node() string { return c.node }

// Others implements [auth.Nodes].
func (c *cluster) Others() []string {
	return slices.DeleteFunc(c.store.Living(), func(node string) bool { return node == c.node })
}

// guardCall is the first line of what one guard asks another.
const guardCall = "auth"

// Ask implements [auth.Nodes].
func (c *cluster) Ask(ctx context.Context, node string, question []byte) ([]byte, error) {
	return c.store.Call(ctx, node, append([]byte(guardCall+"\n"), question...))
}

// Write implements [auth.Nodes].
func (c *cluster) Write(ctx context.Context, counts []auth.Count) ([]uint64, error) {
	batch := make([]Write, len(counts))
	for i, n := range counts {
		batch[i] = Write{Kind: kindFailures, Key: n.Key, Value: n.Value, Expires: n.Expires, Conditional: true, Revision: n.Revision}
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return c.store.Apply(ctx, batch)
}

func (c *cluster) counted(r Record) error {
	guard, ok := c.server.cfg.Guard.(sharingGuard)
	if !ok {
		return nil
	}
	key := recordKey{r.Kind, r.Key}
	c.mu.Lock()
	if r.Value == nil { // each sign-in does so: it need not be remembered
		delete(c.records, key)
	} else {
		c.noteLocked(key, replica{ref: countRef(r.Key), node: r.Node, revision: r.Revision, expires: r.Expires})
	}
	c.mu.Unlock()
	return guard.Counted(auth.Count{Key: r.Key, Value: r.Value, Expires: r.Expires, Revision: r.Revision})
}
