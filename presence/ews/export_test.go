package ews

import (
	"context"
	"net"
)

// SetLookup has a monitor ask f for SRV records.
func SetLookup(m *Monitor, f func(context.Context, string, string, string) (string, []*net.SRV, error)) {
	m.lookup = f
}
