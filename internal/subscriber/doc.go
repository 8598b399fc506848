// Package subscriber is what subscribers have in common whatever their event
// package (RFC 6665). A [Subscription] is the actor: one goroutine that keeps one
// subscription alive over as many dialogs as it takes, refreshes it, takes its NOTIFYs
// in order, and goes on where RFC 6665 says how. What the documents mean, and what is
// done where nothing helps, its [Watcher] says. [Routes] hands NOTIFYs to subscriptions.
//
// A [Dialog] is one subscription at the notifier, and an [Exchange] the way of a request
// through challenges and 423 to its outcome. Publishers share the latter (RFC 3903).
package subscriber
