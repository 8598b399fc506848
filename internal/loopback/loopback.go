// Package loopback tells whether an address is this machine's own, where what is sent
// needs no encryption and what is asked no token.
package loopback

import (
	"net"
	"net/netip"
	"strings"
)

// Is reports whether host:port, or a host alone, is this machine's own: "localhost" or a
// loopback address. No name is looked up.
func Is(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Zone() == "" && ip.Unmap().IsLoopback()
}
