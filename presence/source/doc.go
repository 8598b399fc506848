// Package source holds what a server is told about things that it does not own:
// the states of telephones, calendars, users of other systems. A [Table] holds the
// values of one kind, by key. Each value has an owner, the time when it was
// received, and a lifetime; one that nobody confirms any more fades to unknown.
//
// Values come in two ways. A host that is told of changes calls [Table.Set]. One
// that has to watch gives the table a [Monitor]: the table runs it for a key while
// somebody watches that key, starts it again with back-off where it fails, and lets
// its value fade after a grace time.
//
// The package knows nothing of presence: V is any type.
package source
