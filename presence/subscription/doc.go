// Package subscription is the notifier's side of SIP events (RFC 6665): the dialogs of
// watchers, what each is to be sent, and when a dialog ends. It knows no event package
// and nothing of presence: what is watched is a [Resource] of the host, an event package
// a value ([Package]).
//
// A host answers SUBSCRIBE requests itself: who asks, for what, for how long. It gives
// what it decided to [Registry.Open], sends the 200 that [Dialog.Accept] makes, and calls
// [Dialog.Start]. When resources change it calls [Notify]. Of each resource one NOTIFY is
// under way in a dialog; what changes meanwhile is skipped but for the newest state, so
// that a watcher that is slow or gone holds up nobody and ends with the newest.
//
// Until a watcher has answered a NOTIFY one of its dialog is under way; then a window of a
// few over UDP, and more over a connection. Accounts and source addresses have shares of
// all that is watched.
//
// [Dialog.End] ends a dialog with a last NOTIFY, [Dialog.Drop] without one. What ends by
// itself is told by [Events].
package subscription
