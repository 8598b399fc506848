// Package dialoginfo learns line states from a PBX the way busy lamp fields of
// telephones do: it subscribes to each device with SIP's dialog event package
// (RFC 4235) and makes idle, ringing or busy of the dialogs that the PBX tells
// of. It works with every PBX that offers BLF.
//
// A [Monitor] is a [presence.LineMonitor] and a [sipx.Handler]: it subscribes
// through a stack, and the stack hands it the NOTIFYs. On the stack of the
// presence server it is mounted in front of the server:
//
//	monitor, err := dialoginfo.New(dialoginfo.Config{
//		Sender: stack,
//		PBX:    pbx,  // sip:pbx.example.com
//		From:   from, // sip:presence@example.com
//	})
//	server, err := presence.New(presence.Config{Lines: monitor, …})
//	…
//	err = stack.Serve(ctx, monitor.Handler(server))
//
// On a stack of its own it is the handler itself.
//
// # What makes a state
//
// A device may have several dialogs at once. In this order:
//
//   - busy: one is confirmed, held or not, or the device is setting one up;
//   - ringing: one that somebody else began is trying, proceeding or early. So is
//     one of which the PBX does not say who began it;
//   - idle: there is none, or all are terminated. A NOTIFY of an active
//     subscription without a document says that too.
//
// The package tells of no forwarding. What the PBX has not told, or told in a
// document that cannot be read, is unknown. A dialog that cannot be used, as one
// without a state, counts as none, and the others of the document count: unless a full
// document has none but such in states that RFC 4235 does not know.
//
// # Freshness
//
// A state has the lifetime of its subscription, which each refresh prolongs: if
// the PBX dies the state fades when the subscription would have expired. After a
// PBX was restarted, the first device whose subscription it does not know any
// more makes the Monitor ask for all the others too, and so does the end of a
// connection that NOTIFYs came over.
//
// # Order
//
// NOTIFYs are taken in the order of their CSeq. A partial document (RFC 4235
// §4.3) that does not follow the one before is followed by a refresh, which
// brings the full state. Full documents are taken whatever their version: some
// PBXs do not count, and what a newer NOTIFY says in full needs no history.
//
// A NOTIFY that is older than one before is answered 500 (RFC 3261 §12.2.2), and followed
// by a refresh. If its NOTIFY is refused too, the PBX has lost count: within half a minute
// the Monitor opens a new dialog. Until then the state is not prolonged.
//
// # What ends a call of MonitorLine
//
// [Monitor.MonitorLine] goes on by itself where RFC 6665 says how: it refreshes,
// answers Digest challenges, obeys Min-Expires and Retry-After, and subscribes
// again where a subscription that has lasted is gone. It returns with an error
// what only time or an operator can heal; the presence server calls it again
// with back-off, and what the PBX has refused for good rests for a quarter of an
// hour then. See [StatusError], [EndedError], [ErrUnauthorized] and
// [ErrNoDialogPackage].
//
// # Not in this package
//
// A SUBSCRIBE that forks to several notifiers (RFC 4235 §3.9) yields one
// subscription, the first to answer; the PBX is supposed to know the device
// itself.
package dialoginfo
