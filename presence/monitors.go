package presence

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"

	"github.com/openblustar/blustar/internal/backoff"
	"github.com/openblustar/blustar/presence/source"
)

// Several nodes share their monitors. Each node writes down which sources somebody watches there.
// Of the living nodes that have written down a source, one runs its monitor and writes the value.
// The others copy it. The store tells all nodes in the same order who has asked and who has died.
// So they agree by themselves: the node with the largest [weight] runs the monitor. A death moves
// only the monitors of the dead node. A new node takes a share from each of the others.
//
// When a monitor moves, the value stays until the new one speaks, or Config.Grace is over. For a
// moment two may run, and the last word of the old one may be later in the store. Then the new one
// writes its value again.

// sharing tells the table of a kind of sources what it has to know of other nodes.
func (c *cluster) sharing(kind string) (mayExpire func() bool, others source.Others) {
	if c == nil {
		return nil, nil
	}
	return c.mayExpire, monitors{c, kind}
}

// monitors are those of one kind. It implements [source.Others].
type monitors struct {
	cluster *cluster
	kind    string
}

func (m monitors) Want(key string) { m.watched(key, true) }

func (m monitors) Unwant(key string) (last bool) {
	m.watched(key, false)
	return m.cluster.isLeft(sourceRef{m.kind, key})
}

func (m monitors) watched(key string, is bool) {
	e := askedRef{sourceRef{m.kind, key}, m.cluster.node}
	m.cluster.ask(e.source, e.node, is)
	m.cluster.server.journal.mark(e)
}

func (m monitors) Mine(key string) bool { return m.cluster.mine(sourceRef{m.kind, key}) }

// ask notes whether somebody watches a source at a node.
func (c *cluster) ask(e sourceRef, node string, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	nodes := slices.DeleteFunc(c.asked[e], func(n string) bool { return n == node })
	if is {
		nodes = append(nodes, node)
	}
	if c.asked[e] = nodes; len(nodes) == 0 {
		delete(c.asked, e)
	}
}

// mine reports whether this node is to run the monitor of a source.
func (c *cluster) mine(e sourceRef) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.asked[e], c.node) {
		return false
	}
	most := weight(c.node, e)
	for _, node := range c.asked[e] {
		if _, dead := c.heirs[node]; !dead && node != c.node && weight(node, e) > most {
			return false
		}
	}
	return true
}

// weight says which of several nodes has a source: that where it is the largest (rendezvous
// hashing).
func weight(node string, e sourceRef) uint64 {
	sum := sha256.Sum256([]byte(node + " " + e.kind + " " + e.key))
	return binary.BigEndian.Uint64(sum[:])
}

// isLeft reports whether a source is watched at no node, and this node is to end its value. Those
// who watched at a dead node may still be on their way to its heir.
func (c *cluster) isLeft(e sourceRef) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked[e]) > 0 {
		return false
	}
	r := c.records[recordKey(e)]
	return r == nil || r.gone || c.holderLocked(r.node) == c.node
}

// succeeded has the monitors of a dead node go on.
func (c *cluster) succeeded(dead string) {
	var its []sourceRef
	c.mu.Lock()
	for e, nodes := range c.asked {
		if slices.Contains(nodes, dead) {
			its = append(its, e)
		}
	}
	c.mu.Unlock()
	for _, e := range its {
		c.server.sources[e.kind].Decide(e.key)
	}
}

// abandoned ends the sources that dead nodes have left to this one, after those who watched there
// have had time to come back.
func (c *cluster) abandoned() {
	if backoff.Sleep(c.server.ctx, c.server.cfg.Linger) != nil {
		return
	}
	var left []sourceRef
	dead, _ := c.leftHere()
	for _, e := range c.refs(func(r *replica) bool { return dead[r.node] }) {
		switch e := e.(type) {
		case askedRef:
			c.ask(e.source, e.node, false)
			c.server.journal.mark(e)
			left = append(left, e.source)
		case sourceRef:
			left = append(left, e)
		}
	}
	for _, e := range left {
		if c.isLeft(e) {
			c.server.sources[e.kind].Abandon(e.key)
		}
	}
}

// askedElsewhere applies what another node says of a source.
func (c *cluster) askedElsewhere(r Record, e ref) error {
	of, ok := e.(askedRef)
	if r.Value != nil {
		var v askedRecord
		if err := json.Unmarshal(r.Value, &v); err != nil {
			return err
		}
		of, ok = askedRef{sourceRef{v.Kind, v.Key}, r.Node}, true
	}
	t := c.server.sources[of.source.kind]
	if !ok || c.keeps(r, of) || t == nil {
		return nil
	}
	c.ask(of.source, of.node, r.Value != nil)
	if t.Decide(of.source.key); c.isLeft(of.source) {
		t.Abandon(of.source.key)
	}
	return nil
}
