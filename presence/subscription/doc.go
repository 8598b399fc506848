// Package subscription is the notifier's side of SIP events (RFC 6665): the dialogs of
// watchers, the NOTIFYs that they are sent, and the ends of dialogs. It knows no event
// package and nothing of presence. What is watched is a [Resource] of the host. An event
// package is a value, a [Package].
//
// A dialog is one subscription of a watcher. A watch is one resource in a dialog: the
// only one, or one of a list. A view says how a watch sees its resource.
//
// The host answers SUBSCRIBE requests itself: it decides who may watch what, and for how
// long. It gives its decision to [Registry.Open], sends the 200 that [Dialog.Accept]
// makes, and calls [Dialog.Start]. When a resource has changed, the host calls [Notify].
//
// In a dialog one NOTIFY of each resource is under way at a time. States in between are
// skipped, the newest is not. So a watcher that is slow or gone holds up nobody, and ends
// with the newest state.
//
// Until a watcher has answered its first NOTIFY, one NOTIFY of its dialog is under way.
// After that it is a window: a few over UDP, more over a connection. Each account and each
// source address has a share of all watches.
//
// [Dialog.End] ends a dialog with a last NOTIFY, [Dialog.Drop] without one. [Events] tells
// the host of dialogs that end by themselves.
package subscription
