// Package natsstore is a [presence.Shared] store on NATS JetStream: for two or more
// machines that serve at the same time, each of them a node.
//
//	store, err := natsstore.Open(ctx, natsstore.Config{Conn: nc, Node: "a", Replicas: 3})
//	if err != nil {
//		return err
//	}
//	defer store.Close(ctx) // after the server's Shutdown: another node goes on at once
//	if err := store.Join(ctx); err != nil {
//		return err
//	}
//	stack, err := stack.Listen(stack.Config{MaySend: store.Alive, …})
//	…
//	server, err := presence.New(presence.Config{Store: store, Sender: store.Sender(stack), …})
//	…
//	err = server.Restore(ctx)
//	…
//	go stack.Serve(ctx, store.Handler(server))
//	<-store.Lost() // another node has taken its place: end the process, and start it again
//
// # What nodes share
//
// Every node has in memory what was published, who has a client, the values that a host
// feeds, and the sessions of package auth; it composes the documents for its own watchers
// from that. A PUBLISH is answered once it is in the store, and the other nodes have it a
// moment later. Of two changes of one thing at two nodes the one counts that is later in
// the stream. Of two PUBLISHes with one entity-tag only the first counts, wherever they
// come in: a publication is written on condition that nobody else has written it since,
// and the second is answered 412. That holds for publications as RFC 3903 has them; the
// clients of BluStar share one, and the last status counts.
//
// A subscription belongs to the node that answered it, which alone sends its NOTIFYs. A
// client belongs to the node of its newest subscription to its own address, and its
// PUBLISHes are passed on to that node, wherever they come in. A SUBSCRIBE within a dialog
// is passed on likewise where it comes over UDP. Over a connection it is answered 481 by
// another node than its own: the dialog has ended with its connection, and the client
// subscribes anew. [presence.Server] does all that.
//
// A line, mailbox or external user has one monitor at a time, at one of the nodes where
// somebody watches it, and the others show what that says. When that node dies, another of them
// begins to watch; the value stays as it was until its monitor speaks, for the grace time
// (Config.Grace) at most. All other monitors stay where they are. A node that comes takes over
// its share of what its own watchers ask for.
//
// A [presence.Guard] that is an auth.Guard counts wrong passwords for all nodes: a sign-in writes
// its place among the attempts at its account and from its source before the directory is
// asked, and takes it out after it. A challenge of one node can be answered at another, which
// asks the first by way of [Store.Call].
//
// # One node dies
//
// A node holds a lease, a record that it renews every quarter of [Config].Lease. Where the
// others see no renewal for a whole Lease, one of them takes its place: it begins a new
// epoch for the dead, after which JetStream takes nothing from it any more, and goes on
// with its dialogs, clients and publications. That takes the Lease and half a second more,
// and after [Store.Close] half a second. In that time requests about what the dead had are
// answered 503 with a Retry-After of one second. Who watches at a node that was killed is
// sent everything again, because what it was told last is not certain.
//
// # NATS is away
//
// A node that cannot renew its lease is silent after four fifths of it, by its own clocks,
// before another may take its place: [Store.Sender] sends nothing and [Store.Handler]
// answers every request 503 with a Retry-After of one second, also where the process was
// stopped (SIGSTOP) meanwhile and wakes up late. What a stack has begun to send before, it
// would still send again: give [Store.Alive] to stack.Config.MaySend of package sipx/stack.
// Leases compare no clocks of two machines. Lifetimes do: a node whose clock is more than
// [MaxClockDifference] from that of NATS is refused by [Open], and one that gets so later logs it.
//
// The node keeps what it has, and goes on trying. JetStream takes the renewal only if nobody
// has taken its place: then the node reads what it may have missed, and goes on with its
// dialogs where it was; NOTIFYs that were due leave then, and subscriptions that nobody could
// refresh have a minute more for it. If it has an heir, [Store.Lost] is closed, and the process
// has to end: what it has in memory is another's.
//
// That also holds where NATS is away for all nodes at once. None of them can know that it
// is not alone with it, so none speaks; their watchers hear nothing until NATS is back, which
// is why there should be three NATS servers. Then all go on, and nobody takes another's
// place: who was away itself counts the silence of others anew.
//
// The lease is as good as the clocks of its node: a virtual machine that is frozen, with
// both its clocks, and goes on later, may send what it was about to send, until its next
// look at NATS.
//
// # Running it
//
// All nodes have the same directory, accounts and policy, and are reached at one address
// or name that their stacks advertise: a virtual address, a load balancer that keeps a
// client at a node, or DNS SRV. NOTIFYs over UDP leave from the node's own address. A node
// is added by starting it, and removed or upgraded by ending it (Shutdown, then Close),
// one after the other. Watch that every node's readiness says so, and its log for "a node
// is silent".
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
// and appointments of users in the clear, are in a stream of the bucket's name, and nodes
// pass requests on, without their credentials, at subjects that begin with
// "_blustar.call.": who can publish there acts for any user, and who can subscribe there, or
// to "_INBOX.>", reads what users say and are answered. Keep all of it from others by the
// accounts of NATS, and use TLS.
package natsstore
