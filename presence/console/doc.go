// Package console is what operators and other systems see of a presence server over
// HTTP: an API in JSON, a stream of events, and a page that shows both. It is one
// [http.Handler], for a host to mount at the root of a server of its own.
//
// # The API
//
// An address is a sip or tel URI, percent-encoded as needed, or plain user@host.
//
//	PUT, GET, DELETE /v1/lines/{dn}          the state of a line, as a PBX pushes it
//	PUT, GET, DELETE /v1/calendars/{mail}    the appointments of a mailbox
//	PUT, GET, DELETE /v1/external/{address}  what another presence system says
//	GET /v1/presence/{address}               what watchers see, as PIDF or JSON
//	GET /v1/explain/{address}                why they do
//	GET /v1/users, /v1/users/{address}       everybody; everything about one
//	GET /v1/subscriptions, /v1/clients, /v1/publications
//	GET /v1/summary                          counts
//	GET /v1/events                           server-sent events, one for each change
//	POST /v1/reload                          where the host has Config.Reload
//	GET /healthz, /readyz, /metrics
//
// Lists are paged with ?limit= and ?offset=; the next page is in "next". Each PUT takes
// ?lifetime=90s: after it, without another, the state is unknown again. It is answered
// 204, or 202 with a warning where no entry has the line or the mailbox: the state is
// kept for when one has it. Errors are {"error":"field: reason"} with a 4xx, or a 503
// with Retry-After. Subject and place of private appointments are not shown to anybody.
//
// # Who is let in
//
// With Config.Token every call needs it as a Bearer token, but for the page itself,
// which asks for it, and for health. Without it the console is for its own machine: it
// refuses requests for another host than a loopback address, and what pages of other
// sites could have a browser send.
package console
