// Package blackbox holds tests alone: they start the program examples/server
// as a process of its own and drive it from outside, over real sockets, the
// way the interface description says that clients do. Nothing in it uses the
// library's code, not even for the messages, the documents or the cipher, so
// that it shares none of the library's assumptions.
package blackbox
