// Package publication keeps what clients publish about users, by entity-tag
// (RFC 3903, and §2.4, §2.8 of the interface description): each [Contribution] until
// it expires.
//
// Two rules exist for who may change what. By [Separate], that of RFC 3903, each
// publication is its publisher's own, and its entity-tag is a new one with each
// change; those of one user are composed by whoever reads them. By [Shared], that of
// BluStar, the clients of a user share one, and its entity-tag stays.
//
// A [Store] is all that a PUBLISH back end needs besides the parsing of requests; it
// knows neither SIP nor what a document means.
package publication
