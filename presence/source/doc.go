// Package source holds what a server is told about things that it does not own: telephone
// lines, calendars, users of other systems. A [Table] holds the values of one kind by key.
// A [Source] is one key of it. Each value has an owner, the time when it was received, and
// a lifetime. A value that nobody confirms fades to unknown.
//
// Values come in two ways. A host that is told of changes calls [Table.Set]. A host that
// has to watch gives the table a [Monitor]. The table runs the monitor of a key while
// somebody watches that key. When a monitor fails, the table starts it again with
// back-off, and lets its value fade after a grace time. Several processes can share their
// monitors: see [Others].
//
// The package knows nothing of presence: V is any type.
package source
