package presence

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// localURI is what NOTIFYs come From: the address subscribed to.
func (s *Server) localURI(sub *subscription) sipx.URI {
	if sub.dialect.FromEntity && !isList(sub.req) {
		if u := sub.req.URI; s.serves(u) {
			return u
		}
	}
	return sub.req.To.URI
}

// presentityURI is whom a single SUBSCRIBE wants to watch (BSP-2.1-3).
func (s *Server) presentityURI(req *sipx.Request) string {
	if s.serves(req.URI) {
		return bareURI(req.URI)
	}
	return bareURI(req.To.URI)
}

func (s *Server) serves(u sipx.URI) bool {
	return u.User != "" && slices.ContainsFunc(s.cfg.Domains, func(domain string) bool {
		return strings.EqualFold(domain, u.Host)
	})
}

// bareURI writes an address as documents show it: without port and parameters.
func bareURI(u sipx.URI) string {
	u.Params, u.Headers, u.Port = "", "", 0
	return u.String()
}

func cloneURI(u sipx.URI) sipx.URI {
	// One allocation for all parts that are not common words.
	all := u.User + u.Host + u.Params + u.Headers
	cut := func(n int) string {
		part := all[:n]
		all = all[n:]
		return part
	}
	return sipx.URI{Scheme: commonScheme(u.Scheme), User: cut(len(u.User)), Host: cut(len(u.Host)), Port: u.Port,
		Params: cut(len(u.Params)), Headers: cut(len(u.Headers))}
}

func commonScheme(s string) string {
	switch s {
	case "sip":
		return "sip"
	case "sips":
		return "sips"
	case "tel":
		return "tel"
	}
	return strings.Clone(s)
}

// returnFlow says where NOTIFYs go (BSX-5): over the connection of the
// SUBSCRIBE; over UDP to the Contact, or back to the source. What the stack has
// to find out by itself is left open.
func (s *Server) returnFlow(req *sipx.Request, contact sipx.URI, routed bool) sipx.Flow {
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
	case s.cfg.NAT == NATAlways, s.cfg.NAT == NATAuto && err == nil && behindNAT(addr.Unmap(), flow.Remote.Addr().Unmap()):
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
	return contact.IsPrivate() || carrierNAT.Contains(contact) || contact.IsLinkLocalUnicast() || contact.IsUnspecified() ||
		contact.IsLoopback() && !source.IsLoopback()
}

// carrierNAT are the addresses between a carrier and its customers (RFC 6598).
var carrierNAT = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10)

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
