// Package directory answers one question: whose address is this?
//
// A presence server sees addresses, "sip:tom.hanks@example.com" or "tel:2719",
// and must know the person behind them: who may publish for it, which lines and
// which calendar to watch, and that two addresses are the same user. The record
// that says so is an [Entry]; what finds it is a [Directory].
//
// # Addresses
//
// [ParseAddress] reduces a URI to the [Address] that is looked up: without port,
// parameters, headers and password, case-folded, percent-escapes decoded, and
// telephone numbers without their visual separators. Addresses are plain values
// that compare with ==.
//
// # Directories
//
// [Memory] holds entries given by the host or read from a JSON file with
// [LoadUsers]. Package ldapdir looks them up in LDAP or Active Directory. A host
// with a user database of its own implements [Directory], one method; where many
// addresses can be answered in one go, also [Batch]. Package directorytest holds
// the tests that each implementation should pass.
//
// # Not found and not known
//
// A directory that cannot answer must not say "nobody": [ErrNotFound] is the
// statement that the address has no entry, and every other error means that the
// question stays open and is asked again later.
package directory
