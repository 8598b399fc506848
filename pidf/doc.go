// Package pidf reads and writes presence documents: PIDF (RFC 3863) with its data model (RFC 4479), rich presence
// (RFC 4480) and the BluStar extensions, and the documents around them, resource lists (RFC 4826), list
// information (RFC 4662) and watcher information (RFC 3858).
package pidf
