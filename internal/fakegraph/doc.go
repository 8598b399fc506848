// Package fakegraph is a Microsoft Graph for tests, with its login service: as much of both as the
// monitors of presence/msgraph ask for, and what the client library of Microsoft wants to see. What
// a real one would refuse, it refuses.
package fakegraph
