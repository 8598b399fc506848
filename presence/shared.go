package presence

import (
	"context"
	"errors"
	"time"
)

// Shared is a [Store] that several servers use at the same time, each of them a node: a
// [Server] whose Config.Store is one shares its state with the others. Each node composes
// its documents from what all have been told. A dialog belongs to the node that opened
// it, and so does a client to that of its newest subscription to its own address; what
// belongs to a node that has died goes on at the one that the store names its heir.
//
// The store lets a node write as long as nobody else has taken its place, and never
// after that; the same holds for what the node sends, which is the host's to see to.
type Shared interface {
	Store

	// Node names this node among all that use the store, or ever did: at most 32 letters
	// and digits. Records that it wrote have it as their [Record.Node].
	Node() string

	// Living returns the nodes that live, in any order and this one among them, as far as is known
	// here: one may have died, or joined, up to a lease ago. It does not block.
	Living() []string

	// AliveSince reports whether this node could speak, and write, all the time since then.
	// A store that cannot be reached, so that another node may be taking this one's place,
	// says no; it says yes again once it is certain that nobody has. It does not block.
	AliveSince(then time.Time) bool

	// Watch calls f with each change of a record of one of these kinds, whoever made it,
	// in the order of revisions, from the first above after on. A Value that is nil tells
	// that the record was deleted. What expires is not told, nor what is written over before
	// it was told. Watch returns when ctx has ended, or with the error that keeps it from
	// going on, or because of which something may have been missed: everything is read again
	// then. The record is f's.
	Watch(ctx context.Context, after uint64, kinds []string, f func(Record)) error

	// Call has another node answer a message, as it does by Answer. It waits until ctx
	// ends. The error is [ErrNoNode] where the store knows of no such node, alive or dead.
	Call(ctx context.Context, node string, message []byte) ([]byte, error)

	// Answer has f answer the calls of other nodes until the store is closed. f is called
	// by several goroutines at once. It is called once.
	Answer(f func(ctx context.Context, message []byte) []byte)
}

// ErrNoNode is what [Shared.Call] returns for a node that there never was, or that is
// forgotten.
var ErrNoNode = errors.New("presence: there is no such node")

// KindHeir is the kind of the records by which a [Shared] store tells that a node, the
// key, has died, and which one has its heritage now, the value. It is written when
// nothing can be written by the dead any more.
const KindHeir = "heir"
