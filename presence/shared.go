package presence

import (
	"context"
	"errors"
	"time"
)

// Shared is a [Store] that several servers use at the same time. Each of them is a node. A
// [Server] whose Config.Store is a Shared shares its state with the others. Each node composes
// its documents from what all nodes have been told. A dialog belongs to the node that opened it.
// A client belongs to the node of its newest subscription to its own address. When a node dies,
// the store names its heir, and what belonged to the dead node goes on there.
//
// The store lets a node write until another node has taken its place, and never after that. The
// host sees to it that the same holds for what the node sends.
type Shared interface {
	Store

	// Node is the name of this node: at most 32 letters and digits. No other node that uses the
	// store, or ever did, has that name. It is the [Record.Node] of the records of this node.
	Node() string

	// Living returns the nodes that live, as far as this one knows, in any order. This one is among
	// them. Another may have died, or joined, up to a lease ago. It does not block.
	Living() []string

	// AliveSince reports whether this node could speak, and write, all the time since then. It
	// reports false while the store cannot be reached: another node may take the place of this one.
	// It reports true again when it is certain that none has. It does not block.
	AliveSince(then time.Time) bool

	// Watch calls f with each change of a record of one of these kinds, by any node, in the order
	// of revisions. The first one has a revision above after. A nil Value tells that the record
	// was deleted. Watch does not tell of a record that expires, nor of one that is replaced before
	// it was told. Watch returns when ctx has ended, or with the error that keeps it from going on,
	// or because of which it may have missed something: then the server reads everything again.
	// f may keep the record.
	Watch(ctx context.Context, after uint64, kinds []string, f func(Record)) error

	// Call sends a message to another node, and returns what the f of its Answer returns. It waits
	// until ctx ends. The error is [ErrNoNode] if the store knows no such node, alive or dead.
	Call(ctx context.Context, node string, message []byte) ([]byte, error)

	// Answer has f answer the calls of other nodes until the store is closed. Several goroutines
	// call f at once. Answer is called once.
	Answer(f func(ctx context.Context, message []byte) []byte)
}

// ErrNoNode is the error of [Shared.Call] for a node that never was, or is forgotten.
var ErrNoNode = errors.New("presence: there is no such node")

// KindHeir is the kind of the records by which a [Shared] store tells that a node has died. The
// key is the dead node, the value its heir. The store writes the record when the dead node can
// write nothing more.
const KindHeir = "heir"
