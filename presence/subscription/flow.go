package subscription

import (
	"net/netip"
	"strings"

	"github.com/openblustar/blustar/sipx"
)

// NATMode says whether NOTIFYs over UDP go to the Contact or back to where the
// SUBSCRIBE came from.
type NATMode string

// NAT modes. Auto sends them back where the Contact's address is private,
// link-local, loopback or a carrier's (RFC 6598), and differs from the source.
const (
	NATAuto   NATMode = ""
	NATAlways NATMode = "always"
	NATNever  NATMode = "never"
)

// flow says where NOTIFYs go: over the connection of the SUBSCRIBE; over UDP to
// the Contact, or back to the source. What the stack has to find out by itself is
// left open. routed tells that the dialog has a route set.
func (m NATMode) flow(req *sipx.Request, contact sipx.URI, routed bool) sipx.Flow {
	flow := req.Flow
	if flow.Reliable() {
		return flow
	}
	if routed {
		flow.Remote = netip.AddrPort{} // by the route set
		return flow
	}
	addr, err := netip.ParseAddr(strings.Trim(contact.Host, "[]"))
	port := contact.Port
	if port == 0 {
		port = 5060
	}
	switch {
	case m == NATAlways, m == NATAuto && err == nil && behindNAT(addr.Unmap(), flow.Remote.Addr().Unmap()):
		return flow
	case err != nil:
		flow.Remote = netip.AddrPort{}
	default:
		flow.Remote = netip.AddrPortFrom(addr, uint16(port))
	}
	if t, ok := contact.Param("transport"); ok && !strings.EqualFold(t, "udp") {
		return sipx.Flow{} // the contact wants another transport
	}
	return flow
}

// behindNAT reports whether a Contact's address means something to its own network
// alone, and the request came from elsewhere.
func behindNAT(contact, source netip.Addr) bool {
	if contact == source {
		return false
	}
	carrier := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10) // RFC 6598
	return contact.IsPrivate() || carrier.Contains(contact) || contact.IsLinkLocalUnicast() || contact.IsUnspecified() ||
		contact.IsLoopback() && !source.IsLoopback()
}
