// Package publication keeps what clients publish about users (RFC 3903, and §2.4 and §2.8
// of the BluStar interface description). A [Contribution] is one thing that was published.
// It has an entity-tag, and lasts until it expires.
//
// A [Rule] says who may change a contribution. By [Separate], the rule of RFC 3903, each
// publisher has a contribution of its own, and each change gives it a new entity-tag. By
// [Shared], the rule of BluStar, all clients of a user share one contribution, and its
// entity-tag stays. By [Forwarding] a user has one destination for calls.
//
// A [Store] is all that a PUBLISH back end needs besides the parsing of requests. It
// knows neither SIP nor what a document means.
package publication
