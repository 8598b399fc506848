// Package subscriber is what subscribers have in common whatever their event
// package (RFC 6665): the dialog of a subscription, the way of a request through
// challenges and 423 to its outcome, and the fields that say how long things last.
// Publishers share the latter two (RFC 3903).
//
// It sends nothing, keeps no time and locks nothing: control, and one goroutine at
// a time, are up to the packages that build on it.
package subscriber
