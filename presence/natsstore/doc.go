// Package natsstore is a [presence.Store] on NATS JetStream: for two or more machines of
// which one serves and the others stand by.
//
//	store, err := natsstore.Open(ctx, natsstore.Config{Conn: nc, Node: "a", Replicas: 3})
//	if err != nil {
//		return err
//	}
//	defer store.Close(ctx) // after the server's Shutdown: a stand-by goes on at once
//	if err := store.Lead(ctx); err != nil { // a stand-by waits here
//		return err
//	}
//	server, err := presence.New(presence.Config{Store: store, Sender: store.Sender(stack), …})
//	…
//	go stack.Serve(ctx, store.Handler(server))
//	<-store.Lost() // another node leads: end the process, and start it again as a stand-by
//
// # One node leads
//
// The leader holds a lease, a record that it renews every quarter of [Config].Lease. A
// stand-by that sees no renewal for a whole Lease takes over: it loads the records, and
// goes on with every dialog, publication, client and session, as after a restart. A
// leader that calls [Store.Close] gives the lease back, and a stand-by goes on at once.
//
// A leader that cannot renew its lease stops after four fifths of it, by its own clocks,
// before another may take over: [Store.Sender] sends nothing and [Store.Handler] answers
// nothing from then on, also where the process was stopped (SIGSTOP) meanwhile and wakes
// up late. What such a process may still have written is refused by JetStream, because
// each batch names the epoch of the lease. No clocks of two machines are compared.
//
// The lease is as good as the clocks of the leader: a virtual machine that is frozen,
// with both its clocks, and goes on later, may send what it was about to send, until its
// next look at NATS.
//
// # What JetStream promises
//
// A batch is one atomic publish: it is there wholly or not at all. JetStream acknowledges
// it when most of the replicas have it in memory. They write it to disk every two
// minutes (sync_interval of the server; "always" is possible). So the loss of one node
// loses nothing, and the loss of power of most nodes at the same moment may lose the last
// two minutes: publications come back with their next refresh, and a client may have to
// subscribe again.
//
// NATS 2.12 or newer is needed, for atomic publishes. Records, which hold addresses, notes
// and appointments of users in the clear, are in a stream of the bucket's name: keep it
// from others by the accounts of NATS, and use TLS.
package natsstore
