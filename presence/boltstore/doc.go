// Package boltstore is a [presence.Store] in one file, by go.etcd.io/bbolt:
//
//	store, err := boltstore.Open("/var/lib/blustar/blustar.db")
//	if err != nil {
//		return err
//	}
//	defer store.Close() // after the server's Shutdown
//	server, err := presence.New(presence.Config{Store: store, …})
//
// One process has the file at a time. A batch of writes is one transaction with one
// sync of the file: after a loss of power each batch is there wholly or not at all.
// Each record has a checksum, and each batch writes how many records there are of each
// kind and the sum of their checksums. The file is checked as a whole when it is opened:
// one that is damaged, of another version, or no such store is an error that says so,
// and is not touched.
//
// What is in the file is what package presence says of its records: addresses, notes
// and appointments of users in the clear, and no password. Whoever may read the file
// reads that; it is made for its owner alone.
package boltstore
