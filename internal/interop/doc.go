// Package interop holds the tests of the program examples/server against SIP
// programs that are not of this project: SIPp, baresip, linphone, Twinkle, Finch, SIP.js, JsSIP,
// and a Kamailio that stands in between as a session border controller or an edge, serves lists,
// or publishes. It has nothing but tests.
//
// A program that is not installed skips its tests. With
// BLUSTAR_INTEGRATION=required in the environment they fail instead.
//
// The folder node has programs for Node, which looks for SIP.js, JsSIP and ws along
// NODE_PATH.
//
// The scenarios of SIPp are in the folder sipp. Where one needs something that
// SIPp cannot do, such as the vendor's cipher, it asks its twin: SIPp's word for
// the peer of a three-party scenario, here a goroutine of the test. It also
// reports to the twin what it sees, so that the test can judge it.
package interop
