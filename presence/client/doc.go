// Package client is the watching and publishing half of BluStar presence: what a
// BluStar client does, for gateways, tests and programs in the terminal.
//
// A [Client] is one user on one device. It signs in by subscribing to its own
// address, watches others through one list subscription, publishes the user's
// status, and signs out. Between these calls it looks after itself: it refreshes
// before anything expires, answers challenges, obeys Min-Expires and Retry-After,
// and subscribes again after the server has lost or ended a subscription. Where the
// server has lost one subscription or publication, or the connection is closed, it
// refreshes all of them at once: the server may have been restarted. A server whose
// NOTIFYs must all be refused, because their CSeq starts anew within the dialog (RFC
// 3261 §12.2.2), is asked for another one and then gets a new dialog.
//
//	c, err := client.New(client.Config{
//		Sender:      stack,
//		Server:      server, // sip:127.0.0.1:5060
//		Address:     "sip:tom@example.com",
//		Credentials: credentials,
//	})
//	…
//	go stack.Serve(ctx, c)
//	err = c.Watch(ctx, "sip:ann@example.com", "tel:200")
//	err = c.Publish(ctx, client.Publication{Status: aa.StatusBusy, Note: "Back at two"})
//	for n := range c.Notifications(ctx) {
//		fmt.Println(n.Summary())
//	}
//	err = c.Close(ctx)
//
// # Notifications
//
// What the server tells arrives in one of two ways. With [Config].Notify each
// NOTIFY is handed to a function. Without it they are kept for
// [Client.Notifications], one for each entity: a reader that is slow misses
// states in between, never the newest, and memory stays bounded.
//
// # Many clients on one stack
//
// A stack has one handler. A client on its own is that handler; a gateway that
// acts for many users creates one [Mux], gives it to the stack, and to each
// Client as Config.Mux. An Aastra Mobile Client Controller is the extreme case
// (§2.11): all its clients share one Contact whose user is "fmc"
// (Config.ContactUser), and differ in their Address alone.
//
// # Errors
//
// A call fails with a [*StatusError] where the server answered with one, which
// is [ErrUnauthorized] where it refused the credentials; otherwise with what the
// stack reported. A failure between the calls, when the client gave something up
// that it was keeping alive, is told by a [Notification] with Err, or by
// Config.PublicationLost.
//
// # The other dialect
//
// With Config.Standard the client speaks as RFC 3903, 6665 and 5367 say, reads
// RLMI bodies (RFC 4662) and answers Digest challenges.
package client
